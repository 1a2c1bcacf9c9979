package output

import "github.com/twtrace/twtrace/internal/event"

// connFields are the fields of every record and of those about connections.
var connFields = []Field{
	{Name: "time", On: "all", Type: TypeTime, Column: Column{Width: 12, Max: 35}, text: shortTime, full: 30,
		Doc: "when it happened: RFC 3339 with nanoseconds, UTC. `text` prints the local time of day with milliseconds, under a heading " +
			"with the zone; `wide` prints all of it, with the offset from UTC. With `--utc` both print UTC",
		at:    func(e *event.Event) any { return &e.Time },
		value: func(e *event.Event) Value { return Time(e.Time) }},
	{Name: "event", On: "all", Type: TypeWord, Enum: event.Names[event.Kind](),
		Column: Column{Width: 8, Max: 17}, text: shortEvent, full: 17,
		Doc:   "what happened, see above. `text` shortens `time_wait_` to `tw_`; `--event` takes both",
		at:    func(e *event.Event) any { return &e.Kind },
		value: func(e *event.Event) Value { return Word(e.Kind.String()) }},
	{Name: "cookie", Type: TypeHex, Column: Column{Width: 8, Max: 16},
		Doc:   "socket cookie, which identifies the connection: hex, as `ss -e` prints it after `sk:`",
		at:    func(e *event.Event) any { return &e.Cookie },
		value: func(e *event.Event) Value { return Hex(e.Cookie) }},
	{Name: "netns", Type: TypeUint, Column: Column{Width: 10, Max: 20}, text: namedSpace, alsoWide: true,
		Doc:   "inode number of the network namespace; `text` and `wide` print its name instead, if it has one",
		at:    func(e *event.Event) any { return &e.NetNS },
		value: func(e *event.Event) Value { return uintOf(e.NetNS) }},
	{Name: "netns_name", Type: TypeString, short: "NETNS", Column: Column{Width: 10, Max: 20},
		Doc:   "name of that network namespace, if `ip netns` gave it one",
		at:    func(e *event.Event) any { return &e.NetNSName },
		value: func(e *event.Event) Value { return String(e.NetNSName) }},
	{Name: "ip", Type: TypeUint, Column: Column{Width: 2, Right: true},
		Doc:   "4 or 6. A connection of IPv4-mapped addresses is 4, and its addresses are printed as IPv4",
		value: func(e *event.Event) Value { return uintOf(e.IP()) }},
	{Name: "laddr", Type: TypeAddr, Column: Column{Width: 15, Max: 39},
		Doc:   "local address",
		at:    func(e *event.Event) any { return &e.Local },
		value: func(e *event.Event) Value { return Addr(e.Local.Addr()) }},
	{Name: "lport", Type: TypeUint, Column: Column{Width: 5, Right: true},
		Doc:   "local port",
		at:    func(e *event.Event) any { return &e.Local },
		value: func(e *event.Event) Value { return uintOf(e.Local.Port()) }},
	{Name: "raddr", Type: TypeAddr, Column: Column{Width: 15, Max: 39},
		Doc:   "remote address",
		at:    func(e *event.Event) any { return &e.Remote },
		value: func(e *event.Event) Value { return Addr(e.Remote.Addr()) }},
	{Name: "rport", Type: TypeUint, Column: Column{Width: 5, Right: true},
		Doc:   "remote port",
		at:    func(e *event.Event) any { return &e.Remote },
		value: func(e *event.Event) Value { return uintOf(e.Remote.Port()) }},
	{Name: "role", Was: was("dir", inTop), Type: TypeWord, Enum: event.Names[event.Role](), Column: Column{Width: 6},
		Doc:   "`client`: this socket connected; `server`: it was accepted",
		at:    func(e *event.Event) any { return &e.Role },
		value: func(e *event.Event) Value { return Word(e.Role.String()) }},
	{Name: "closed_by", Was: was("closer", inRecords, inTop), Type: TypeWord, Enum: event.Names[event.Side](), Column: Column{Width: 6},
		Doc: "whose FIN came first, as this socket saw it: `local` (FIN_WAIT1 before any FIN of the peer), " +
			"`remote` (CLOSE_WAIT), `both` (CLOSING)",
		at:    func(e *event.Event) any { return &e.Closer },
		value: func(e *event.Event) Value { return Word(e.Closer.String()) }},
	{Name: "pid", Type: TypeUint, Column: Column{Width: 7, Max: 10, Right: true},
		Doc: "process id of the owner. For a client socket that is the opener, else what /proc says, else the closer; " +
			"for a server socket the accepter, else /proc, else the closer, else the listener",
		at:    func(e *event.Event) any { return &e.Process.PID },
		value: func(e *event.Event) Value { return uintOf(e.Process.PID) }},
	{Name: "comm", Type: TypeString, Column: Column{Width: 15, Max: 60},
		Doc:   "comm of the owner, at the time of that call: the name of its first thread",
		at:    func(e *event.Event) any { return &e.Process.Comm },
		value: func(e *event.Event) Value { return String(e.Process.Comm) }},
	{Name: "owner", Type: TypeWord, Enum: event.Names[event.OwnerFrom](), Column: Column{Width: 8, Max: 9},
		Doc:   "how the owner is known. A later record of the connection may know a better source",
		at:    func(e *event.Event) any { return &e.Owner },
		value: func(e *event.Event) Value { return Word(e.Owner.String()) }},
	{Name: "opener_pid", Type: TypeUint, Column: Column{Width: 7, Right: true},
		Doc:   "process that called connect()",
		at:    func(e *event.Event) any { return &e.Opener.PID },
		value: func(e *event.Event) Value { return uintOf(e.Opener.PID) }},
	{Name: "opener_comm", Type: TypeString, Column: Column{Width: 15, Max: 60},
		Doc:   "comm of that process",
		at:    func(e *event.Event) any { return &e.Opener.Comm },
		value: func(e *event.Event) Value { return String(e.Opener.Comm) }},
	{Name: "accepter_pid", Type: TypeUint, Column: Column{Width: 7, Right: true},
		Doc:   "process that called accept()",
		at:    func(e *event.Event) any { return &e.Accepter.PID },
		value: func(e *event.Event) Value { return uintOf(e.Accepter.PID) }},
	{Name: "accepter_comm", Type: TypeString, Column: Column{Width: 15, Max: 60},
		Doc:   "comm of that process",
		at:    func(e *event.Event) any { return &e.Accepter.Comm },
		value: func(e *event.Event) Value { return String(e.Accepter.Comm) }},
	{Name: "closer_pid", Type: TypeUint, Column: Column{Width: 7, Right: true},
		Doc:   "process that took this socket to FIN_WAIT1 or LAST_ACK, whatever `closed_by` says",
		at:    func(e *event.Event) any { return &e.CloseProc.PID },
		value: func(e *event.Event) Value { return uintOf(e.CloseProc.PID) }},
	{Name: "closer_comm", Type: TypeString, Column: Column{Width: 15, Max: 60},
		Doc:   "comm of that process",
		at:    func(e *event.Event) any { return &e.CloseProc.Comm },
		value: func(e *event.Event) Value { return String(e.CloseProc.Comm) }},
	{Name: "pid_start_ticks", Was: was("pid_start", inRecords), Type: TypeUint, Column: Column{Width: 9, Right: true},
		Doc:   "when the owner started, in clock ticks after boot, as in `/proc/PID/stat`. Together with `pid`, which the kernel uses again, it identifies the process",
		at:    func(e *event.Event) any { return &whoOf(e).Start },
		value: who(func(w *event.Who) Value { return uintOf(w.Start) })},
	{Name: "uid", Type: TypeUint, Column: Column{Width: 5, Right: true},
		Doc:   "real user id of the owner",
		at:    func(e *event.Event) any { whoOf(e).HasUID = true; return &whoOf(e).UID },
		value: uid},
	{Name: "ppid", Type: TypeUint, Column: Column{Width: 7, Right: true},
		Doc:   "process id of the owner's parent, at the time of that call",
		at:    func(e *event.Event) any { return &whoOf(e).PPID },
		value: who(func(w *event.Who) Value { return uintOf(w.PPID) })},
	{Name: "pcomm", Type: TypeString, Column: Column{Width: 15, Max: 60},
		Doc:   "comm of the owner's parent",
		at:    func(e *event.Event) any { return &whoOf(e).PComm },
		value: who(func(w *event.Who) Value { return String(w.PComm) })},
	{Name: "exe", Type: TypeString, Column: Column{Width: 16, Max: 40},
		Doc: "executable of the owner, followed by ` (deleted)` if its file is gone. Absent if the process ended or called exec " +
			"before twtrace read /proc, as processes that live for milliseconds do",
		at:    func(e *event.Event) any { return &whoOf(e).Exe },
		value: who(func(w *event.Who) Value { return String(w.Exe) })},
	{Name: "cmdline", Type: TypeString, Column: Column{Width: 16, Max: 80},
		Doc:   "command line of the owner, its first 4096 bytes, at the time when twtrace read /proc. Only with `--cmdline`",
		at:    func(e *event.Event) any { return &whoOf(e).Cmdline },
		value: who(func(w *event.Who) Value { return String(w.Cmdline) })},
	{Name: "cgroup", Type: TypeString, Column: Column{Width: 12, Max: 60},
		Doc: "cgroup of the owner at the time of that call: its path below the root of the hierarchy. With several " +
			"hierarchies it is that of v2, unless only another one names a container",
		at:    func(e *event.Event) any { return &whoOf(e).Cgroup },
		value: who(func(w *event.Who) Value { return String(w.Cgroup) })},
	{Name: "unit", Type: TypeString, Column: Column{Width: 12, Max: 30},
		Doc:   "systemd unit of the owner, of the system or of a user",
		at:    func(e *event.Event) any { return &whoOf(e).Unit },
		value: who(func(w *event.Who) Value { return String(w.Unit) })},
	{Name: "container", Type: TypeString, Column: Column{Width: 12, Max: 64},
		Doc:   "id of the owner's innermost container. LXC and nspawn have no ids; there it is the name",
		at:    func(e *event.Event) any { return &whoOf(e).Container },
		value: who(func(w *event.Who) Value { return String(w.Container) })},
	{Name: "container_name", Type: TypeString, Column: Column{Width: 14, Max: 30},
		Doc:   "name of the container, where the files of the runtime have it",
		at:    func(e *event.Event) any { return &whoOf(e).ContainerName },
		value: who(func(w *event.Who) Value { return String(w.ContainerName) })},
	{Name: "runtime", Type: TypeString, Column: Column{Width: 10},
		Doc:   "runtime of the container: `docker`, `containerd`, `cri-o`, `podman`, `lxc`, `systemd-nspawn`",
		at:    func(e *event.Event) any { return &whoOf(e).Runtime },
		value: who(func(w *event.Who) Value { return String(w.Runtime) })},
	{Name: "pod", Type: TypeString, Column: Column{Width: 12, Max: 36},
		Doc:   "UID of the Kubernetes pod of the owner",
		at:    func(e *event.Event) any { return &whoOf(e).Pod },
		value: who(func(w *event.Who) Value { return String(w.Pod) })},
	{Name: "pod_name", Type: TypeString, Column: Column{Width: 12, Max: 40},
		Doc:   "namespace and name of the pod, where the files of the runtime have it: `shop/checkout-0`",
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
		Doc:    "why it happened. `fail` has no reason, and `text` prints its `errno` instead, or without one its `cause`",
		at:     func(e *event.Event) any { return &e.Reason },
		value:  func(e *event.Event) Value { return Word(e.Reason.String()) }},
	{Name: "life_ns", Type: TypeDuration, Column: Column{Width: 6, Right: true},
		Doc:   "lifetime: from entering ESTABLISHED to leaving it. Absent if the trace did not see the start",
		at:    func(e *event.Event) any { return &e.Life },
		value: func(e *event.Event) Value { return nanosOf(e.Life) }},
	{Name: "idle_ns", Type: TypeDuration, Column: Column{Width: 6, Right: true},
		Doc: "for how long the connection had carried no data, in either direction, when it left ESTABLISHED, to a tick of the kernel's timer " +
			"(1 to 10 ms). Absent if that was less than a tick, or is not known",
		at:    func(e *event.Event) any { return &e.Idle },
		value: func(e *event.Event) Value { return nanosOf(e.Idle) }},
	{Name: "data_lost", Type: TypeBool, Column: Column{Width: 4},
		Doc: "`true` if the reset that ended the connection discarded data: what this side had sent and the peer had not acknowledged, " +
			"or, with `reset_sent`, what this side had not read",
		at:    func(e *event.Event) any { return &e.DataLost },
		value: func(e *event.Event) Value { return onlyTrue(e.DataLost) }},
	{Name: "timestamps", Type: TypeBool, Column: Column{Width: 3},
		Doc:   "whether the peer uses TCP timestamps. Only then can `connect()` reuse the port early",
		at:    func(e *event.Event) any { return &e.Stamps },
		value: stamps},
	{Name: "bound", Type: TypeBool, Column: Column{Width: 5},
		Doc:   "`true` if a client chose its local port with `bind()` before `connect()`: the port is then taken from all destinations",
		at:    func(e *event.Event) any { return &e.Bound },
		value: func(e *event.Event) Value { return onlyTrue(e.Bound) }},
	{Name: "state_ns", short: "IN_STATE", Type: TypeDuration, Column: Column{Width: 6, Right: true},
		Doc:   "time spent in `oldstate`; on `time_wait_exit` the length of TIME_WAIT",
		at:    func(e *event.Event) any { return &e.InState },
		value: func(e *event.Event) Value { return nanosOf(e.InState) }},
	{Name: "remaining_ns", Type: TypeDuration, Column: Column{Width: 6, Right: true},
		Doc:   "on `snapshot`: time until the timer of the TIME_WAIT socket fires",
		at:    func(e *event.Event) any { return &e.Remaining },
		value: func(e *event.Event) Value { return nanosOf(e.Remaining) }},
	{Name: "rearms", Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "how often the kernel restarted the timer of the TIME_WAIT socket",
		at:    func(e *event.Event) any { return &e.Rearms },
		value: func(e *event.Event) Value { return uintOf(e.Rearms) }},
	{Name: "call", Type: TypeWord, Enum: event.Names[event.Call](), Column: Column{Width: 7},
		Doc:   "on `fail`: the call that failed",
		at:    func(e *event.Event) any { return &e.Call },
		value: func(e *event.Event) Value { return Word(e.Call.String()) }},
	{Name: "errno", Type: TypeWord, Column: Column{Width: 13},
		Doc:   "on `fail`: its error, such as `EADDRNOTAVAIL`",
		at:    func(e *event.Event) any { return &e.Errno },
		value: func(e *event.Event) Value { return errnoOf(e.Errno) }},
	{Name: "cause", Type: TypeWord, Enum: event.Names[event.Cause](), Column: Column{Width: 11},
		Doc: "on `fail` with `EADDRNOTAVAIL`, or without an errno: why. `no_port`: no local port was free to the destination; `no_address`: the host has no address " +
			"from which to reach it; `not_local`: the address of a `bind()` is not this host's; `tuple_taken`: the socket was bound to a port " +
			"that has a connection to the destination; `gave_up`: the process closed the socket, or ended, before an answer to its SYN came, " +
			"and `state_ns` is how long it waited. Absent if not known",
		at:    func(e *event.Event) any { return &e.Cause },
		value: func(e *event.Event) Value { return Word(e.Cause.String()) }},
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
