package event

import "strconv"

// Kind is what an Event reports. Parked, Listen and Held are facts for the table of
// connections: trace files have them, and they are never printed as records.
type Kind uint8

// The kinds, in the words of the record contract.
const (
	KindNone Kind = iota
	Start
	Snapshot
	Open
	StateChange
	TimeWaitEnter
	TimeWaitRefused
	TimeWaitExit
	Close
	Fail
	StormStart
	StormUpdate
	StormEnd
	Lost
	End

	Parked // the kernel created a mini-socket in FIN_WAIT2
	Listen // a process called listen(), or the listener is closed (New)
	Held   // in trace files, a Snapshot of a connection that is not in TIME_WAIT
)

var kindNames = [...]string{
	Start: "start", Snapshot: "snapshot", Open: "open", StateChange: "state",
	TimeWaitEnter: "time_wait_enter", TimeWaitRefused: "time_wait_refused",
	TimeWaitExit: "time_wait_exit", Close: "close", Fail: "fail",
	StormStart: "storm_start", StormUpdate: "storm_update", StormEnd: "storm_end",
	Lost: "lost", End: "end", Parked: "parked", Listen: "listen", Held: "held",
}

func (k Kind) String() string { return name(kindNames[:], int(k)) }

// Record reports whether k appears in the output.
func (k Kind) Record() bool { return k >= Start && k <= End }

// State is a TCP state with the kernel's number.
type State uint8

// The states of include/net/tcp_states.h.
const (
	StateNone State = iota
	Established
	SynSent
	SynRecv
	FinWait1
	FinWait2
	TimeWait
	Closed
	CloseWait
	LastAck
	Listening
	Closing
	NewSynRecv
)

var stateNames = [...]string{
	Established: "ESTABLISHED", SynSent: "SYN_SENT", SynRecv: "SYN_RECV", FinWait1: "FIN_WAIT1",
	FinWait2: "FIN_WAIT2", TimeWait: "TIME_WAIT", Closed: "CLOSE", CloseWait: "CLOSE_WAIT",
	LastAck: "LAST_ACK", Listening: "LISTEN", Closing: "CLOSING", NewSynRecv: "NEW_SYN_RECV",
}

func (s State) String() string { return name(stateNames[:], int(s)) }

// Reason is why something started or ended.
type Reason uint8

// Reasons of starts, refusals and ends of TIME_WAIT, and of closes. Buckets is one of
// storms too.
const (
	ReasonNone Reason = iota
	ActiveClose
	SimultaneousClose
	LateFin
	Buckets
	Memory
	Expired
	Reused
	Syn
	Reset
	Destroyed
	NetnsExit
	PassiveClose
	ResetSent
	ResetReceived
	Timeout
	FinWait2Timeout
	Ports // of storms: local ports run out
	Churn // of storms: many short-lived connections per second
)

var reasonNames = [...]string{
	ActiveClose: "active_close", SimultaneousClose: "simultaneous_close", LateFin: "late_fin",
	Buckets: "buckets", Memory: "memory", Expired: "expired", Reused: "reused", Syn: "syn",
	Reset: "reset", Destroyed: "destroyed", NetnsExit: "netns_exit", PassiveClose: "passive_close",
	ResetSent: "reset_sent", ResetReceived: "reset_received", Timeout: "timeout",
	FinWait2Timeout: "fin_wait2_timeout", Ports: "ports", Churn: "churn",
}

func (r Reason) String() string { return name(reasonNames[:], int(r)) }

// Role is which end of the connection the socket is.
type Role uint8

// Roles.
const (
	RoleNone Role = iota
	Client
	Server
)

var roleNames = [...]string{Client: "client", Server: "server"}

func (r Role) String() string { return name(roleNames[:], int(r)) }

// Side is whose FIN came first, as the socket saw it.
type Side uint8

// Sides.
const (
	SideNone Side = iota
	LocalSide
	RemoteSide
	BothSides
)

var sideNames = [...]string{LocalSide: "local", RemoteSide: "remote", BothSides: "both"}

func (s Side) String() string { return name(sideNames[:], int(s)) }

// OwnerFrom is how an owner is known.
type OwnerFrom uint8

// Sources of an owner.
const (
	OwnerNone OwnerFrom = iota
	ByConnect
	ByAccept
	ByProc
	ByClose
	ByListen
	Inferred
	ByCall // it made the bind() or socket() that failed
)

var ownerNames = [...]string{
	ByConnect: "connect", ByAccept: "accept", ByProc: "proc", ByClose: "close",
	ByListen: "listen", Inferred: "inferred", ByCall: "call",
}

