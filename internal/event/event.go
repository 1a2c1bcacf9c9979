// Package event is the vocabulary of twtrace: the content of one record. It depends
// only on the standard library, so that everything that reads a trace, live or from
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

// Is reports whether p and o are the same process with the same name. Another process
// with the same pid is not, and neither is the process before an exec.
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
// Lost, End). The zero value of a field means "not known" and is not printed.
// Ports are in host order. Times and durations are nanoseconds.
//
// Every field is printed by a field of package output, or is among those that its
// test excuses, with the reason.
type Event struct {
	Time   int64  // since the epoch, UTC; from the kernel's monotonic clock plus one offset a trace
	Cookie uint64 // socket cookie, the identity of the connection; 0 where the kernel gave none
	NetNS  uint32 // inode number of the network namespace
	// NetNSName is the `ip netns` name of that namespace, set where an event is shown. A
	// recording has the names apart from its records.
	NetNSName string

	Kind    Kind
	Reason  Reason
	Old     State // state left; StateNone if the event is no transition
	New     State // state entered
	Role    Role
	Closer  Side      // whose FIN came first
	Owner   OwnerFrom // how PID and Comm below are known
	Stamps  Tri       // does the peer use TCP timestamps (mini-sockets only)
	Bound   bool      // a client that bound its local port before it connected
	Local   netip.AddrPort
	Remote  netip.AddrPort
	Process Proc // the owner

	Opener    Proc           // called connect()
	Accepter  Proc           // called accept()
	Listener  netip.AddrPort // where the socket listens that took the connection in (Open of a server)
	CloseProc Proc           // took the socket to FIN_WAIT1 or LAST_ACK

	Life      int64  // ns from entering ESTABLISHED to the first transition out of it
	Idle      int64  // ns without data in either direction before that transition, in ticks of the kernel's timer
	DataLost  bool   // the reset that ended it discarded data that was not acknowledged, or not read
	InState   int64  // ns spent in Old; on TimeWaitExit the length of TIME_WAIT
	Remaining int64  // ns until the timer fires (Snapshot)
	Rearms    uint32 // how often the kernel restarted the timer of the mini-socket

	Call  Call
	Errno uint16 // errno of Call (Fail)
	Cause Cause  // why it failed, where Errno does not say; the table of connections sets those of EADDRNOTAVAIL (Fail)

	Count uint64 // how many were lost (Lost)
	Stage Stage  // where they were lost (Lost)

	Start *StartInfo // on Start only
	End   *EndInfo   // on End only
	Storm *StormInfo // on StormStart, StormUpdate and StormEnd only
}

// StormInfo is the evidence of a storm. The event has its owner and destination. The
// owner is the program that holds most, or that churns: its process has a pid only if it
// is the only one of that program.
type StormInfo struct {
	Severity   Severity
	Rate       float64 // connections opened per second; for Buckets, sockets that enter TIME_WAIT
	Demand     float64 // what is wanted per second: Rate, and what was refused; negative if not known
	ShortShare float64 // share of short-lived among the owner's connections that ended; negative if not known
	LifeP50    int64   // ns, of the owner's connections
	Used       uint64  // ports, or buckets, in use
	Usable     uint64  // how many there are, 0 if there is no limit or it is not known
	Projected  uint64  // maximum in use within the next five minutes, if there were no limit
	ExhaustsIn float64 // seconds until all are in use; negative if that is not expected
	Fails      uint64  // refused since the storm started: calls, or for Buckets, TIME_WAIT sockets
	Outage     float64 // for how many seconds calls have been failing, or did in the last outage; negative if none was refused
	Resolved   bool    // the outage is over
	PIDs       uint32  // number of processes of the owner, approximately
	Held       uint64  // of Used, what the owner holds; 0 if not known
	Others     uint32  // how many other programs hold a part of Used
}

// NewStorm returns a StormInfo in which nothing is known.
func NewStorm() *StormInfo { return &StormInfo{Demand: -1, ShortShare: -1, ExhaustsIn: -1, Outage: -1} }

// StartInfo describes the trace: what is observed, on what, and what is not.
type StartInfo struct {
	Version string
	Schema  int // of the records, as they are printed
	Host    string
	Kernel  string
	BootID  string
	HookSet string            // "fentry" or "timer": by what the trace sees mini-sockets; "" in older files
	Hooks   []string          // attached hooks
	Missing []string          // what the trace cannot see, in words
	Limits  map[string]string // limits of the traced namespace, by sysctl name
	Filter  string            // the filter in words, "" if none
}

// EndInfo is the totals of a trace. Births = Parked + births in TIME_WAIT, and
// Begins = births in TIME_WAIT + Promoted. Alive is in TIME_WAIT plus parked.
type EndInfo struct {
	Why      string            // "duration", "count", "signal", "closed pipe", ...
	Births   uint64            // mini-sockets that the kernel created
	Parked   uint64            // of these, in FIN_WAIT2
	Promoted uint64            // parked ones that entered TIME_WAIT
	Late     uint64            // promotions detected when TIME_WAIT ended
	Begins   uint64            // starts of TIME_WAIT
	Ends     map[string]uint64 // ends of TIME_WAIT by reason, including "unknown"
	Refused  uint64
	Alive    uint64
	Lost     map[string]uint64 // by stage; stages with none are absent
	Unnamed  map[string]uint64 // processes whose records lack their names, by why: "gone", "throttled"
	Drift    []Drift           // namespaces where the kernel's counters disagree
}

// Add counts an event.
func (n *EndInfo) Add(e *Event) {
	switch e.Kind {
	case Parked:
		n.Births++
		n.Parked++
	case TimeWaitEnter:
		n.Begins++
		if e.Reason == LateFin { // born when it was parked
			n.Promoted++
		} else {
			n.Births++
		}
	case TimeWaitExit:
		reason := e.Reason.String()
		if e.Reason == ReasonNone {
			reason = "unknown"
		}
		n.Ends[reason]++
	case TimeWaitRefused:
		n.Refused++
	case Lost:
		n.Lost[e.Stage.String()] += e.Count
	}
}

// Drift is the difference between the kernel's own counters and the trace in one
// network namespace: the kernel's count minus the trace's.
type Drift struct {
	NetNS   uint32 `json:"netns"`
	Births  int64  `json:"births"`  // growth of TcpExtTW + TcpExtTWKilled, minus births (5.18 and later, else 0)
	Reused  int64  `json:"reused"`  // growth of TcpExtTWRecycled, minus ends by reuse
	Refused int64  `json:"refused"` // growth of TcpExtTCPTimeWaitOverflow, minus refusals
	Alive   int64  `json:"alive"`   // sockstat's tw, minus the sockets that the trace holds to be alive
}
