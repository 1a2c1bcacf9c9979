package advice

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Traffic is what only a trace sees of a namespace: who opens and closes
// connections, and which calls fail. The zero Traffic is that of a look without one.
// Numbers are of its Window, but where they say otherwise.
type Traffic struct {
	Window   time.Duration // over which it was counted: the trace may have begun before the counters were read
	Seen     time.Duration // how long the trace has run
	OwnersIn time.Duration // until no socket is left whose owner cannot be known; 0: none is
	Lost     uint64        // events, since the trace began
	Missing  []string      // what the hooks of this kernel do not show, in words
	Doubts   []string      // what else to know of the trace itself, in words

	Owners      []Owner       // who opened most first
	Fails       []Fail        // the most first
	Standing    []Standing    // the most first
	Bound       []BoundPorts  // the fullest first
	Taken       []TakenPort   // ports that a bind() did not get
	Descriptors []Descriptors // the fullest first

	TimeWaitOwner event.Proc // who closed most connections into TIME_WAIT of late
	NetnsExits    uint64     // TIME_WAIT sockets that ended with their namespaces, of the whole host
	NetnsGone     int        // how many namespaces those were
}

// Flow is what connections did in the Window.
type Flow struct {
	Opens, Ends              uint64
	Closer                   [event.BothSides + 1]uint64 // whose FIN came first
	ResetSent, ResetReceived uint64                      // connections that ended by one
	TimeWaitEnds             uint64                      // TIME_WAIT sockets that ended
	TimeWaitResets           uint64                      // of those, by a RST
	LongWaits                uint64                      // of those, after more than conn.LongWait, started anew in between
	Rearms                   uint64                      // how often the timers of those were
	Short                    float64                     // share of lifetimes, of late, of at most ShortLived; 0 if none is known
	LifeP50                  time.Duration               // of late; 0 if not known
}

// ShortLived is up to how long a connection counts as short-lived.
const ShortLived = time.Second

// Owner is the processes of one name, with the same parent, user and cgroup, and
// what they do in one role.
type Owner struct {
	Process      event.Proc // the one that opened most, or the last one of many
	PIDs         int        // how many there are; 0 if not known
	About        bool       // PIDs is an estimate
	Came         int        // how many of them were seen first in the Window
	Stays        bool       // most of these are still there
	Role         event.Role
	Local        netip.AddrPort // of a server where it listens, if at one place only
	Remote       netip.AddrPort // of a client the destination, if there is one only
	Destinations int            // of a client how many in the Window
	Flow
	TimeWait, Established uint64  // now
	System                float64 // CPUs that the process used in the kernel; negative if not known
}

// Fail is one kind of failure of the processes of one name.
type Fail struct {
	Process event.Proc // of the last ones
	Call    event.Call
	Errno   uint16
	Local   netip.AddrPort // of a bind() what it asked for
	Remote  netip.AddrPort // of a connect() where to
	N       uint64
	Opens   uint64 // of a connect(): connections that the same processes opened to the same port
}

// Standing is connections that stay in CLOSE_WAIT or FIN_WAIT2, where a sound one
// is for a moment: those that at least two looks, some seconds apart, showed.
type Standing struct {
	State   event.State
	Process event.Proc
	Local   netip.AddrPort // port 0 of a client
	Remote  netip.AddrPort // not valid of a server
	N       int            // now
	Grown   int            // of those, how many came in the Window
}

// BoundPorts is the local ports that clients have bound before they connected: each
// is taken from all destinations.
type BoundPorts struct {
	Local  netip.Addr
	Owner  event.Proc
	Gauge  *pressure.Gauge
	Failed uint64 // bind() calls that found no port
	Taken  int    // ports of the range that any socket holds, wherever to; 0 if they were not counted
}

// TakenPort is a port that somebody asked for with bind() and did not get.
type TakenPort struct {
	Local    netip.AddrPort // as it was asked for
	By       event.Proc     // who asked
	N        uint64         // how often
	Listener event.Proc     // who listens there; not known if nobody does
	Listens  bool           // somebody does
	TimeWait int            // sockets in TIME_WAIT on the port
	Left     event.Proc     // who left most of these
	FreeIn   time.Duration  // when the last of these expires, if no more come
	Instead  netip.AddrPort // another port that By has taken of late; not valid if it has none
}

// Descriptors is how many a process has open.
type Descriptors struct {
	Process     event.Proc // not known if they are those of the whole host
	Used, Limit uint64     // both 0 if they could not be read
	Failed      uint64     // calls that got none, with EMFILE or ENFILE
}

// Share is how much of the limit is in use, 0 if that is not known.
func (d *Descriptors) Share() float64 {
	if d.Limit == 0 {
		return 0
	}
	return float64(d.Used) / float64(d.Limit)
}