func (o OwnerFrom) String() string { return name(ownerNames[:], int(o)) }

// Call is a system call that can fail because ports or descriptors run out.
type Call uint8

// Calls.
const (
	CallNone Call = iota
	Connect
	Bind
	Accept
	Socket
)

var callNames = [...]string{Connect: "connect", Bind: "bind", Accept: "accept", Socket: "socket"}

func (c Call) String() string { return name(callNames[:], int(c)) }

// Cause is why a call failed, where the errno alone does not say.
type Cause uint8

// Causes of EADDRNOTAVAIL, and of a connect() without an errno. CauseNone is "not known".
const (
	CauseNone  Cause = iota
	NoPort           // connect(): no local port was free to that destination
	NoAddress        // connect(): the host has no address from which to reach it: IPv6 is off, for example
	NotLocal         // bind(): the address is not one of this host
	TupleTaken       // connect(): the socket was bound to a port, and that port has a connection to the destination
	GaveUp           // connect(): the process closed the socket before an answer came
)

var causeNames = [...]string{NoPort: "no_port", NoAddress: "no_address", NotLocal: "not_local", TupleTaken: "tuple_taken", GaveUp: "gave_up"}

func (c Cause) String() string { return name(causeNames[:], int(c)) }

// Stage is a place where events can be lost.
type Stage uint8

// Stages.
const (
	StageNone    Stage = iota
	StageRing          // the ring buffer was full
	StageMap           // a kernel map was full: owner or identity unknown
	StageSkipped       // the kernel skipped a program that interrupted itself
	StageTW            // a start or end of TIME_WAIT was missed
	StageDecode        // a sample or a record could not be decoded
	StageQueue         // a reader of the agent was too slow, or the agent itself
)

// Stages is the length of an array by stage. Losses at a stage that this version does
// not know count as StageNone's.
const Stages = int(StageQueue) + 1

var stageNames = [...]string{
	StageRing: "ring", StageMap: "map", StageSkipped: "recursion", StageTW: "time_wait",
	StageDecode: "decode", StageQueue: "queue",
}

func (s Stage) String() string { return name(stageNames[:], int(s)) }

// Index is s as an index into an array of [Stages].
func (s Stage) Index() int {
	if int(s) < Stages {
		return int(s)
	}
	return int(StageNone)
}

// Severity says how bad something is, of storms, of limits and of findings. Crit:
// calls are refused now, or will be within five minutes. Warn: a limit's steady state
// is at or above 80 %, or its use at or above 50 % and rising, or data is at risk.
// Info: worth knowing, no harm.
type Severity uint8

// Severities. Storms and limits are Warn, Crit or not judged; findings are any but that.
const (
	SeverityNone Severity = iota // not judged
	Skip                         // could not be checked
	OK
	Info
	Warn
	Crit
)

var severityNames = [...]string{Skip: "skip", OK: "ok", Info: "info", Warn: "warn", Crit: "crit"}

func (s Severity) String() string { return name(severityNames[:], int(s)) }

// Tri is a truth value that may be unknown.
type Tri uint8

// Truth values.
const (
	Unknown Tri = iota
	No
	Yes
)

// name returns the name of i: "" for 0, which is not known, and the number for a value
// of a newer version.
func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return strconv.Itoa(i)
}

// Parse returns the value of the enumeration T that is called s, and whether there is
// one: Parse[event.Kind]("open").
func Parse[T Enum](s string) (T, bool) {
	var zero T
	for i, n := range zero.names() {
		if n == s && n != "" {
			return T(i), true
		}
	}
	return zero, false
}

// Enum is any of the enumerations of this package that users can name.
type Enum interface {
	~uint8
	names() []string
}

func (Kind) names() []string      { return kindNames[:End+1] }
func (State) names() []string     { return stateNames[:] }
func (Reason) names() []string    { return reasonNames[:] }
func (Role) names() []string      { return roleNames[:] }
func (Side) names() []string      { return sideNames[:] }
func (OwnerFrom) names() []string { return ownerNames[:] }
func (Call) names() []string      { return callNames[:] }
func (Cause) names() []string     { return causeNames[:] }
func (Stage) names() []string     { return stageNames[:] }
func (Severity) names() []string  { return severityNames[:] }

// Names returns every name that Parse[T] knows, in order.
func Names[T Enum]() []string {
	var zero T
	var out []string
	for _, n := range zero.names() {
		if n != "" {
			out = append(out, n)
		}
	}
	return out
}
