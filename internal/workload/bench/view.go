package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/workload"
)

// What the live view is measured with: 2,500 destinations, which are 5,000 rows with
// those that listen there, and 3,750 connections a second, of which each makes four
// events: it opens and ends at both ends.
const (
	viewAddrs  = 50
	viewPorts  = 50
	viewRate   = 3750
	viewWindow = 10 * time.Second
	viewWidth  = 160
	viewHeight = 45
)

// viewKeys are pressed one after the other, while the load lasts.
var viewKeys = []struct{ name, keys string }{
	{"s (sort)", "s"}, {"j (move)", "j"}, {"End", "\x1b[F"}, {"Home", "\x1b[H"}, {"Enter (detail)", "\r"}, {"Esc (back)", "\x1b"},
	{"g (group)", "g"}, {"1 (flows)", "1"}, {"/ (filter)", "/"}, {"a letter of it", "t"}, {"Enter (apply)", "\r"}, {"Esc (clear)", "\x1b"},
	{"D (doctor)", "D"}, {"D (back)", "D"}, {"space (pause)", " "}, {"T (back in time)", "T"}, {"space (go on)", " "},
}

// benchView compares a view at 1 s on a terminal with the same trace that shows
// nothing, and times keys.
func benchView(ctx context.Context, out io.Writer, twtrace string, rounds int) (err error) {
	ns, err := newNetNS()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	stop, err := viewLoad(ctx, ns, viewRate)
	if err != nil {
		return err
	}
	defer stop()
	var beyond, shares, traces []float64
	slowest := make(map[string]time.Duration)
	before, begun := uint64(0), time.Now()
	if before, err = connected(ns); err != nil {
		return err
	}
	for round := range rounds {
		trace, _, err := measureView(ctx, twtrace, ns, "1h", nil)
		if err != nil {
			return err
		}
		view, rows, err := measureView(ctx, twtrace, ns, "1s", slowest)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "round %d of %d: trace %.1f %%, with the view %.1f %% of a core, %s\n", round+1, rounds, 100*trace, 100*view, rows)
		traces, shares, beyond = append(traces, 100*trace), append(shares, 100*view), append(beyond, 100*(view-trace))
	}
	after, err := connected(ns)
	if err != nil {
		return err
	}
	reached := float64(after-before) / time.Since(begun).Seconds()
	var b strings.Builder
	fmt.Fprintf(&b, "%d destinations, %.0f connections/s, %dx%d cells, an interval of 1 s; medians of %d rounds of %v\n\n",
		viewAddrs*viewPorts, reached, viewWidth, viewHeight, rounds, viewWindow)
	fmt.Fprintf(&b, "of one core: trace %.1f %%, with the view %.1f %%, the view beyond it %.1f %%\n\n", middle(traces), middle(shares), middle(beyond))
	fmt.Fprintf(&b, "%-18s SHOWS AFTER, AT MOST\n", "KEY")
	for _, k := range viewKeys {
		fmt.Fprintf(&b, "%-18s %.0f ms\n", k.name, float64(slowest[k.name])/float64(time.Millisecond))
	}
	_, err = io.WriteString(out, b.String())
	return err
}

// connected is how many connections the namespace has opened so far.
func connected(ns *workload.NetNS) (n uint64, err error) {
	err = ns.Do(func() error {
		here, err := kernel.CurrentNetNS()
		if err != nil {
			return err
		}
		c, err := here.Counters()
		n = c.ActiveOpens
		return err
	})
	return n, err
}

func middle(v []float64) float64 {
	v = slices.Sorted(slices.Values(v))
	return (v[(len(v)-1)/2] + v[len(v)/2]) / 2
}

// viewLoad connects, rate times a second, until stop is called.
func viewLoad(ctx context.Context, ns *workload.NetNS, rate float64) (stop func(), err error) {
	at := workload.Destinations(viewAddrs, viewPorts)
	var running []*workload.Process
	stop = func() {
		for _, p := range running {
			p.Kill()
			p.Wait()
		}
	}
	for _, spec := range []workload.Spec{
		{Comm: "server", CountOnly: true, Workers: 2, Serve: &workload.Serve{At: at, End: workload.WaitEOF}},
		{Comm: "client", CountOnly: true, Workers: 2, Connect: &workload.Connect{To: at, End: workload.HalfClose, Rate: rate}},
	} {
		p, err := workload.Start(ctx, ns.Path(), spec)
		if err == nil {
			running = append(running, p)
			_, err = p.Ready()
		}
		if err == nil && spec.Connect != nil {
			err = p.Go()
		}
		if err != nil {
			stop()
			return nil, err
		}
	}
	return stop, nil
}

// measureView runs the view with an interval, and returns how much of a core it uses
// and how many rows it says it has. It presses keys if it is to note how soon they show.
func measureView(ctx context.Context, twtrace string, ns *workload.NetNS, interval string, slowest map[string]time.Duration) (share float64, rows string, err error) {
	master, slave, err := workload.OpenPTY(viewWidth, viewHeight)
	if err != nil {
		return 0, "", err
	}
	defer master.Close()
	cmd := exec.CommandContext(ctx, twtrace, "top", "-N", ns.Path(), "-i", interval)
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	slave.Close()
	if err != nil {
		return 0, "", err
	}
	p := &process{cmd: cmd}
	tty := watchTerminal(master)
	defer func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
	}()
	if err := tty.await(60*time.Second, "waiting for the first interval", "flows"); err != nil {
		return 0, "", err
	}
	time.Sleep(3 * time.Second) // all destinations had a connection by then
	before, begun := time.Duration(0), time.Now()
	if before, err = p.cpu(); err != nil {
		return 0, "", err
	}
	time.Sleep(viewWindow)
	after, err := p.cpu()
	if err != nil {
		return 0, "", err
	}
	share = float64(after-before) / float64(time.Since(begun))
	if slowest != nil {
		if rows, err = tty.rows(); err == nil {
			err = tty.press(slowest)
		}
		if err != nil {
			return 0, "", err
		}
	}
	if _, err := master.WriteString("q"); err != nil {
		return 0, "", err
	}
	return share, rows, cmd.Wait()
}
