package main

import (
	"errors"
	"net/netip"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
)

// fullShare is which share of the ports must be in use for the rate of new connections to
// be what fits, and not what is wanted.
const fullShare = 0.95

// demandWindow is how long the demand is traced.
const demandWindow = 3 * time.Second

// tracedDemand is how many connections per second the clients of one address want: those
// opened and those refused. ok is false where nothing can be traced.
func tracedDemand(c *cli.Context, ns kernel.NetNS, from netip.Addr, to netip.AddrPort) (rate float64, ok bool) {
	if c.Bool("no-bpf") {
		return 0, false
	}
	t, err := openDoctorTrace(c, []kernel.NetNS{ns})
	if err != nil {
		return 0, false
	}
	s := t.Session
	defer s.Close()
	due := s.Now().Add(demandWindow)
	err = s.Run(c.Context, ignore, func() error {
		if s.Now().Before(due) {
			return c.Context.Err()
		}
		return errDue
	})
	if !errors.Is(err, errDue) {
		return 0, false
	}
	var snapshot conn.Snapshot
	s.Table().SnapshotLimited(s.Now().UnixNano(), &snapshot)
	r := pressure.NewMeter(s.ConnLimits).Measure(&snapshot)
	for i := range r.Gauges {
		if g := &r.Gauges[i]; g.What == pressure.Ports && g.NetNS == ns.Inum && g.Local == from && g.Remote == to {
			return g.Demand, true
		}
	}
	return 0, true
}
