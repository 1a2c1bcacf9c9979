package event

import "strconv"

// Kind says what an Event reports. Parked, Listen and Held are facts the
// tables need; they are never printed as records, and trace files have them.
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

	Parked // a mini-socket was born in FIN_WAIT2
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

// Reason says why something began or ended.
type Reason uint8

// Reasons of begins, refusals, ends and closes; Buckets is one of storms too.
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
	Churn // of storms: short-lived connections, fast
)

var reasonNames = [...]string{
	ActiveClose: "active_close", SimultaneousClose: "simultaneous_close", LateFin: "late_fin",
	Buckets: "buckets", Memory: "memory", Expired: "expired", Reused: "reused", Syn: "syn",
	Reset: "reset", Destroyed: "destroyed", NetnsExit: "netns_exit", PassiveClose: "passive_close",
	ResetSent: "reset_sent", ResetReceived: "reset_received", Timeout: "timeout",
	FinWait2Timeout: "fin_wait2_timeout", Ports: "ports", Churn: "churn",
}

func (r Reason) String() string { return name(reasonNames[:], int(r)) }

// Role says which end of the connection the socket is.
type Role uint8

// Roles.
const (
	RoleNone Role = iota
	Client
	Server
)

var roleNames = [...]string{Client: "client", Server: "server"}

func (r Role) String() string { return name(roleNames[:], int(r)) }

// Side says whose FIN came first, as the socket saw it.
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

// OwnerFrom says how an owner is known.
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

// Call is a system call that can fail for want of a port or a descriptor.
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

// Stage is a place where events can be lost.
type Stage uint8

// Stages.
const (
	StageNone    Stage = iota
	StageRing          // the ring buffer was full
	StageMap           // a kernel map was full: owner or identity unknown
	StageSkipped       // the kernel skipped a program that interrupted itself
	StageTW            // a begin or end of TIME_WAIT was not seen
	StageDecode        // a sample could not be understood
	StageQueue         // a consumer in this process was too slow
)

var stageNames = [...]string{
	StageRing: "ring", StageMap: "map", StageSkipped: "recursion", StageTW: "time_wait",
	StageDecode: "decode", StageQueue: "queue",
}

func (s Stage) String() string { return name(stageNames[:], int(s)) }

// Severity says how bad something is. Crit: calls are refused, or will be within
// five minutes. Warn: a limit comes near.
type Severity uint8

// Severities of storms.
const (
	SeverityNone Severity = iota
	Warn
	Crit
)

var severityNames = [...]string{Warn: "warn", Crit: "crit"}

func (s Severity) String() string { return name(severityNames[:], int(s)) }

// Tri is a truth value that may be unknown.
type Tri uint8

// Truth values.
const (
	Unknown Tri = iota
	No
	Yes
)

// name looks i up in names; "" is what an unknown value (0) prints as, and a
// value of a newer version prints as its number.
func name(names []string, i int) string {
	if i < len(names) {
		return names[i]
	}
	return strconv.Itoa(i)
}

// Parse returns the value whose name is s, of any of the enumerations here, and
// whether there is one: Parse[event.Kind]("open").
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
