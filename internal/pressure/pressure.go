// Package pressure says what is filling up: the local ports towards each
// destination, the local ports that programs bind before they connect, and the
// TIME_WAIT sockets that a network namespace may have. Of each it tells what is in
// use and by what, the limit, the rates, and when the limit will be reached if they
// stay. It is made of the tables of package conn alone, and reads no clock, so that
// a trace file feeds it as well as a live trace does.
package pressure

import (
	"net/netip"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// What says what is limited.
type What uint8

// What is limited.
const (
	Ports      What = iota // local ports that connect() may use towards one destination
	LocalPorts             // local ports that bind() may use, whatever the destination
	Buckets                // TIME_WAIT sockets of a network namespace, parked ones included
)

var whatNames = [...]string{Ports: "ports", LocalPorts: "local_ports", Buckets: "buckets"}

func (w What) String() string { return whatNames[w] }

// Reuse says whether connect() takes over ports in TIME_WAIT.
type Reuse uint8

// Reuse of ports in TIME_WAIT.
const (
	ReuseUnknown Reuse = iota // the limits of the namespace are not known
	ReuseOff                  // tcp_tw_reuse or tcp_timestamps do not allow it here
	ReuseNone                 // allowed, but the peers use no timestamps
	ReuseSome                 // of those whose peer uses timestamps
	ReuseAll                  // of all but the youngest
)

var reuseNames = [...]string{ReuseOff: "off", ReuseNone: "none", ReuseSome: "some", ReuseAll: "all"}

func (r Reuse) String() string { return reuseNames[r] }

// Key names a gauge.
type Key struct {
	What   What
	NetNS  uint32
	Local  netip.Addr     // not of Buckets
	Remote netip.AddrPort // of Ports
}

// Gauge is one limited thing: what is in use of it, and how that goes on.
type Gauge struct {
	Key
	TimeWait    int
	Parked      int
	Established int
	SynSent     int
	Reusable    int   // of TimeWait: connect() would take over their ports now
	Reuse       Reuse // of Ports
	Limit       int   // how many there are; 0 if unknown
	Bound       int   // ports less than there would be, because somebody has bound them

	Opens   float64 // taken per second, by new connections or, of Buckets, by ends of them
	Frees   float64 // given back per second
	MaxRate float64 // the rate of opens at which the limit is just not reached; 0 if unknown
	Outlook         // Used is what counts against the limit: all but Reusable
	Refused uint64  // calls, or TIME_WAIT sockets, refused for want of room since the gauge before
	Fails   conn.Fails
	Memory  uint64 // of Buckets, bytes that the kernel holds for them, about
	Holders []conn.Holder

	Severity event.Severity
}

// Held is how many sockets there are, those in Reusable included.
func (g *Gauge) Held() int { return g.TimeWait + g.Parked + g.Established + g.SynSent }

// Share is how much of the limit is in use, 0 if that is not known.
func (g *Gauge) Share() float64 {
	if g.Limit <= 0 {
		return 0
	}
	return g.Used / float64(g.Limit)
}

// Kernel memory of one TIME_WAIT: the mini-socket of 256 bytes, and for the
// side that connected two bind buckets of 128 bytes each.
const (
	ServerTWBytes = 256
	ClientTWBytes = 512
)
