package advice

import (
	"time"

	"github.com/twtrace/twtrace/internal/pressure"
)

// Setup is how clients go to one service, for the arithmetic of what that bears.
type Setup struct {
	Ports    int           // local ports that connect() can choose from, for one source address and target
	Sources  int           // source addresses
	Targets  int           // addresses and ports of the service
	Requests float64       // for each connection; 1 is no keep-alive
	Life     time.Duration // of a connection
	Reuse    bool          // connect() takes over ports in TIME_WAIT
	Delay    time.Duration // then: once they are so old
	Buckets  uint64        // that TIME_WAIT may take
}

// all is how many connections there can be at a time, in whatever state.
func (s Setup) all() float64 { return float64(s.Ports) * float64(s.Sources) * float64(s.Targets) }

// hold is how long a connection keeps its port, its life included.
func (s Setup) hold() time.Duration {
	if s.Reuse {
		return s.Life + s.Delay
	}
	return s.Life + pressure.Hold
}

// PlanRow is what a setup bears.
type PlanRow struct {
	What        string
	Ports       float64       // of all sources and targets
	Hold        time.Duration // of a port by a connection
	Connections float64       // a second, for long
	Requests    float64       // a second, for long
	Bound       string        // what bounds them: "ports" or "buckets"

	// At a rate of requests, where one is asked for:
	Held   float64       // ports, when it has settled; more than there are if it cannot
	Full   bool          // it cannot
	FullIn time.Duration // from no connection at all
}

// Plan works out what the setup bears, and how it fares with so many requests a second.
func (s Setup) Plan(what string, rate float64) PlanRow {
	hold := s.hold().Seconds()
	r := PlanRow{What: what, Ports: s.all(), Hold: s.hold(), Bound: "ports"}
	r.Connections = r.Ports / hold
	// Ports that are taken over leave their TIME_WAIT, so there are never more than ports.
	if most := float64(s.Buckets) / pressure.Hold.Seconds(); most < r.Connections && (!s.Reuse || float64(s.Buckets) < r.Ports) {
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
		// Nothing comes back before the first connection has had its time.
		r.Full, r.FullIn = true, time.Duration(limit/opens*float64(time.Second))
	}
	return r
}

// WhatIf is one way in which a setup can be changed.
type WhatIf struct {
	What   string
	Change func(*Setup)
}

// PlanTable has a row for what there is, one for each change alone, and one for all of
// them together.
func PlanTable(s Setup, rate float64, changes []WhatIf) []PlanRow {
	rows := []PlanRow{s.Plan("as it is", rate)}
	all := s
	for _, c := range changes {
		alone := s
		c.Change(&alone)
		c.Change(&all)
		rows = append(rows, alone.Plan(c.What, rate))
	}
	if len(changes) > 1 {
		rows = append(rows, all.Plan("all of it", rate))
	}
	return rows
}
