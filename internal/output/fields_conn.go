package output

import "github.com/twtrace/twtrace/internal/event"

// connFields are the fields of every record and of those about connections.
var connFields = []Field{
	{Name: "time", On: "all", Type: TypeTime, Column: Column{Width: 12}, text: shortTime, full: 30,
		Doc:   "when it happened: RFC 3339, nanoseconds, UTC. In `text` the time of day with milliseconds, UTC",
		at:    func(e *event.Event) any { return &e.Time },
		value: func(e *event.Event) Value { return Time(e.Time) }},
	{Name: "event", On: "all", Type: TypeWord, Enum: event.Names[event.Kind](),
		Column: Column{Width: 8}, text: shortEvent, full: 17,
		Doc:   "what happened, see above. In `text`, `tw_` stands for `time_wait_`; `--event` takes both",
		at:    func(e *event.Event) any { return &e.Kind },
		value: func(e *event.Event) Value { return Word(e.Kind.String()) }},
	{Name: "cookie", Type: TypeHex, Column: Column{Width: 8, Max: 16},
		Doc:   "socket cookie, the identity of the connection: hex, as `ss -e` prints it after `sk:`",
		at:    func(e *event.Event) any { return &e.Cookie },
		value: func(e *event.Event) Value { return Hex(e.Cookie) }},
	{Name: "netns", Type: TypeUint, Column: Column{Width: 10, Right: true},
		Doc:   "inode number of the network namespace",
		at:    func(e *event.Event) any { return &e.NetNS },
		value: func(e *event.Event) Value { return uintOf(e.NetNS) }},
	{Name: "ip", Type: TypeUint, Column: Column{Width: 2, Right: true},
		Doc:   "4 or 6; an IPv4-mapped connection is 4, and its addresses have IPv4 form",
		value: func(e *event.Event) Value { return uintOf(e.IP()) }},
	{Name: "laddr", Type: TypeAddr, Column: Column{Width: 9, Max: 39},
		Doc:   "local address",
		at:    func(e *event.Event) any { return &e.Local },
		value: func(e *event.Event) Value { return Addr(e.Local.Addr()) }},
	{Name: "lport", Type: TypeUint, Column: Column{Width: 5, Right: true},
		Doc:   "local port",
		at:    func(e *event.Event) any { return &e.Local },
		value: func(e *event.Event) Value { return uintOf(e.Local.Port()) }},
	{Name: "raddr", Type: TypeAddr, Column: Column{Width: 9, Max: 39},
		Doc:   "remote address",
		at:    func(e *event.Event) any { return &e.Remote },
		value: func(e *event.Event) Value { return Addr(e.Remote.Addr()) }},
	{Name: "rport", Type: TypeUint, Column: Column{Width: 5, Right: true},
		Doc:   "remote port",
		at:    func(e *event.Event) any { return &e.Remote },
		value: func(e *event.Event) Value { return uintOf(e.Remote.Port()) }},
	{Name: "role", Type: TypeWord, Enum: event.Names[event.Role](), Column: Column{Width: 6},
		Doc:   "`client`: this socket connected; `server`: it was accepted",
		at:    func(e *event.Event) any { return &e.Role },
		value: func(e *event.Event) Value { return Word(e.Role.String()) }},
	{Name: "closer", Type: TypeWord, Enum: event.Names[event.Side](), Column: Column{Width: 6},
		Doc: "whose FIN came first, as this socket saw it: `local` (FIN_WAIT1 before any FIN of the peer), " +
			"`remote` (CLOSE_WAIT), `both` (CLOSING)",
		at:    func(e *event.Event) any { return &e.Closer },
		value: func(e *event.Event) Value { return Word(e.Closer.String()) }},
	{Name: "pid", Type: TypeUint, Column: Column{Width: 6, Max: 7, Right: true},
		Doc: "process id of the owner: of a client socket the opener, else what /proc says, else the closer; " +
			"of a server socket the accepter, else /proc, else the closer, else the listener",
		at:    func(e *event.Event) any { return &e.Process.PID },
		value: func(e *event.Event) Value { return uintOf(e.Process.PID) }},
	{Name: "comm", Type: TypeString, Column: Column{Width: 8, Max: 15},
		Doc:   "comm of the owner's thread group leader, as it was at that call",
		at:    func(e *event.Event) any { return &e.Process.Comm },
		value: func(e *event.Event) Value { return String(e.Process.Comm) }},
	{Name: "owner", Type: TypeWord, Enum: event.Names[event.OwnerFrom](), Column: Column{Width: 7, Max: 8},
		Doc:   "how the owner is known; a later record of the connection may know better",
		at:    func(e *event.Event) any { return &e.Owner },
		value: func(e *event.Event) Value { return Word(e.Owner.String()) }},
	{Name: "opener_pid", Type: TypeUint, Column: Column{Width: 7, Right: true},
		Doc:   "process that called connect()",
		at:    func(e *event.Event) any { return &e.Opener.PID },
		value: func(e *event.Event) Value { return uintOf(e.Opener.PID) }},
	{Name: "opener_comm", Type: TypeString, Column: Column{Width: 8, Max: 15},
		Doc:   "its comm",
		at:    func(e *event.Event) any { return &e.Opener.Comm },
		value: func(e *event.Event) Value { return String(e.Opener.Comm) }},
	{Name: "accepter_pid", Type: TypeUint, Column: Column{Width: 7, Right: true},
		Doc:   "process that called accept()",
		at:    func(e *event.Event) any { return &e.Accepter.PID },
		value: func(e *event.Event) Value { return uintOf(e.Accepter.PID) }},
	{Name: "accepter_comm", Type: TypeString, Column: Column{Width: 8, Max: 15},
		Doc:   "its comm",
		at:    func(e *event.Event) any { return &e.Accepter.Comm },
		value: func(e *event.Event) Value { return String(e.Accepter.Comm) }},
	{Name: "closer_pid", Type: TypeUint, Column: Column{Width: 7, Right: true},
		Doc:   "process that took this socket to FIN_WAIT1 or LAST_ACK, whatever `closer` says",
		at:    func(e *event.Event) any { return &e.CloseProc.PID },
		value: func(e *event.Event) Value { return uintOf(e.CloseProc.PID) }},
	{Name: "closer_comm", Type: TypeString, Column: Column{Width: 8, Max: 15},
		Doc:   "its comm",
		at:    func(e *event.Event) any { return &e.CloseProc.Comm },
		value: func(e *event.Event) Value { return String(e.CloseProc.Comm) }},
	{Name: "pid_start", Type: TypeUint, Column: Column{Width: 9, Right: true},
		Doc:   "when the owner started, in clock ticks after boot, as `/proc/PID/stat` has it: with `pid`, which others may have had and may get, its identity",
		at:    func(e *event.Event) any { return &whoOf(e).Start },
		value: who(func(w *event.Who) Value { return uintOf(w.Start) })},
	{Name: "uid", Type: TypeUint, Column: Column{Width: 5, Right: true},
		Doc:   "real user id of the owner",
		at:    func(e *event.Event) any { whoOf(e).HasUID = true; return &whoOf(e).UID },
		value: uid},
	{Name: "ppid", Type: TypeUint, Column: Column{Width: 7, Right: true},
		Doc:   "process id of the owner's parent, as it was at that call",
		at:    func(e *event.Event) any { return &whoOf(e).PPID },
		value: who(func(w *event.Who) Value { return uintOf(w.PPID) })},
	{Name: "pcomm", Type: TypeString, Column: Column{Width: 8, Max: 15},
		Doc:   "comm of the owner's parent",
		at:    func(e *event.Event) any { return &whoOf(e).PComm },
		value: who(func(w *event.Who) Value { return String(w.PComm) })},
	{Name: "exe", Type: TypeString, Column: Column{Width: 16, Max: 40},
		Doc: "executable of the owner, with ` (deleted)` behind it if so; absent if the process had ended or had " +
			"gone on to another before it could be looked up, as processes that live for milliseconds do",
		at:    func(e *event.Event) any { return &whoOf(e).Exe },
		value: who(func(w *event.Who) Value { return String(w.Exe) })},
	{Name: "cmdline", Type: TypeString, Column: Column{Width: 16, Max: 80},
		Doc:   "command line of the owner, its first 4096 bytes, as it was when it was looked up; only with `--cmdline`",
		at:    func(e *event.Event) any { return &whoOf(e).Cmdline },
		value: who(func(w *event.Who) Value { return String(w.Cmdline) })},
	{Name: "cgroup", Type: TypeString, Column: Column{Width: 12, Max: 60},
		Doc: "cgroup that the owner was in at that call, its path below the root of the hierarchy. Of several " +
			"hierarchies v2's, unless another one tells of a container and v2 does not",
		at:    func(e *event.Event) any { return &whoOf(e).Cgroup },
		value: who(func(w *event.Who) Value { return String(w.Cgroup) })},
	{Name: "unit", Type: TypeString, Column: Column{Width: 12, Max: 30},
		Doc:   "systemd unit of the owner, of the host's or a user's manager",
		at:    func(e *event.Event) any { return &whoOf(e).Unit },
		value: who(func(w *event.Who) Value { return String(w.Unit) })},
	{Name: "container", Type: TypeString, Column: Column{Width: 12, Max: 64},
		Doc:   "id of the container of the owner, the innermost one; its name with LXC and nspawn, which have no ids",
		at:    func(e *event.Event) any { return &whoOf(e).Container },
		value: who(func(w *event.Who) Value { return String(w.Container) })},
	{Name: "container_name", Type: TypeString, Column: Column{Width: 14, Max: 30},
		Doc:   "its name, where the files of the runtime tell",
		at:    func(e *event.Event) any { return &whoOf(e).ContainerName },
		value: who(func(w *event.Who) Value { return String(w.ContainerName) })},
	{Name: "runtime", Type: TypeString, Column: Column{Width: 10},
		Doc:   "what runs it: `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `systemd-nspawn`",
		at:    func(e *event.Event) any { return &whoOf(e).Runtime },
		value: who(func(w *event.Who) Value { return String(w.Runtime) })},
	{Name: "pod", Type: TypeString, Column: Column{Width: 12, Max: 36},
		Doc:   "UID of the Kubernetes pod of the owner",
		at:    func(e *event.Event) any { return &whoOf(e).Pod },
		value: who(func(w *event.Who) Value { return String(w.Pod) })},
	{Name: "pod_name", Type: TypeString, Column: Column{Width: 12, Max: 40},
		Doc:   "its namespace and name, where the files of the runtime tell: `shop/checkout-0`",
		at:    func(e *event.Event) any { return &whoOf(e).PodName },
		value: who(func(w *event.Who) Value { return String(w.PodName) })},
	{Name: "oldstate", Type: TypeWord, Enum: event.Names[event.State](), Column: Column{Width: 11, Max: 12},
		Doc:   "state left, in kernel spelling",
		at:    func(e *event.Event) any { return &e.Old },
		value: func(e *event.Event) Value { return Word(e.Old.String()) }},
	{Name: "newstate", Type: TypeWord, Enum: event.Names[event.State](), Column: Column{Width: 11, Max: 12},
		Doc:   "state entered",
		at:    func(e *event.Event) any { return &e.New },
		value: func(e *event.Event) Value { return Word(e.New.String()) }},
	{Name: "reason", Type: TypeWord, Enum: event.Names[event.Reason](), text: whyText,
		Column: Column{Width: 12, Max: 18},
		Doc:    "why; on `fail`, which has none, `text` prints `errno` in its place",
		at:     func(e *event.Event) any { return &e.Reason },
		value:  func(e *event.Event) Value { return Word(e.Reason.String()) }},
	{Name: "life_ns", Type: TypeDuration, Column: Column{Width: 6, Right: true},
		Doc:   "from entering ESTABLISHED to the first transition out of it; absent if its begin was not seen",
		at:    func(e *event.Event) any { return &e.Life },
		value: func(e *event.Event) Value { return nanosOf(e.Life) }},
	{Name: "timestamps", Type: TypeBool, Column: Column{Width: 3},
		Doc:   "whether the peer uses TCP timestamps: only then can the port be reused early",
		at:    func(e *event.Event) any { return &e.Stamps },
		value: stamps},
	{Name: "bound", Type: TypeBool, Column: Column{Width: 5},
		Doc:   "`true` of a client that chose its local port with `bind()`, before `connect()`: the port is then taken from all destinations",
		at:    func(e *event.Event) any { return &e.Bound },
		value: bound},
	{Name: "state_ns", Type: TypeDuration, Column: Column{Width: 6, Right: true},
		Doc:   "time spent in `oldstate`; on `time_wait_exit` the length of TIME_WAIT",
		at:    func(e *event.Event) any { return &e.InState },
		value: func(e *event.Event) Value { return nanosOf(e.InState) }},
	{Name: "remaining_ns", Type: TypeDuration, Column: Column{Width: 6, Right: true},
		Doc:   "on `snapshot`: until the timer of the TIME_WAIT socket fires",
		at:    func(e *event.Event) any { return &e.Remaining },
		value: func(e *event.Event) Value { return nanosOf(e.Remaining) }},
	{Name: "rearms", Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "how often the timer of the TIME_WAIT socket was started anew",
		at:    func(e *event.Event) any { return &e.Rearms },
		value: func(e *event.Event) Value { return uintOf(e.Rearms) }},
	{Name: "call", Type: TypeWord, Enum: event.Names[event.Call](), Column: Column{Width: 7},
		Doc:   "on `fail`: the call that failed",
		at:    func(e *event.Event) any { return &e.Call },
		value: func(e *event.Event) Value { return Word(e.Call.String()) }},
	{Name: "errno", Type: TypeWord, Column: Column{Width: 13},
		Doc:   "on `fail`: its error, `EADDRNOTAVAIL`",
		at:    func(e *event.Event) any { return &e.Errno },
		value: func(e *event.Event) Value { return errnoOf(e.Errno) }},
	{Name: "count", On: "lost", Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "how many events were lost",
		at:    func(e *event.Event) any { return &e.Count },
		value: lostCount},
	{Name: "stage", On: "lost", Type: TypeWord, Enum: event.Names[event.Stage](), Column: Column{Width: 9},
		Doc:   "where they were lost",
		at:    func(e *event.Event) any { return &e.Stage },
		value: func(e *event.Event) Value { return Word(e.Stage.String()) }},
}

// who makes a field of what is known of the owner.
func who(value func(*event.Who) Value) func(*event.Event) Value {
	return func(e *event.Event) Value {
		if e.Process.Who == nil {
			return Value{}
		}
		return value(e.Process.Who)
	}
}

// whoOf is where a decoder puts that.
func whoOf(e *event.Event) *event.Who {
	if e.Process.Who == nil {
		e.Process.Who = new(event.Who)
	}
	return e.Process.Who
}

// uid is known where it is 0, which is root.
func uid(e *event.Event) Value {
	if w := e.Process.Who; w != nil && w.HasUID {
		return Uint(uint64(w.UID))
	}
	return Value{}
}

func bound(e *event.Event) Value {
	if !e.Bound {
		return Value{}
	}
	return Bool(true)
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
