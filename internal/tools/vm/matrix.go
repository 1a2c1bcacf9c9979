package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"time"
)

// hooksVariable names the hook set that a test binary uses.
const hooksVariable = "TWTRACE_TEST_HOOKS"

// oldSuite is the suite whose kernel twtrace refuses. Only oldTest is run there.
const (
	oldSuite = "bullseye"
	oldTest  = "TestOldKernel"
)

// anySet is the hook set where none is chosen.
const anySet = "-"

// matrixOptions say what to run on which kernels.
type matrixOptions struct {
	runOptions
	suites   []string
	sets     []string
	jobs     int
	markdown string // file to write the table to
}

func parseMatrix(args []string) (*matrixOptions, error) {
	o := &matrixOptions{suites: suites, sets: []string{"fentry", "timer"}}
	fs := flag.NewFlagSet("vm matrix", flag.ContinueOnError)
	o.flags(fs)
	fs.Func("kernels", "Debian `suites` whose kernels to use (default "+strings.Join(suites, ",")+")", func(s string) error {
		o.suites = strings.Split(s, ",")
		for _, suite := range o.suites {
			if !contains(suites, suite) {
				return fmt.Errorf("unknown suite %q", suite)
			}
		}
		return nil
	})
	fs.Func("hooks", "hook `sets` to use (default fentry,timer)", func(s string) error {
		o.sets = strings.Split(s, ",")
		return nil
	})
	fs.IntVar(&o.jobs, "jobs", runtime.NumCPU(), "guests at a time; each keeps one CPU of this machine busy")
	fs.StringVar(&o.markdown, "markdown", "", "write the table to a `file` as well")
	if err := parse(fs, args); err != nil {
		return nil, err
	}
	if o.jobs < 1 {
		return nil, usagef("--jobs must be above 0")
	}
	return o, o.check(fs)
}

// guest is one boot of the matrix: a kernel with a hook set.
type guest struct {
	suite    string
	set      string // anySet on the kernel that takes none
	release  string // 6.12; the suite if the kernel could not be had
	commands []command
	results  results
	console  string // file, there if the guest was not good
	err      error  // of the harness
}

// good reports whether everything ran and nothing failed.
func (g *guest) good() bool {
	return g.err == nil && len(g.results.runs) == len(g.commands) &&
		!slices.ContainsFunc(g.results.runs, func(r *testRun) bool { return !r.good() })
}

func matrixMain(ctx context.Context, args []string) error {
	o, err := parseMatrix(args)
	if err != nil {
		return err
	}
	guests := o.plan()
	o.boot(ctx, guests)
	t := newTable(guests)
	if err := t.text(os.Stdout); err != nil {
		return err
	}
	if o.markdown != "" {
		if err := writeTable(o.markdown, t.markdown); err != nil {
			return fmt.Errorf("write %s: %w", o.markdown, err)
		}
	}
	if slices.ContainsFunc(guests, func(g *guest) bool { return !g.good() }) {
		return exitError(1)
	}
	return nil
}

func writeTable(name string, write func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	return errors.Join(write(f), f.Close())
}

// plan returns the guests. What needs no hook set is run with the first one.
func (o *matrixOptions) plan() []*guest {
	var guests []*guest
	first := o.commands[0]
	for _, suite := range o.suites {
		if suite == oldSuite {
			args := append(slices.Clone(first.args), "-test.run=^"+oldTest+"$")
			guests = append(guests, &guest{suite: suite, set: anySet, release: suite, commands: []command{{args: args, env: first.env}}})
			continue
		}
		for i, set := range o.sets {
			env := append(slices.Clone(first.env), hooksVariable+"="+set)
			g := &guest{suite: suite, set: set, release: suite, commands: []command{{args: first.args, env: env}}}
			if i == 0 {
				g.commands = append(g.commands, o.commands[1:]...)
			}
			guests = append(guests, g)
		}
	}
	return guests
}

// boot boots the guests, a few at a time.
func (o *matrixOptions) boot(ctx context.Context, guests []*guest) {
	var wg sync.WaitGroup
	var report sync.Mutex
	slots := make(chan struct{}, o.jobs)
	for _, g := range guests {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			begin := time.Now()
			g.err = o.run(ctx, g)
			report.Lock()
			defer report.Unlock()
			g.report(time.Since(begin))
		})
	}
	wg.Wait()
}

// run boots a guest and runs its commands.
func (o *matrixOptions) run(ctx context.Context, g *guest) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	k, err := fetchKernel(ctx, cache, g.suite, false)
	if err != nil {
		return err
	}
	g.release = shortRelease(k.Release)
	console, err := os.CreateTemp(cache, "matrix-"+g.suite+"-"+g.set+"-*.log")
	if err != nil {
		return err
	}
	defer console.Close()
	g.console = console.Name()
	run := o.runOptions
	run.suite = g.suite
	run.console = io.MultiWriter(console, &g.results)
	run.commands = g.commands
	_, err = run.run(ctx) // a code that is not 0 is also in the results
	return err
}

// shortRelease is 6.12 for 6.12.107+deb13-amd64.
func shortRelease(release string) string {
	parts := strings.SplitN(release, ".", 3)
	return strings.Join(parts[:min(len(parts), 2)], ".")
}

// report says on stderr how the guest ended, and all it printed if that was not well.
func (g *guest) report(took time.Duration) {
	count := make(map[outcome]int)
	for _, r := range g.results.runs {
		for _, name := range r.order {
			count[r.outcomes[name]]++
		}
	}
	bad := count[failed]
	fmt.Fprintf(os.Stderr, "vm: %s (%s) %s: %d tests failed, %d did not, in %.0f s\n",
		g.suite, g.release, g.set, bad, total(count)-bad, took.Seconds())
	if g.err != nil {
		fmt.Fprintf(os.Stderr, "vm: %s: %v\n", g.suite, g.err)
	}
	f, err := os.Open(g.console)
	if err != nil {
		return // there was no boot
	}
	defer f.Close()
	if g.good() {
		_ = os.Remove(g.console)
		return
	}
	fmt.Fprintf(os.Stderr, "vm: its console, kept in %s:\n", g.console)
	_, _ = io.Copy(os.Stderr, f)
}

func total(count map[outcome]int) int {
	sum := 0
	for _, n := range count {
		sum += n
	}
	return sum
}
