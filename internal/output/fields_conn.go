package output

import "github.com/twtrace/twtrace/internal/event"

// connFields are the fields of every record and of those about connections.
var connFields = []Field{
	{Name: "time", On: "all", Type: TypeTime, Column: Column{Width: 12}, text: shortTime, full: 30,
		Doc:   "when it happened: RFC 3339, nanoseconds, UTC. In `text` the time of day with milliseconds, UTC",
		value: func(e *event.Event) Value { return Time(e.Time) }},
	{Name: "event", On: "all", Type: TypeWord, Enum: event.Names[event.Kind](),
		Column: Column{Width: 8}, text: shortEvent, full: 17,
		Doc:   "what happened, see above. In `text`, `tw_` stands for `time_wait_`; `--event` takes both",
		value: func(e *event.Event) Value { return Word(e.Kind.String()) }},
	{Name: "cookie", Type: TypeHex, Column: Column{Width: 8, Max: 16},
		Doc:   "socket cookie, the identity of the connection: hex, as `ss -e` prints it after `sk:`",
		value: func(e *event.Event) Value { return Hex(e.Cookie) }},
	{Name: "netns", Type: TypeUint, Column: Column{Width: 10, Right: true},
		Doc:   "inode number of the network namespace",
		value: func(e *event.Event) Value { return uintOf(e.NetNS) }},
	{Name: "ip", Type: TypeUint, Column: Column{Width: 2, Right: true},
		Doc:   "4 or 6; an IPv4-mapped connection is 4, and its addresses have IPv4 form",
		value: func(e *event.Event) Value { return uintOf(e.IP()) }},
	{Name: "laddr", Type: TypeAddr, Column: Column{Width: 9, Max: 39},
		Doc:   "local address",
		value: func(e *event.Event) Value { return Addr(e.Local.Addr()) }},
	{Name: "lport", Type: TypeUint, Column: Column{Width: 5, Right: true},
		Doc:   "local port",
		value: func(e *event.Event) Value { return uintOf(e.Local.Port()) }},
	{Name: "raddr", Type: TypeAddr, Column: Column{Width: 9, Max: 39},
		Doc:   "remote address",
		value: func(e *event.Event) Value { return Addr(e.Remote.Addr()) }},
	{Name: "rport", Type: TypeUint, Column: Column{Width: 5, Right: true},
		Doc:   "remote port",
		value: func(e *event.Event) Value { return uintOf(e.Remote.Port()) }},
	{Name: "role", Type: TypeWord, Enum: event.Names[event.Role](), Column: Column{Width: 6},
		Doc:   "`client`: this socket connected; `server`: it was accepted",
		value: func(e *event.Event) Value { return Word(e.Role.String()) }},
	{Name: "closer", Type: TypeWord, Enum: event.Names[event.Side](), Column: Column{Width: 6},
		Doc: "whose FIN came first, as this socket saw it: `local` (FIN_WAIT1 before any FIN of the peer), " +
			"`remote` (CLOSE_WAIT), `both` (CLOSING)",
		value: func(e *event.Event) Value { return Word(e.Closer.String()) }},
	{Name: "pid", Type: TypeUint, Column: Column{Width: 6, Max: 7, Right: true},
		Doc: "process id of the owner: of a client socket the opener, else what /proc says, else the closer; " +
			"of a server socket the accepter, else /proc, else the closer, else the listener",
		value: func(e *event.Event) Value { return uintOf(e.Process.PID) }},
	{Name: "comm", Type: TypeString, Column: Column{Width: 8, Max: 15},
		Doc:   "comm of the owner's thread group leader, as it was at that call",
		value: func(e *event.Event) Value { return String(e.Process.Comm) }},
	{Name: "owner", Type: TypeWord, Enum: event.Names[event.OwnerFrom](), Column: Column{Width: 7, Max: 8},
		Doc:   "how the owner is known; a later record of the connection may know better",
		value: func(e *event.Event) Value { return Word(e.Owner.String()) }},
	{Name: "opener_pid", Type: TypeUint, Column: Column{Width: 7, Right: true},
		Doc:   "process that called connect()",
		value: func(e *event.Event) Value { return uintOf(e.Opener.PID) }},
	{Name: "opener_comm", Type: TypeString, Column: Column{Width: 8, Max: 15},
		Doc:   "its comm",
		value: func(e *event.Event) Value { return String(e.Opener.Comm) }},
	{Name: "accepter_pid", Type: TypeUint, Column: Column{Width: 7, Right: true},
		Doc:   "process that called accept()",
		value: func(e *event.Event) Value { return uintOf(e.Accepter.PID) }},
	{Name: "accepter_comm", Type: TypeString, Column: Column{Width: 8, Max: 15},
		Doc:   "its comm",
		value: func(e *event.Event) Value { return String(e.Accepter.Comm) }},
	{Name: "closer_pid", Type: TypeUint, Column: Column{Width: 7, Right: true},
		Doc:   "process that took this socket to FIN_WAIT1 or LAST_ACK, whatever `closer` says",
		value: func(e *event.Event) Value { return uintOf(e.CloseProc.PID) }},
	{Name: "closer_comm", Type: TypeString, Column: Column{Width: 8, Max: 15},
		Doc:   "its comm",
		value: func(e *event.Event) Value { return String(e.CloseProc.Comm) }},
	{Name: "oldstate", Type: TypeWord, Enum: event.Names[event.State](), Column: Column{Width: 11, Max: 12},
		Doc:   "state left, in kernel spelling",
		value: func(e *event.Event) Value { return Word(e.Old.String()) }},
	{Name: "newstate", Type: TypeWord, Enum: event.Names[event.State](), Column: Column{Width: 11, Max: 12},
		Doc:   "state entered",
		value: func(e *event.Event) Value { return Word(e.New.String()) }},
	{Name: "reason", Type: TypeWord, Enum: event.Names[event.Reason](), text: whyText,
		Column: Column{Width: 12, Max: 18},
		Doc:    "why; on `fail`, which has none, `text` prints `errno` in its place",
		value:  func(e *event.Event) Value { return Word(e.Reason.String()) }},
	{Name: "life_ns", Type: TypeDuration, Column: Column{Width: 6, Right: true},
		Doc:   "from entering ESTABLISHED to the first transition out of it; absent if its begin was not seen",
		value: func(e *event.Event) Value { return nanosOf(e.Life) }},
	{Name: "timestamps", Type: TypeBool, Column: Column{Width: 3},
		Doc:   "whether the peer uses TCP timestamps: only then can the port be reused early",
		value: stamps},
	{Name: "state_ns", Type: TypeDuration, Column: Column{Width: 6, Right: true},
		Doc:   "time spent in `oldstate`; on `time_wait_exit` the length of TIME_WAIT",
		value: func(e *event.Event) Value { return nanosOf(e.InState) }},
	{Name: "remaining_ns", Type: TypeDuration, Column: Column{Width: 6, Right: true},
		Doc:   "on `snapshot`: until the timer of the TIME_WAIT socket fires",
		value: func(e *event.Event) Value { return nanosOf(e.Remaining) }},
	{Name: "rearms", Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "how often the timer of the TIME_WAIT socket was started anew",
		value: func(e *event.Event) Value { return uintOf(e.Rearms) }},
	{Name: "call", Type: TypeWord, Enum: event.Names[event.Call](), Column: Column{Width: 7},
		Doc:   "on `fail`: the call that failed",
		value: func(e *event.Event) Value { return Word(e.Call.String()) }},
	{Name: "errno", Type: TypeWord, Column: Column{Width: 13},
		Doc:   "on `fail`: its error, `EADDRNOTAVAIL`",
		value: func(e *event.Event) Value { return errnoOf(e.Errno) }},
	{Name: "count", On: "lost", Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "how many events were lost",
		value: lostCount},
	{Name: "stage", On: "lost", Type: TypeWord, Enum: event.Names[event.Stage](), Column: Column{Width: 9},
		Doc:   "where they were lost",
		value: func(e *event.Event) Value { return Word(e.Stage.String()) }},
}

func stamps(e *event.Event) Value {
	if e.Stamps == event.Unknown {
		return Value{}
	}
	return Bool(e.Stamps == event.Yes)
}

// lostCount is there on every lost record, for nothing lost is a fact too.
func lostCount(e *event.Event) Value {
	if e.Kind == event.Lost {
		return Uint(e.Count)
	}
	return uintOf(e.Count)
}
