package main

import (
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// print writes the tables for people.
func (r result) print(out io.Writer) error {
	var b strings.Builder
	fmt.Fprintf(&b, "Linux %s %s, %d CPUs, %s; medians (min..max)\n\n", r.Kernel, r.Machine, r.CPUs, r.what())
	r.printTools(&b)
	r.printPrograms(&b)
	for _, name := range slices.Sorted(maps.Keys(r.Absent)) {
		fmt.Fprintf(&b, "not measured: %s: %s\n", name, r.Absent[name])
	}
	if d := r.others(); d != nil && d.Max >= 1 {
		fmt.Fprintf(&b, "others' BPF programs ran meanwhile, for %.0f ns a connection (%.0f..%.0f): "+
			"these numbers are disturbed\n", d.Median, d.Min, d.Max)
	}
	_, err := io.WriteString(out, b.String())
	return err
}

// what is the load, in words.
func (r result) what() string {
	switch {
	case r.Load == loadWrk:
		return fmt.Sprintf("requests of wrk to nginx on %d connections for %v: CONN are requests", keptAlive, window)
	case r.Load == loadCalls:
		return fmt.Sprintf("a process on each CPU that makes system calls for %v: CONN are thousands of them", window)
	case r.Load == loadIdle:
		return fmt.Sprintf("idle for %v: CONN are milliseconds", window)
	case r.Rate > 0:
		return fmt.Sprintf("%d connections a run at %.0f/s, %d workers", r.Connections, r.Rate, r.Workers)
	}
	return fmt.Sprintf("%d connections a run at full speed, %d workers", r.Connections, r.Workers)
}

// columns of the table of tools.
var columns = []struct {
	heading string
	of      func(summary) *spread
	format  string // of one number
	unit    float64
	spread  bool // print min and max
}{
	{"CONN/S", func(s summary) *spread { return s.PerSecond }, "%.0f", 1, true},
	{"OF NONE", func(s summary) *spread { return s.Throughput }, "%.2f", 1, true},
	{"BPF NS/CONN", func(s summary) *spread { return s.BPF }, "%.0f", 1, true},
	{"X TWTRACE", func(s summary) *spread { return s.BPFRatio }, "%.2f", 1, false},
	{"CPU MS/100K", func(s summary) *spread { return s.CPU }, "%.0f", 1, true},
	{"RSS MIB", func(s summary) *spread { return s.PeakRSS }, "%.1f", 1 << 20, false},
	{"MAPS MIB", func(s summary) *spread { return s.Maps }, "%.1f", 1 << 20, false},
	{"P50 MS", func(s summary) *spread { return s.LatencyP50 }, "%.0f", 1, false},
	{"P99 MS", func(s summary) *spread { return s.LatencyP99 }, "%.0f", 1, true},
	{"LOST/100K", func(s summary) *spread { return s.Lost }, "%.0f", 1, true},
	{"LINES/CONN", func(s summary) *spread { return s.Lines }, "%.2f", 1, false},
	{"START MS", func(s summary) *spread { return s.Start }, "%.0f", 1, true},
}

func (r result) printTools(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprint(w, "TOOL")
	for _, c := range columns {
		fmt.Fprint(w, "\t"+c.heading)
	}
	fmt.Fprintln(w)
	for _, s := range r.Tools {
		fmt.Fprint(w, s.Tool)
		for _, c := range columns {
			cell := "-"
			if v := c.of(s); v != nil {
				cell = fmt.Sprintf(c.format, v.Median/c.unit)
				if c.spread && v.Min != v.Max {
					cell += fmt.Sprintf(" ("+c.format+".."+c.format+")", v.Min/c.unit, v.Max/c.unit)
				}
			}
			fmt.Fprint(w, "\t"+cell)
		}
		fmt.Fprintln(w)
	}
	w.Flush() // to memory
	b.WriteByte('\n')
}

func (r result) printPrograms(b *strings.Builder) {
	w := tabwriter.NewWriter(b, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "TOOL\tBPF PROGRAM\tTYPE\tRUNS/CONN\tNS/RUN\tNS/CONN\tSKIPPED")
	for _, s := range r.Tools {
		for _, p := range s.Programs {
			fmt.Fprintf(w, "%s\t%s\t%s\t%.2f\t%.0f\t%.0f\t%d\n",
				s.Tool, p.Name, p.Type, p.Runs, p.PerRun, p.PerConnection, p.Misses)
		}
	}
	w.Flush() // to memory
	b.WriteByte('\n')
}

// others returns the time per connection that programs of nobody here took.
func (r result) others() *spread {
	return spreadOf(r.Samples, func(s sample) (float64, bool) {
		return float64(s.OthersNS/time.Nanosecond) / float64(s.Connections), s.Statistics
	})
}

// markdown is the table of README.md.
func (r result) markdown() string {
	var b strings.Builder
	b.WriteString("| | connections/s, of no tracer | BPF time per connection | of twtrace's | CPU per 100,000 | events lost, per 100,000 |\n" +
		"| --- | --- | --- | --- | --- | --- |\n")
	for _, s := range r.Tools {
		if s.Tool == noTracer {
			continue
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", s.Tool, s.Throughput.cell("%.2f", 1, ""), s.BPF.cell("%.1f", 1000, " us"),
			s.BPFRatio.cell("%.1f", 1, ""), s.CPU.cell("%.2f", 1000, " s"), s.Lost.cell("%.0f", 1, ""))
	}
	return b.String()
}

// cell is the median and, if they differ, the lowest and the highest value.
func (s *spread) cell(format string, unit float64, name string) string {
	if s == nil {
		return "-"
	}
	number := func(v float64) string { return fmt.Sprintf(format, v/unit) }
	low, mid, high := number(s.Min), number(s.Median), number(s.Max)
	if low == high {
		return mid + name
	}
	return fmt.Sprintf("%s%s (%s to %s)", mid, name, low, high)
}
