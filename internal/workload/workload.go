// Package workload makes real TCP connections, for tests and benchmarks, and logs
// the truth about each of them, so that what a tracer reports can be compared with
// what happened. It is not in the program that ships.
//
// A workload runs in a process of its own, with a name of its own: [Start]
// executes the running binary again, and [Main], called first thing in
// TestMain, turns that copy into the workload. The process works in the network
// namespace it was started in. It uses bare system calls on blocking sockets:
// Go's dialer retries a failed connect() and turns keep-alive on, so neither
// its errors nor its connections can be counted.
//
// [Spec] says what one process does, [Scenario] puts a server and its clients
// together, and the functions that return a Scenario name the ways in which a
// TCP connection can end. [Wire] connects two namespaces where the order of the
// segments matters.
package workload

import (
	"fmt"
	"net/netip"
	"syscall"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Spec says what one workload process does: one of Serve, Connect and Noise.
type Spec struct {
	Comm       string // name of the process, which is its thread group leader's; at most 15 bytes; "" for "workload"
	ThreadComm string // name of the threads that do the work; "" for Comm
	Workers    int    // threads that do the work; 0 for one
	CountOnly  bool   // keep no Record, only the totals
	Files      uint64 // RLIMIT_NOFILE; 0 for as many as the kernel allows

	Serve   *Serve
	Connect *Connect
	Noise   *Noise
}

// Serve accepts connections on all of At and ends each as End says. It runs
// until Drain or Stop.
type Serve struct {
	At     []netip.AddrPort // addresses to listen on; port 0 for any; ::ffff:127.0.0.1 for an IPv6 socket that speaks IPv4
	Greet  bool             // send one byte on each accepted connection
	End    End
	Delay  time.Duration // from the peer's FIN to close(), if End is WaitEOF
	Holds  int           // Held reports once this many connections were accepted
	Closer event.Side    // who closes first, as planned; copied to the log
}

// Connect makes connections, each to the next of To in turn. It ends after
// Count attempts or Fails failures, whichever comes first, or else with Stop.
type Connect struct {
	To     []netip.AddrPort
	Source netip.AddrPort // bound before connect, if valid; port 0 lets bind() take one
	// LatePort has connect() take the port, not bind() (IP_BIND_ADDRESS_NO_PORT).
	LatePort bool
	Way      Way  // Plain, NonBlocking, or Dialer with End Close
	Greet    bool // wait for the server's byte, so that it has accepted
	End      End
	Count    int        // attempts; 0 for no limit
	Fails    int        // failed attempts after which to end; 0 for no limit
	Rate     float64    // attempts per second; 0 for full speed
	Closer   event.Side // who closes first, as planned; copied to the log
}

// End says how one side ends a connection.
type End string

// The ways to end a connection.
const (
	Close         End = "close"           // close() at once
	HalfClose     End = "half-close"      // shutdown(SHUT_WR), wait for the peer's FIN, close()
	WaitEOF       End = "wait-eof"        // wait for the peer's FIN, close()
	Abort         End = "abort"           // close() with SO_LINGER 0, which sends RST
	Hold          End = "hold"            // leave it open until the process exits or is killed
	HalfCloseHold End = "half-close-hold" // shutdown(SHUT_WR), then as Hold
	OnCue         End = "on-cue"          // close() when Cue says so
)

// holds reports whether connections stay open until something happens to the
// whole process.
func (e End) holds() bool { return e == Hold || e == HalfCloseHold || e == OnCue }

func (e End) valid() bool {
	switch e {
	case Close, HalfClose, WaitEOF, Abort, Hold, HalfCloseHold, OnCue:
		return true
	}
	return false
}

// Record is what one end of one connection knows about it, or a call that
// failed. Addresses are in their IPv4 form where the packets were IPv4.
type Record struct {
	PID    uint32
	Comm   string
	Role   event.Role
	Local  netip.AddrPort
	Remote netip.AddrPort
	Cookie uint64     // SO_COOKIE, as ss -e prints it after sk:
	Closer event.Side // as planned
	Opened int64      // when connect() or accept() returned; ns since the epoch
	// Closed is when this end was about to send its FIN or RST, in ns since the
	// epoch; 0 for a connection that was left to the end of the process.
	Closed int64

	Call  event.Call    // the call that failed; CallNone for reads and writes
	Errno syscall.Errno // its errno; 0 if nothing failed
}

// Failure is a call and what it returned.
type Failure struct {
	Call  event.Call
	Errno syscall.Errno
}

func (f Failure) String() string { return f.Call.String() + ": " + f.Errno.Error() }

// Log is the truth about one process.
type Log struct {
	PID     uint32
	Comm    string
	Records []Record           // in no particular order
	Opened  uint64             // connections established
	Failed  map[Failure]uint64 // failed calls, each system call counted
	Rounds  uint64             // round trips of Noise
	Forks   uint64             // processes that Noise ran
	Elapsed time.Duration      // from Go until the work was done
}

// Cookies returns the cookies of the connections that were established.
func (l Log) Cookies() []uint64 {
	var out []uint64
	for _, r := range l.Records {
		if r.Opened != 0 {
			out = append(out, r.Cookie)
		}
	}
	return out
}

// Validate reports what is wrong with s.
func (s Spec) Validate() error {
	if len(s.Comm) > 15 || len(s.ThreadComm) > 15 {
		return fmt.Errorf("workload %q: a comm has at most 15 bytes", s.Comm)
	}
	set := 0
	if c := s.Serve; c != nil {
		set++
		if len(c.At) == 0 || !c.End.valid() {
			return fmt.Errorf("workload %q: nothing to listen on, or unknown end %q", s.Comm, c.End)
		}
	}
	if c := s.Connect; c != nil {
		set++
		if len(c.To) == 0 || !c.End.valid() {
			return fmt.Errorf("workload %q: nothing to connect to, or unknown end %q", s.Comm, c.End)
		}
		if c.End.holds() && c.Count == 0 && c.Fails == 0 {
			return fmt.Errorf("workload %q: it would hold connections without limit", s.Comm)
		}
	}
	if s.Noise != nil {
		set++
	}
	if set != 1 {
		return fmt.Errorf("workload %q: needs one of Serve, Connect and Noise", s.Comm)
	}
	return nil
}
