// Command bench compares what tracers cost: twtrace and, where they are
// installed, the tcplife and tcpstates of libbpf-tools, bpftrace and polling ss,
// beside no tracer at all and beside programs that do nothing.
//
// Each round runs the same load in a new network namespace, under one tool after
// the other, so that the drift of a busy machine hits all alike. What counts is
// the medians of the ratios within a round. Throughput, CPU time and memory are
// measured with BPF statistics off, in rounds of their own; the time in BPF
// programs is measured with them on.
//
// It needs root, and Go to build twtrace.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/workload"
)

// flags are what the command line sets.
type flags struct {
	rounds int
	bench
	only    string
	twtrace string
	before  string
	json    string
	view    bool
	record  bool
	sockets bool
	readme  bool
}

func main() {
	workload.Main()
	if len(os.Args) == 2 && bystanders[os.Args[1]] != nil {
		if err := bystanders[os.Args[1]](); err != nil {
			fmt.Fprintf(os.Stderr, "bench: %s\n", oneLine(err))
			os.Exit(1)
		}
		return
	}
	f, err := parseFlags(os.Args[1:])
	if errors.Is(err, flag.ErrHelp) {
		return
	}
	if err != nil {
		os.Exit(2) // flag has said why
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, unix.SIGTERM)
	defer stop()
	err = run(ctx, f)
	if ctx.Err() != nil {
		err = errors.New("interrupted") // what failed then, failed for that
	}
	if err != nil {
		fmt.Fprintf(os.Stderr, "bench: %s\n", oneLine(err))
		os.Exit(1)
	}
}

// oneLine words errors that were joined.
func oneLine(err error) string { return strings.ReplaceAll(strings.TrimSpace(err.Error()), "\n", "; ") }

func parseFlags(args []string) (flags, error) {
	var f flags
	set := flag.NewFlagSet("bench", flag.ContinueOnError)
	set.IntVar(&f.rounds, "rounds", 5, "throughput `rounds`; half as many more measure the time in BPF programs")
	set.IntVar(&f.connections, "connections", 0, "`connections` per tool and round; the default is 50,000, or those of 5 s with -rate")
	set.StringVar(&f.load, "load", loadChurn, "`what` to run: churn, wrk (keep-alive requests to nginx), calls (system calls) or idle")
	set.Float64Var(&f.rate, "rate", 0, "`connections` per second of the churn; 0 for full speed")
	set.IntVar(&f.workers, "workers", 8, "`threads` that connect")
	set.StringVar(&f.only, "only", "", "`tools` to measure beside no tracer and twtrace trace, with commas; the default is all")
	set.BoolVar(&f.sockets, "sockets", false, "measure how cost and memory go with the number of sockets held, instead")
	set.StringVar(&f.twtrace, "twtrace", "", "the twtrace `program` to measure; the default is to build it")
	set.StringVar(&f.before, "before", "", "another twtrace `program` to compare with, in the same rounds")
	set.StringVar(&f.json, "json", "", "write all that was measured to `file`")
	set.BoolVar(&f.view, "view", false, "measure what the live view costs beyond the trace, and how soon keys show, instead")
	set.BoolVar(&f.record, "record", false, "measure what recording costs a live view, instead")
	set.BoolVar(&f.readme, "readme", false, "print the table of README.md as well")
	quick := set.Bool("quick", false, "2 rounds of 10,000 connections: does it work, not how fast is it")
	if err := set.Parse(args); err != nil {
		return f, err
	}
	if *quick {
		f.rounds, f.connections = 2, 10000
	}
	if f.connections == 0 {
		f.connections = 50000
		if f.rate > 0 {
			f.connections = int(5 * f.rate)
		}
	}
	if f.rounds < 1 || f.connections < 1 || f.workers < 1 || f.rate < 0 || loads[f.load] == nil || set.NArg() > 0 {
		err := errors.New("-rounds, -connections and -workers must be above 0, -load churn, wrk, calls or idle, and there are no arguments")
		fmt.Fprintf(set.Output(), "bench: %v\n", err)
		return f, err
	}
	return f, nil
}

func run(ctx context.Context, f flags) error {
	if os.Geteuid() != 0 {
		return errors.New("needs root")
	}
	dir, err := os.MkdirTemp("", "twtrace-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	if f.twtrace == "" {
		f.twtrace = filepath.Join(dir, "twtrace")
		if err := build(ctx, f.twtrace); err != nil {
			return err
		}
	}
	if f.view {
		return benchView(ctx, os.Stdout, f.twtrace, f.rounds)
	}
	if f.record {
		return benchRecord(ctx, os.Stdout, f.twtrace, f.rounds)
	}
	if f.sockets {
		return benchSockets(ctx, os.Stdout, f.twtrace)
	}
	host, err := kernel.ThisHost()
	if err != nil {
		return err
	}
	r := result{
		Kernel: host.Release, Machine: host.Machine, CPUs: host.CPUs,
		Load: f.load, Rate: f.rate, Connections: f.connections, Workers: f.workers,
	}
	b := f.bench
	all, err := tools(f.twtrace, f.before, dir, f.only)
	if err != nil {
		return err
	}
	var present []tool
	if present, r.Absent, err = b.choose(ctx, all); err != nil {
		return err
	}
	if r.Samples, err = b.rounds(ctx, present, f.rounds); err != nil {
		return err
	}
	r.Tools = summarize(present, r.Samples)
	if err := r.print(os.Stdout); err != nil {
		return err
	}
	if f.readme {
		fmt.Print(r.markdown())
	}
	if f.json == "" {
		return nil
	}
	return writeJSON(f.json, r)
}

// build builds twtrace of this module, so that what is measured is this source.
func build(ctx context.Context, path string) error {
	cmd := exec.CommandContext(ctx, "go", "build", "-o", path, "github.com/twtrace/twtrace/cmd/twtrace")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("build twtrace: %w: %s", err, strings.TrimSpace(string(out)))
	}
	return nil
}

// choose starts each tool once, and leaves out those that do not run here, with
// the reason. twtrace must run.
func (b *bench) choose(ctx context.Context, all []tool) (present []tool, absent map[string]string, err error) {
	absent = make(map[string]string)
	for _, t := range all {
		if err := b.try(ctx, t); err != nil {
			if ctx.Err() != nil || t.name == noTracer || t.name == reference {
				return nil, nil, fmt.Errorf("%s: %w", t.name, err)
			}
			absent[t.name] = oneLine(err)
			continue
		}
		present = append(present, t)
	}
	return present, absent, nil
}

// rounds measures each tool in turn, n times, and then again, (n+1)/2 times,
// with BPF statistics.
func (b *bench) rounds(ctx context.Context, tools []tool, n int) ([]sample, error) {
	var all []sample
	for round := range n + (n+1)/2 {
		for _, t := range tools {
			statistics := round >= n
			if statistics && t.command == nil {
				continue
			}
			s, err := b.measure(ctx, t, statistics)
			if err != nil {
				return nil, fmt.Errorf("round %d, %s: %w", round+1, t.name, err)
			}
			s.Round = round + 1
			all = append(all, s)
			fmt.Fprintf(os.Stderr, "round %d of %d: %-21s %7.0f/s\n",
				round+1, n+(n+1)/2, t.name, s.PerSecond)
		}
	}
	return all, nil
}

func writeJSON(path string, r result) error {
	text, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return fmt.Errorf("encode the result: %w", err)
	}
	if err := os.WriteFile(path, append(text, '\n'), 0o644); err != nil {
		return fmt.Errorf("write the result: %w", err)
	}
	return nil
}
