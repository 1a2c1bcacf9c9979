// Package plan computes how many connections per second a client can sustain to
// a destination: arithmetic over ports, source addresses, targets and the time
// that a connection holds its port.
package plan

import (
	"time"

	"github.com/twtrace/twtrace/internal/pressure"
)

// Setup is how clients connect to one service.
type Setup struct {
	Ports    int           // local ports that connect() can choose from, for one source address and target
	Sources  int           // source addresses
	Targets  int           // addresses and ports of the service
	Requests float64       // per connection; 1 means no keep-alive
	Life     time.Duration // of a connection
	Reuse    bool          // connect() reuses ports in TIME_WAIT
	Delay    time.Duration // with Reuse: once they are this old
	Buckets  int64         // limit of sockets in TIME_WAIT; negative: none
}

// all is how many connections can exist at the same time, in any state.
func (s Setup) all() float64 { return float64(s.Ports) * float64(s.Sources) * float64(s.Targets) }

// hold is how long a connection keeps its port, its life included.
func (s Setup) hold() time.Duration {
	if s.Reuse {
		return s.Life + s.Delay
	}
	return s.Life + pressure.Hold
}

// Row is what a setup sustains.
type Row struct {
	What        string
	Ports       float64       // of all sources and targets
	Hold        time.Duration // of a port by a connection
	Connections float64       // per second, sustained
	Requests    float64       // per second, sustained
	Bound       string        // what limits them: "ports" or "buckets"

	// At the requested rate, if there is one:
	Held   float64       // ports, once it settles; more than exist if it cannot
	Full   bool          // the ports or buckets run out
	FullIn time.Duration // starting from no connection
}

// Row computes what the setup sustains, and how it copes with rate requests per second.
func (s Setup) Row(what string, rate float64) Row {
	hold := s.hold().Seconds()
	r := Row{What: what, Ports: s.all(), Hold: s.hold(), Bound: "ports"}
	r.Connections = r.Ports / hold
	// A reused port leaves TIME_WAIT, so there are never more in TIME_WAIT than ports.
	if most := float64(s.Buckets) / pressure.Hold.Seconds(); s.Buckets >= 0 && most < r.Connections && (!s.Reuse || float64(s.Buckets) < r.Ports) {
		r.Connections, r.Bound = most, "buckets"
	}
	r.Requests = r.Connections * s.Requests
	opens := rate / s.Requests
	r.Held = opens * hold
	if opens > r.Connections {
		limit := r.Ports
		if r.Bound == "buckets" {
			limit = float64(s.Buckets)
		}
		// No port is free again before the first connection has held its own for that long.
		r.Full, r.FullIn = true, time.Duration(limit/opens*float64(time.Second))
	}
	return r
}

// Change is one change to a setup.
type Change struct {
	What  string
	Apply func(*Setup)
}

// Table has a row for the current setup, one for each change alone, and one for all
// changes together.
func Table(s Setup, rate float64, changes []Change) []Row {
	rows := []Row{s.Row("current setup", rate)}
	all := s
	for _, c := range changes {
		alone := s
		c.Apply(&alone)
		c.Apply(&all)
		rows = append(rows, alone.Row(c.What, rate))
	}
	if len(changes) > 1 {
		rows = append(rows, all.Row("all changes", rate))
	}
	return rows
}
