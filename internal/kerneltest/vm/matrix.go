package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// hooksVariable tells a test binary which hook set to use.
const hooksVariable = "TWTRACE_TEST_HOOKS"

// oldSuite is the suite whose kernel twtrace refuses. Only oldTest is run there.
const (
	oldSuite = "bullseye"
	oldTest  = "TestOldKernel"
)

// anySet stands for the hook set where none is chosen.
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
	fs.IntVar(&o.jobs, "jobs", 1, "guests at a time")
	fs.StringVar(&o.markdown, "markdown", "", "write the table to a `file` as well")
	if err := parse(fs, args); err != nil {
		return nil, err
	}
	if o.jobs < 1 {
		return nil, usagef("--jobs must be above 0")
	}
	return o, o.check(fs)
}

// guest is one boot of the matrix.
type guest struct {
	suite   string
	release string // 6.12; the suite if the kernel could not be had
	sets    []string
	results results
	console string // file
	err     error  // of the harness
}

// good reports whether everything ran and nothing failed.
func (g *guest) good() bool {
	return g.err == nil && len(g.results.runs) >= len(g.sets) &&
		!slices.ContainsFunc(g.results.runs, func(r *testRun) bool { return !r.good() })
}

func matrixMain(ctx context.Context, args []string) error {
	o, err := parseMatrix(args)
	if err != nil {
		return err
	}
	guests := o.guests(ctx)
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

// guests boots them all, a few at a time.
func (o *matrixOptions) guests(ctx context.Context) []*guest {
	var out []*guest
	var wg sync.WaitGroup
	slots := make(chan struct{}, o.jobs)
	for _, suite := range o.suites {
		g := &guest{suite: suite, release: suite}
		out = append(out, g)
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			begin := time.Now()
			if g.err = o.boot(ctx, g); errors.Is(g.err, errInt3) {
				fmt.Fprintf(os.Stderr, "vm: %s: %v; it is booted once more\n", g.suite, g.err)
				g.results = results{}
				g.err = o.boot(ctx, g)
			}
			g.report(time.Since(begin))
		})
	}
	wg.Wait()
	return out
}

// boot runs the commands with each hook set, those but the first only once.
func (o *matrixOptions) boot(ctx context.Context, g *guest) error {
	cache, err := cacheDir()
	if err != nil {
		return err
	}
	k, err := fetchKernel(ctx, cache, g.suite, false)
	if err != nil {
		return err
	}
	g.release = shortRelease(k.Release)
	g.console = filepath.Join(cache, "matrix-"+g.suite+".log")
	console, err := os.Create(g.console)
	if err != nil {
		return err
	}
	defer console.Close()
	run := o.runOptions
	run.suite = g.suite
	run.console = io.MultiWriter(console, &g.results)
	run.commands, g.sets = o.plan(g.suite)
	_, err = run.run(ctx) // a code that is not 0 is also in the results
	return err
}

// plan returns the commands for a kernel and the hook set of each.
func (o *matrixOptions) plan(suite string) (commands []command, sets []string) {
	first := o.commands[0]
	if suite == oldSuite {
		args := append(slices.Clone(first.args), "-test.run=^"+oldTest+"$")
		return []command{{args: args, env: first.env}}, []string{anySet}
	}
	for _, set := range o.sets {
		env := append(slices.Clone(first.env), hooksVariable+"="+set)
		commands = append(commands, command{args: first.args, env: env})
		sets = append(sets, set)
	}
	for _, c := range o.commands[1:] {
		commands = append(commands, c)
		sets = append(sets, anySet)
	}
	return commands, sets
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
	fmt.Fprintf(os.Stderr, "vm: %s (%s): %d tests failed, %d did not, in %.0f s; console in %s\n",
		g.suite, g.release, bad, total(count)-bad, took.Seconds(), g.console)
	if g.err != nil {
		fmt.Fprintf(os.Stderr, "vm: %s: %v\n", g.suite, g.err)
	}
	if g.good() {
		return
	}
	if f, err := os.Open(g.console); err == nil {
		_, _ = io.Copy(os.Stderr, f)
		f.Close()
	}
}

func total(count map[outcome]int) int {
	sum := 0
	for _, n := range count {
		sum += n
	}
	return sum
}
