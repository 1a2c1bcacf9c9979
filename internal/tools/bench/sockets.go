package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"text/tabwriter"
	"time"

	"github.com/twtrace/twtrace/internal/netns"
	"github.com/twtrace/twtrace/internal/workload"
)

// How cost goes with the number of sockets: with so many in TIME_WAIT, so many
// connections are made at a moderate rate, and what each costs is taken. Beside the
// largest number, pairs of sockets are open, too.
var socketSteps = []struct{ waiting, pairs int }{{1000, 0}, {16384, 0}, {65536, 0}, {262144, 50000}}

const (
	stepConnections = 10000
	stepRate        = 2000
)

// stepped is what was found with so many sockets.
type stepped struct {
	bpf, cpu  float64 // ns per connection
	rss, maps uint64
	lost      uint64
}

func benchSockets(ctx context.Context, out io.Writer, twtrace string) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TIME_WAIT\tOPEN\tBPF NS/CONN\tCPU US/CONN\tRSS MIB\tMAPS MIB\tLOST")
	for _, at := range append(socketSteps[:1:1], socketSteps...) { // the first once more: nothing is warm then
		s, err := benchStep(ctx, twtrace, at.waiting, at.pairs)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "%d in TIME_WAIT: BPF %.0f ns a connection\n", at.waiting, s.bpf)
		fmt.Fprintf(w, "%d\t%d\t%.0f\t%.1f\t%.1f\t%.1f\t%d\n", at.waiting, 2*at.pairs, s.bpf, s.cpu/1000,
			float64(s.rss)/(1<<20), float64(s.maps)/(1<<20), s.lost)
	}
	return w.Flush()
}

// benchStep holds sockets, and measures a view that has them in its table.
func benchStep(ctx context.Context, twtrace string, waiting, pairs int) (r stepped, err error) {
	ns, err := newNetNS()
	if err != nil {
		return r, err
	}
	defer func() {
		err = errors.Join(err, ns.Close())
		time.Sleep(settle)
	}()
	p, err := start(ctx, tool{command: []string{twtrace, "trace", "-N", ns.Path(), "-o", "json"}}, ns)
	if err != nil {
		return r, err
	}
	if err := p.ready(ctx, tool{started: true}, ns); err != nil {
		return r, errors.Join(err, p.stop())
	}
	stop, err := holdOpen(ctx, ns, pairs)
	if err != nil {
		return r, errors.Join(err, p.stop())
	}
	defer stop()
	s, err := measureStep(ctx, ns, p, waiting)
	if err == nil {
		r.bpf = s.bpfPerConnection()
		r.cpu = float64(s.CPUNS) / float64(s.Connections)
		r.rss, r.maps = s.PeakRSS, s.Maps
	}
	if err := errors.Join(err, p.stop()); err != nil {
		return r, err
	}
	lost, err := lostInEnd(p.output.tail, nil)
	if err == nil {
		r.lost = *lost
	}
	return r, err
}

// measureStep fills the table, and then takes what a connection costs.
func measureStep(ctx context.Context, ns *netns.NS, p *process, waiting int) (s sample, err error) {
	fill := bench{load: loadChurn, connections: waiting, workers: 8}
	if err := fill.run(ctx, ns, &sample{}); err != nil {
		return s, err
	}
	before, err := p.cpu()
	if err != nil {
		return s, err
	}
	b := bench{load: loadChurn, connections: stepConnections, workers: 8, rate: stepRate}
	if err := s.count(p, func() error { return b.run(ctx, ns, &s) }); err != nil {
		return s, err
	}
	after, err := p.cpu()
	if err != nil {
		return s, err
	}
	s.CPUNS = after - before
	if s.PeakRSS, err = p.peakRSS(); err == nil {
		s.Maps, err = p.locked()
	}
	return s, err
}

// holdOpen has pairs of sockets connected until stop is called.
func holdOpen(ctx context.Context, ns *netns.NS, pairs int) (stop func(), err error) {
	var running []*workload.Process
	stop = func() {
		for _, p := range running {
			p.Kill()
			p.Wait()
		}
	}
	if pairs == 0 {
		return stop, nil
	}
	at := workload.Destinations(10, 2)
	for i := range at { // the churn listens on the same addresses
		at[i] = netip.AddrPortFrom(at[i].Addr(), at[i].Port()+100)
	}
	for _, spec := range []workload.Spec{
		{Comm: "holder", CountOnly: true, Serve: &workload.Serve{At: at, End: workload.Hold}},
		{Comm: "holder", CountOnly: true, Connect: &workload.Connect{To: at, End: workload.Hold, Count: pairs}},
	} {
		p, err := workload.Start(ctx, ns.Path(), spec)
		if err == nil {
			running = append(running, p)
			_, err = p.Ready()
		}
		if err == nil && spec.Connect != nil {
			if err = p.Go(); err == nil {
				err = p.Held()
			}
		}
		if err != nil {
			stop()
			return nil, err
		}
	}
	return stop, nil
}
