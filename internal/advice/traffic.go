package advice

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Traffic is what only a trace sees of a namespace: who opens and closes
// connections, and which calls fail. It is zero without a trace. Numbers are of its
// Window, unless they say otherwise.
type Traffic struct {
	Window   time.Duration // over which it was counted: the trace may have started before the counters were read
	Seen     time.Duration // how long the trace has run
	OwnersIn time.Duration // until no socket is left whose owner cannot be known; 0: none is left
	Lost     uint64        // events, since the trace started
	Missing  []string      // what the hooks of this kernel do not show, in words
	Doubts   []string      // other reasons to doubt the trace, in words

	Owners      []Owner      // who opened most first
	Fails       []Fail       // the most first
	Lingering   []Lingering  // the most first
	Bound       []BoundPorts // the fullest first
	Taken       []TakenPort  // ports that a bind() did not get
	Tuples      []TakenTuple // connections that a connect() from a bound port would have been a second time
	Range       RangeTaken
	IdleResets  []IdleReset   // the most first
	Descriptors []Descriptors // the fullest first

	Sole            Contributor     // the only program that owns TCP sockets now, listening or connected, and how many; N is 0 if there is none, or it was not asked for
	Closers         Contributors    // who closed first in the Window: TIME_WAIT is, or was refused, on its side
	TimeWaitHolders Contributors    // whose the sockets in TIME_WAIT are now
	Buckets         *pressure.Gauge // of TIME_WAIT; nil if there are none
	NetnsExits      uint64          // TIME_WAIT sockets that ended with their namespaces, of the whole host
	NetnsGone       int             // how many namespaces those were
}

// Flow is what connections did in the Window.
type Flow struct {
	Opens, Ends              uint64
	Closer                   [event.BothSides + 1]uint64 // whose FIN came first
	ResetSent, ResetReceived uint64                      // connections that ended by one
	IdleResets               uint64                      // of those, the ones of IdleReset
	DataLost                 uint64                      // of those, the ones that discarded data
	TimeWaitEnds             uint64                      // TIME_WAIT sockets that ended
	TimeWaitResets           uint64                      // of those, by a RST
	LongWaits                uint64                      // of those, after more than conn.LongWait, with the timer restarted
	Rearms                   uint64                      // how often the timers of those were restarted
	Short                    float64                     // share of recent lifetimes of at most ShortLived; 0 if none is known
	LifeP50                  time.Duration               // of recent ones; 0 if not known
}

// ShortLived is up to how long a connection counts as short-lived.
const ShortLived = time.Second

// Owner is the processes of one name, with the same parent, user and cgroup, and
// what they do in one role.
type Owner struct {
	Process      event.Proc // the one that opened most, or the last one of many
	PIDs         int        // how many there are; 0 if not known
	About        bool       // PIDs is an estimate
	Came         int        // how many of them first appeared in the Window
	Stays        bool       // most of these still exist
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
	Process event.Proc // the one with the most
	PIDs    int        // how many processes of its name there are; 0 if not known
	About   bool       // PIDs is an estimate
	Call    event.Call
	Errno   uint16
	Cause   event.Cause    // where the errno does not say; CauseNone if it is not known
	GivenUp conn.GivenUp   // of N, by the process itself, where Cause is GaveUp
	Local   netip.AddrPort // of a bind() what it asked for
	Remote  netip.AddrPort // of a connect() where to
	N       uint64
	Opens   uint64         // of a connect(): connections that the same processes opened to the same port
	Instead netip.AddrPort // of a connect(): another address with the same port to which they have connections; not valid if there is none
}

// IdleReset is the connections of a program to a server that the server closed because they
// were idle, and that the program then used: the server's FIN came first, then the client's
// data, and a reset answered it.
type IdleReset struct {
	Here    bool           // the client is on this host, even if its process is not known
	Wrote   event.Proc     // the client's process that had most of them; not known if it is elsewhere
	PIDs    int            // how many processes of its program had any
	Closed  event.Proc     // the server's; not known if it is elsewhere
	Server  netip.AddrPort // where the client connects to
	N       uint64
	Of      uint64        // connections of the pair that ended in the Window, or are open
	Unnamed uint64        // beside N, of clients on this host whose process is not known
	Least   time.Duration // how long they had carried no data when the server closed: 10 % less than this,
	Idle    time.Duration // half of them,
	Longest time.Duration // and 90 %
}

// Lingering is connections that stay in CLOSE_WAIT or FIN_WAIT2, where a healthy one
// is only for a moment: at least two dumps, some seconds apart, showed them.
type Lingering struct {
	State   event.State
	Process event.Proc
	Local   netip.AddrPort // port 0 of a client
	Remote  netip.AddrPort // not valid of a server
	PIDs    int            // processes of that program that have some; 0 if not known
	N       int            // now
	Grown   int            // of those, how many came in the Window
	Peers   []Peer         // who has the other ends, as far as these are on this host; the most first
}

// Peer is the processes of one program that have other ends of lingering connections.
type Peer struct {
	Process event.Proc // not known if nobody is known to have them
	NetNS   uint32
	State   event.State // CLOSE_WAIT or FIN_WAIT2
	N       int
}

// BoundPorts is the local ports that clients bound before they connected: each is
// taken for all destinations.
type BoundPorts struct {
	Local   netip.Addr
	Holders Contributors // whose they are
	Failers Contributors // whose calls found no port in the Window
	Gauge   *pressure.Gauge
	Failed  uint64 // bind() calls that found no port in the Window
	Taken   int    // ports of the range that any socket holds, to any destination; 0 if not counted
}

// TakenPort is a port that a process asked for with bind() and did not get.
type TakenPort struct {
	Local   netip.AddrPort // as it was asked for
	By      event.Proc     // who asked
	N       uint64         // how often
	Holders []PortHolder   // what is on the port: what keeps it longest first; none if nothing was found
	Past    bool           // Holders were there when bind() failed, and are not any more
	Got     bool           // By has bound the port since
	Instead netip.AddrPort // another port that By has bound recently; not valid if it has none
}

// PortHolder is sockets of one kind on a local port.
type PortHolder struct {
	State   event.State    // Listening, Established for all that are open, FinWait2, TimeWait; Closed if only bound
	Role    event.Role     // of a connection
	Process event.Proc     // not known if nobody saw who has them, or left them
	Guess   bool           // Process is likely: no other program has connections to Remote
	Local   netip.AddrPort // of the last one
	Remote  netip.AddrPort // of outgoing connections where to, if they go to one place
	Peer    event.Proc     // who listens at Remote, if that is on this host
	N       int
	FreeIn  time.Duration // in TIME_WAIT: when the last of them expires
}

// TakenTuple is a connection that a connect() from a bound port did not get, since its
// four numbers are taken.
type TakenTuple struct {
	Local, Remote netip.AddrPort
	By            event.Proc    // who called connect()
	State         event.State   // of the socket that has them; StateNone if it was not found
	Role          event.Role    // of that socket; RoleNone if it is older than the trace
	Listens       bool          // somebody listens at Local
	Holder        event.Proc    // whose it is; not known if nobody has it any more
	FreeIn        time.Duration // in TIME_WAIT, until that ends
}

// RangeTaken is the ports that connect() skips for every destination, of those that it
// may choose: sockets have bound them.
type RangeTaken struct {
	Ports int
	By    Contributors // who has bound them; empty if they are few
}

// Descriptors is how many file descriptors a process has open.
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
