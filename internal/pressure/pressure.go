// Package pressure measures what is filling up: the local ports towards each
// destination, the local ports that programs bind before they connect, and the
// TIME_WAIT buckets of a network namespace. For each it reports how many are in use
// and in which state, the limit, the rates, and when the limit will be reached if the
// rates stay. It reads the tables of package conn alone, and no clock, so that it
// works for a trace file as for a live trace.
package pressure

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// What says what is limited.
type What uint8

// What is limited.
const (
	Ports      What = iota // local ports that connect() may use towards one destination
	LocalPorts             // local ports that bind() may use, whatever the destination
	Buckets                // TIME_WAIT buckets of a network namespace, those of parked sockets included
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
	ReuseSome                 // only those whose peer uses timestamps
	ReuseAll                  // all but the youngest
)

var reuseNames = [...]string{ReuseOff: "off", ReuseNone: "none", ReuseSome: "some", ReuseAll: "all"}

func (r Reuse) String() string { return reuseNames[r] }

// Key names a gauge.
type Key struct {
	What   What
	NetNS  uint32
	Local  netip.Addr     // of Ports and LocalPorts
	Remote netip.AddrPort // of Ports
}

// Gauge is one limited resource: how much of it is in use, and how that changes.
type Gauge struct {
	Key
	TimeWait    int
	Parked      int
	Established int // not those in CLOSE_WAIT
	CloseWait   int // at the last poll; of a recording in Established
	SynSent     int
	Reusable    int   // sockets of TimeWait whose ports connect() would take over now
	Reuse       Reuse // of Ports
	Limit       int   // how many there are; 0 if unknown, or if Limited
	Limited     bool  // Limit is known: 0 is none
	Unlimited   bool  // of Buckets: there is no limit
	Bound       int   // ports that connect() skips for every destination, since programs have bound them; not in Limit, unless these are all

	Opens   float64       // taken per second: by new connections or, for Buckets, by connections that end
	Demand  float64       // what is wanted per second: Opens, and what was refused
	Frees   float64       // freed per second
	MaxRate float64       // the rate of opens at which the limit is just not reached; 0 if unknown
	Outlook               // Used is what counts against the limit: all but Reusable
	Refused uint64        // calls that found no free port, or TIME_WAIT sockets that the kernel refused, since the reading before
	Outage  Outage        // the present one, or the one that ended within the last minute
	FreeIn  time.Duration // until the last socket of TimeWait is over, at the latest, if no more enter; 0 if not known
	Fails   conn.Fails
	Memory  uint64        // for Buckets, an estimate of the kernel's memory for them, in bytes
	Holders []conn.Holder // whose the sockets are, as far as that is known, the most first
	Failer  event.Proc    // who last found no free port; the zero Proc if nobody did

	Severity event.Severity
}

// Held is how many sockets there are, those in Reusable included.
func (g *Gauge) Held() int { return g.TimeWait + g.Parked + g.Open() + g.SynSent }

// Open is how many full sockets there are, those in CLOSE_WAIT included.
func (g *Gauge) Open() int { return g.Established + g.CloseWait }

// InUse is how many of Limit are in use: Held, and if programs have bound all ports, those.
func (g *Gauge) InUse() int {
	if g.What == Ports && g.Limit > 0 && g.Bound >= g.Limit {
		return g.Bound
	}
	return g.Held()
}

// InUseShare is which share of the limit is in use, 0 if the limit is not known.
func (g *Gauge) InUseShare() float64 { return g.share(float64(g.InUse())) }

// Share is which share of the limit is blocked, 0 if the limit is not known: in use, but
// for what is reusable.
func (g *Gauge) Share() float64 { return g.share(g.Used) }

func (g *Gauge) share(n float64) float64 {
	switch {
	case g.Limit > 0:
		return n / float64(g.Limit)
	case g.Limited: // there is none
		return 1
	}
	return 0
}

// Kernel memory of one socket in TIME_WAIT: the mini-socket of 256 bytes, and for
// the side that connected two bind buckets of 128 bytes each.
const (
	ServerTWBytes = 256
	ClientTWBytes = 512
)
