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
	"github.com/twtrace/twtrace/internal/kerneltest/terminal"
	"github.com/twtrace/twtrace/internal/netns"
	"github.com/twtrace/twtrace/internal/workload"
)

// What the live view is measured with: 2,500 destinations, which are 5,000 rows with
// those that listen there, and 3,750 connections a second, each of four
// events: it opens and ends at both ends.
const (
	viewAddrs  = 50
	viewPorts  = 50
	viewRate   = 3750
	viewWindow = 10 * time.Second
	viewWidth  = 160
	viewHeight = 45
	viewPasses = 3
)

// viewKeys are pressed one after the other, while the load lasts, viewPasses times.
var viewKeys = []struct{ name, keys string }{
	{"s (sort)", "s"}, {"j (move)", "j"}, {"End", "\x1b[F"}, {"Home", "\x1b[H"}, {"Enter (detail)", "\r"}, {"Esc (back)", "\x1b"},
	{"g (group)", "g"}, {"1 (flows)", "1"}, {"/ (filter)", "/"}, {"a letter of it", "t"}, {"Enter (apply)", "\r"}, {"Esc (clear)", "\x1b"},
	{"D (doctor)", "D"}, {"D (back)", "D"}, {"space (pause)", " "}, {"T (back in time)", "T"}, {"space (go on)", " "},
}

// viewSample is one run of the view.
type viewSample struct {
	share     float64 // of a core
	perSecond float64 // connections, meanwhile
	rows      string  // that the screen says there are
}

// benchView compares a view at 1 s on a terminal with the same trace that shows
// nothing, and times keys. Each run has a load and a namespace of its own, so that
// none begins with what another left in TIME_WAIT.
func benchView(ctx context.Context, out io.Writer, twtrace string, rounds int) error {
	var beyond, shares, traces, rates []float64
	shown := make(map[string][]float64)
	for round := range rounds {
		trace, err := loadedView(ctx, twtrace, "1h", nil)
		if err != nil {
			return err
		}
		view, err := loadedView(ctx, twtrace, "1s", shown)
		if err != nil {
			return err
		}
		fmt.Fprintf(os.Stderr, "round %d of %d: trace %.1f %%, with the view %.1f %% of a core, %s\n",
			round+1, rounds, 100*trace.share, 100*view.share, view.rows)
		traces, shares = append(traces, 100*trace.share), append(shares, 100*view.share)
		beyond, rates = append(beyond, 100*(view.share-trace.share)), append(rates, trace.perSecond, view.perSecond)
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%d destinations, %.0f connections/s, %dx%d cells, an interval of 1 s; medians of %d rounds of %v\n\n",
		viewAddrs*viewPorts, middle(rates), viewWidth, viewHeight, rounds, viewWindow)
	fmt.Fprintf(&b, "of one core: trace %.1f %%, with the view %.1f %%, the view beyond it %.1f %%\n\n", middle(traces), middle(shares), middle(beyond))
	fmt.Fprintf(&b, "%-18s SHOWS AFTER, MEDIAN OF %d, AT MOST\n", "KEY", rounds*viewPasses)
	for _, k := range viewKeys {
		fmt.Fprintf(&b, "%-18s %.0f ms, %.0f ms\n", k.name, middle(shown[k.name]), slices.Max(shown[k.name]))
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// loadedView measures one view beside a load.
func loadedView(ctx context.Context, twtrace, interval string, shown map[string][]float64) (s viewSample, err error) {
	err = beside(ctx, viewRate, func(ns *netns.NS) error {
		s, err = measureView(ctx, twtrace, ns, interval, shown)
		return err
	})
	return s, err
}

// beside calls f while a load goes on in a network namespace made for it.
func beside(ctx context.Context, rate float64, f func(*netns.NS) error) (err error) {
	ns, err := newNetNS()
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	stop, err := viewLoad(ctx, ns, rate)
	if err != nil {
		return err
	}
	defer stop()
	return f(ns)
}

// connected is how many connections the namespace has opened so far.
func connected(ns *netns.NS) (n uint64, err error) {
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
func viewLoad(ctx context.Context, ns *netns.NS, rate float64) (stop func(), err error) {
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

// showView starts the view on a terminal of its own, in a directory, and waits until
// it shows what the load does. stop ends it if it still runs.
func showView(ctx context.Context, twtrace string, ns *netns.NS, interval, dir string) (cmd *exec.Cmd, tty *watched, stop func(), err error) {
	master, slave, err := terminal.OpenPTY(viewWidth, viewHeight)
	if err != nil {
		return nil, nil, nil, err
	}
	cmd = exec.CommandContext(ctx, twtrace, "top", "-N", ns.Path(), "-i", interval)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "TERM=xterm-256color", "LC_ALL=C.UTF-8")
	cmd.Stdin, cmd.Stdout, cmd.Stderr = slave, slave, os.Stderr
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true, Setctty: true}
	err = cmd.Start()
	slave.Close()
	if err != nil {
		master.Close()
		return nil, nil, nil, err
	}
	stop = func() {
		if cmd.ProcessState == nil {
			cmd.Process.Kill()
			cmd.Wait()
		}
		master.Close()
	}
	tty = watchTerminal(master)
	if err := tty.await(60*time.Second, "waiting for the first interval", "flows"); err != nil {
		stop()
		return nil, nil, nil, err
	}
	time.Sleep(3 * time.Second) // all destinations had a connection by then
	return cmd, tty, stop, nil
}

// measureView runs the view with an interval. It presses keys if it is to note how
// soon they show.
func measureView(ctx context.Context, twtrace string, ns *netns.NS, interval string, shown map[string][]float64) (s viewSample, err error) {
	cmd, tty, stop, err := showView(ctx, twtrace, ns, interval, "")
	if err != nil {
		return s, err
	}
	defer stop()
	if err := s.window(&process{cmd: cmd}, ns); err != nil {
		return s, err
	}
	if shown != nil {
		s.rows, err = tty.rows()
		for pass := 0; pass < viewPasses && err == nil; pass++ {
			err = tty.press(shown)
		}
		if err != nil {
			return s, err
		}
	}
	if _, err := tty.master.WriteString("q"); err != nil {
		return s, err
	}
	return s, cmd.Wait()
}

// window measures for a while.
func (s *viewSample) window(p *process, ns *netns.NS) error {
	opened, err := connected(ns)
	if err != nil {
		return err
	}
	cpu, err := p.cpu()
	if err != nil {
		return err
	}
	begun := time.Now()
	time.Sleep(viewWindow)
	over := time.Since(begun)
	cpuAfter, err := p.cpu()
	if err != nil {
		return err
	}
	openedAfter, err := connected(ns)
	if err != nil {
		return err
	}
	s.share = float64(cpuAfter-cpu) / float64(over)
	s.perSecond = float64(openedAfter-opened) / over.Seconds()
	return nil
}
