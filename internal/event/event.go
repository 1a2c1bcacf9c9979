// Package event is the vocabulary of twtrace: what one record says. It depends
// on the standard library alone, so everything that reads a trace, live or from
// a file, can share it.
package event

import "net/netip"

// Proc is a process as it was when it made a call: the thread group's id and
// the comm of its leader. The zero Proc is "not known".
type Proc struct {
	PID  uint32
	Comm string
	Who  *Who // nil if nothing else is known
}

// Known reports whether p names a process.
func (p Proc) Known() bool { return p.PID != 0 }

// Is reports whether p and o are the same process, with the same name: not one that
// has its pid now, nor what it was before an exec.
func (p Proc) Is(o Proc) bool {
	return p.PID == o.PID && p.Comm == o.Comm && (p.Start() == o.Start() || p.Start() == 0 || o.Start() == 0)
}

// Start is Who.Start, 0 if it is not known.
func (p Proc) Start() uint64 {
	if p.Who == nil {
		return 0
	}
	return p.Who.Start
}

// Cgroup is Who.CgroupID, 0 if it is not known.
func (p Proc) Cgroup() uint64 {
	if p.Who == nil {
		return 0
	}
	return p.Who.CgroupID
}

// Event is one fact about one TCP connection, or about the trace itself (Start,
// Lost, End). The zero value of a field means "not known" and is never printed
// as a value. Ports are in host order. Times and durations are nanoseconds.
type Event struct {
	Time    int64  // since the epoch, UTC; from the kernel's monotonic clock plus one offset a trace
	Cookie  uint64 // socket cookie, the identity of the connection; 0 where the kernel gave none
	NetNS   uint32 // inode number of the network namespace
	Kind    Kind
	Reason  Reason
	Old     State // state left; StateNone if the event is no transition
	New     State // state entered
	Role    Role
	Closer  Side      // whose FIN came first
	Owner   OwnerFrom // how PID and Comm below are known
	Stamps  Tri       // does the peer use TCP timestamps (mini-sockets only)
	Bound   bool      // a client that has bound its local port before it connected
	Local   netip.AddrPort
	Remote  netip.AddrPort
	Process Proc // the owner

	Opener    Proc // called connect()
	Accepter  Proc // called accept()
	CloseProc Proc // took the socket to FIN_WAIT1 or LAST_ACK

	Life      int64  // ns from entering ESTABLISHED to the first transition out of it
	InState   int64  // ns spent in Old; on TimeWaitExit the length of TIME_WAIT
	Remaining int64  // ns until the timer fires (Snapshot)
	Rearms    uint32 // how often the timer of the mini-socket was started anew

	Call  Call
	Errno uint16 // errno of Call (Fail)

	Count uint64 // how many were lost (Lost)
	Stage Stage  // where they were lost (Lost)

	Start *StartInfo // on Start only
	End   *EndInfo   // on End only
	Storm *StormInfo // on StormStart, StormUpdate and StormEnd only
}

// StormInfo is the evidence of a storm, whose owner and destination are those of the
// event: the processes of the owner's name that open most.
type StormInfo struct {
	Severity   Severity
	Rate       float64 // connections opened per second; of Buckets, TIME_WAIT begun
	ShortShare float64 // of the owner's connections that ended, the short-lived; negative if not known
	LifeP50    int64   // ns, of the owner's connections
	Used       uint64  // ports, or buckets, in use
	Usable     uint64  // how many there are, 0 if there is no limit or it is not known
	Projected  uint64  // the most in use within five minutes, were there no limit
	ExhaustsIn float64 // seconds until all are in use; negative if that is not foreseen
	Fails      uint64  // refused since the storm began: calls or, of Buckets, TIME_WAIT sockets
	PIDs       uint32  // processes of the owner, about
}

// NewStorm returns a StormInfo of which nothing is known.
func NewStorm() *StormInfo { return &StormInfo{ShortShare: -1, ExhaustsIn: -1} }

// StartInfo describes the trace: what is observed, on what, and what is not.
type StartInfo struct {
	Version string
	Schema  int
	Host    string
	Kernel  string
	BootID  string
	Hooks   []string          // attached hooks
	Missing []string          // what will not be seen, in words
	Limits  map[string]string // limits of the traced namespace, by sysctl name
	Filter  string            // the filter in words, "" if none
}

// EndInfo is the account of a trace. Births = Parked + begins at birth, and
// Begins = births in TIME_WAIT + Promoted; Alive is in TIME_WAIT plus parked.
type EndInfo struct {
	Why      string // "duration", "count", "signal", "closed pipe", ...
	Births   uint64 // mini-sockets born
	Parked   uint64 // of those, born in FIN_WAIT2
	Promoted uint64 // parked ones that reached TIME_WAIT
	Late     uint64 // promotions that were found when TIME_WAIT ended, so that its begin was told late
	Begins   uint64
	Ends     map[string]uint64 // ends of TIME_WAIT by reason, "unknown" included
	Refused  uint64
	Alive    uint64
	Lost     map[string]uint64 // by stage; stages with none are absent
	Unnamed  map[string]uint64 // processes whose records lack their names, by why: "gone", "throttled"
	Drift    []Drift           // namespaces where the kernel counted otherwise
}

// Drift is by how much the trace and the kernel's own counters differ in one
// network namespace: what the kernel counted less what was traced.
type Drift struct {
	NetNS   uint32 `json:"netns"`
	Births  int64  `json:"births"`  // growth of TcpExtTW + TcpExtTWKilled, less births (5.18 and later, else 0)
	Reused  int64  `json:"reused"`  // growth of TcpExtTWRecycled, less ends by reuse
	Refused int64  `json:"refused"` // growth of TcpExtTCPTimeWaitOverflow, less refusals
	Alive   int64  `json:"alive"`   // sockstat's tw, less what is held to be alive
}
