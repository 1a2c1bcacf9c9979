package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"strconv"
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/netns"
)

// settle is the pause after each run. The kernel takes a namespace and its
// TIME_WAIT sockets apart in the background, 50,000 of them in 0.1 s, and does
// not say when it is done.
const settle = 300 * time.Millisecond

// bench measures tools under one load.
type bench struct {
	load        string
	connections int
	rate        float64 // per second; 0 for full speed
	workers     int     // more than CPUs, so that none idles while a thread waits for its peer
}

// sample is one run of the workload under one tool.
type sample struct {
	Tool        string  `json:"tool"`
	Round       int     `json:"round"`
	Statistics  bool    `json:"bpf_statistics"` // whether they were on, which slows programs
	Connections uint64  `json:"connections"`    // or requests, or, of idle, milliseconds
	PerSecond   float64 `json:"connections_per_second"`

	StartNS    time.Duration   `json:"start_ns,omitempty"`       // from exec until the tool said that all was attached
	StartCPUNS time.Duration   `json:"start_cpu_ns,omitempty"`   // CPU time used until then
	CPUNS      time.Duration   `json:"cpu_ns"`                   // user and system, from then to the tool's end
	PeakRSS    uint64          `json:"peak_rss_bytes"`           // when the workload had ended
	Maps       uint64          `json:"maps_bytes"`               // kernel memory locked by its BPF maps
	LatencyP50 time.Duration   `json:"latency_p50_ns,omitempty"` // from the event to its line in the pipe
	LatencyP99 time.Duration   `json:"latency_p99_ns,omitempty"`
	Lines      uint64          `json:"output_lines"`
	Lost       *uint64         `json:"lost,omitempty"` // events, as the tool says; absent if it does not
	End        json.RawMessage `json:"end,omitempty"`  // twtrace's end record

	// With statistics only.
	Programs []program     `json:"programs,omitempty"`
	OthersNS time.Duration `json:"other_programs_ns,omitempty"` // time in BPF programs that are not the tool's
}

// program is what one BPF program of the tool did during the workload.
type program struct {
	Name   string        `json:"name"`
	Type   string        `json:"type"`
	Runs   uint64        `json:"runs"`
	TimeNS time.Duration `json:"time_ns"`
	Misses uint64        `json:"recursion_misses"`
}

// bpfPerConnection returns the ns spent in the tool's programs.
func (s sample) bpfPerConnection() float64 {
	var sum time.Duration
	for _, p := range s.Programs {
		sum += p.TimeNS
	}
	return float64(sum) / float64(s.Connections)
}

// try runs a tool with a hundredth of the workload, which warms up what it needs
// and reports whether it runs here.
func (b *bench) try(ctx context.Context, t tool) error {
	small := *b
	small.load, small.connections, small.rate = loadChurn, max(b.connections/100, 1), 0
	_, err := small.measure(ctx, t, false)
	return err
}

// measure runs the workload once, in a new namespace, with t started before and
// stopped after it.
func (b *bench) measure(ctx context.Context, t tool, statistics bool) (s sample, err error) {
	ns, err := newNetNS()
	if err != nil {
		return s, err
	}
	defer func() {
		err = errors.Join(err, ns.Close())
		time.Sleep(settle)
	}()
	s = sample{Tool: t.name, Statistics: statistics}
	if t.command == nil {
		return s, b.run(ctx, ns, &s)
	}

	p, err := start(ctx, t, ns)
	if err != nil {
		return s, err
	}
	if err := b.watch(ctx, p, t, ns, &s); err != nil {
		return s, errors.Join(err, p.stop())
	}
	if err := p.stop(); err != nil {
		return s, err
	}
	s.CPUNS = p.cmd.ProcessState.UserTime() + p.cmd.ProcessState.SystemTime() - s.StartCPUNS
	s.Lines = p.output.lines
	s.LatencyP50, s.LatencyP99 = p.output.latency()
	if t.lost != nil {
		s.Lost, err = t.lost(p.output.tail, p.stderr.Bytes())
	}
	if t.started && t.lost != nil && err == nil {
		s.End = p.output.last()
	}
	return s, err
}

// watch runs the workload under p, from its being ready on, and notes what is to
// be read while it runs.
func (b *bench) watch(ctx context.Context, p *process, t tool, ns *netns.NS, s *sample) error {
	if err := p.ready(ctx, t, ns); err != nil {
		return err
	}
	if t.started {
		s.StartNS = p.output.firstTime.Sub(p.began)
	}
	var err error
	if s.StartCPUNS, err = p.cpu(); err != nil {
		return err
	}
	load := func() error { return b.run(ctx, ns, s) }
	if s.Statistics {
		err = s.count(p, load)
	} else {
		err = load()
	}
	if err == nil {
		s.PeakRSS, err = p.peakRSS()
	}
	if err == nil {
		s.Maps, err = p.locked()
	}
	return err
}

// count runs load with BPF statistics on, and notes what the programs of p did
// meanwhile.
func (s *sample) count(p *process, load func() error) error {
	stats, err := kernel.EnableBPFStats()
	if err != nil {
		return err
	}
	defer stats.Close()
	before, err := kernel.BPFPrograms()
	if err != nil {
		return err
	}
	if err := load(); err != nil {
		return err
	}
	after, err := kernel.BPFPrograms()
	if err != nil {
		return err
	}
	own, err := p.programs()
	if err != nil {
		return err
	}
	s.Programs, s.OthersNS = growth(before, after, own)
	return nil
}

// growth returns what the own programs did between two readings, and the time
// that all others took.
func growth(before, after []kernel.BPFProgram, own map[uint32]bool) (programs []program, others time.Duration) {
	was := make(map[uint32]kernel.BPFProgram)
	for _, p := range before {
		was[p.ID] = p
	}
	for _, p := range after {
		ran := p.RunTime - was[p.ID].RunTime
		if !own[p.ID] {
			others += ran
			continue
		}
		programs = append(programs, program{
			Name: p.Name, Type: p.Type, Runs: p.Runs - was[p.ID].Runs,
			TimeNS: ran, Misses: p.Misses - was[p.ID].Misses,
		})
	}
	return programs, others
}

// newNetNS makes a namespace that holds the TIME_WAIT of a whole run.
func newNetNS() (*netns.NS, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	err = ns.Do(func() error {
		return os.WriteFile("/proc/sys/net/ipv4/tcp_max_tw_buckets", []byte(strconv.Itoa(1<<20)), 0)
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("raise tcp_max_tw_buckets: %w", err), ns.Close())
	}
	return ns, nil
}
