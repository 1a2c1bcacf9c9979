package main

import (
	"context"
	"net/netip"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/workload"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "a storm of its own in a private network namespace, shown live",
		Description: "Makes a network namespace with 2,000 ports, a server, a client that opens a connection for\n" +
			"every request, and a well-behaved neighbour. The client runs out of ports after about 15 s.\n" +
			"Nothing else on this host is touched, and nothing stays behind.",
		Flags: slices.Concat(filterFlags(), tracerFlags(), viewFlags(), []cli.Flag{
			&cli.DurationFlag{Name: "duration", Value: 30 * time.Second, Usage: "stop after `TIME`", Category: categoryTrace},
		}),
		Action: runDemo,
	}
}

// The namespace of the demo: 2,000 ports to a destination, no early reuse, and a
// client that uses them up in 15 s.
const (
	demoPorts = "40000 41999"
	demoRate  = 133
)

var (
	demoDB    = netip.MustParseAddrPort("127.0.0.7:3306")
	demoCache = netip.MustParseAddrPort("127.0.0.8:6379")
)

func runDemo(c *cli.Context) error {
	defer catchSignals(c)()
	if _, err := wantsObjects(c); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(c.Context)
	defer cancel()
	ns, err := workload.NewNetNS()
	if err != nil {
		return err
	}
	defer ns.Close()
	if err := ns.Sysctl("net.ipv4.ip_local_port_range", demoPorts); err != nil {
		return err
	}
	if err := ns.Sysctl("net.ipv4.tcp_tw_reuse", "0"); err != nil {
		return err
	}
	if err := c.Set("netns", ns.Path()); err != nil {
		return err
	}
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	stop, err := startDemo(ctx, ns.Path())
	if err != nil {
		return err
	}
	defer stop()
	s.limits.refresh() // now that processes live in the namespace
	return watch(c, s, newLive(s, c.Duration("interval")))
}

// demoProcesses are servers first, then their clients.
func demoProcesses() []workload.Spec {
	return []workload.Spec{
		{Comm: "database", CountOnly: true, Workers: 2, Serve: &workload.Serve{
			At: []netip.AddrPort{demoDB}, End: workload.WaitEOF}},
		{Comm: "cache", CountOnly: true, Serve: &workload.Serve{
			At: []netip.AddrPort{demoCache}, End: workload.WaitEOF}},
		{Comm: "checkout", CountOnly: true, Connect: &workload.Connect{
			To: []netip.AddrPort{demoDB}, End: workload.HalfClose, Rate: demoRate}},
		{Comm: "cron-job", CountOnly: true, Connect: &workload.Connect{
			To: []netip.AddrPort{demoCache}, End: workload.HalfClose, Rate: 5}},
	}
}

// startDemo starts the processes and returns what ends them.
func startDemo(ctx context.Context, netns string) (stop func(), err error) {
	var running []*workload.Process
	stop = func() {
		for _, p := range running {
			p.Kill()
			p.Wait()
		}
	}
	for _, spec := range demoProcesses() {
		p, err := workload.Start(ctx, netns, spec)
		if err != nil {
			stop()
			return nil, err
		}
		running = append(running, p)
		if _, err := p.Ready(); err != nil {
			stop()
			return nil, err
		}
		if spec.Connect != nil {
			if err := p.Go(); err != nil {
				stop()
				return nil, err
			}
		}
	}
	return stop, nil
}
