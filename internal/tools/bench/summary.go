package main

import (
	"cmp"
	"slices"
	"time"
)

// result is all that one run of the bench found.
type result struct {
	Kernel      string            `json:"kernel"`
	Machine     string            `json:"machine"`
	CPUs        int               `json:"cpus"`
	Load        string            `json:"load"`
	Rate        float64           `json:"rate"`        // connections/s aimed at, 0 for full speed
	Connections int               `json:"connections"` // per sample
	Workers     int               `json:"workers"`
	Absent      map[string]string `json:"absent"` // tools that did not run here, and why
	Tools       []summary         `json:"tools"`
	Samples     []sample          `json:"samples"`
}

// summary is one tool over all rounds. A nil spread is of something that does
// not apply to the tool.
type summary struct {
	Tool       string  `json:"tool"`
	PerSecond  *spread `json:"connections_per_second"`
	Throughput *spread `json:"throughput_ratio"` // to no tracer in the same round
	BPF        *spread `json:"bpf_ns_per_connection,omitempty"`
	BPFRatio   *spread `json:"bpf_ratio,omitempty"` // to the reference in the same round
	CPU        *spread `json:"cpu_ms_per_100k_connections,omitempty"`
	PeakRSS    *spread `json:"peak_rss_bytes,omitempty"`
	Maps       *spread `json:"maps_bytes,omitempty"`
	LatencyP50 *spread `json:"latency_p50_ms,omitempty"`
	LatencyP99 *spread `json:"latency_p99_ms,omitempty"`
	Start      *spread `json:"start_ms,omitempty"`
	Lines      *spread `json:"output_lines_per_connection,omitempty"`
	Lost       *spread `json:"lost_per_100k_connections,omitempty"`

	Programs []cost `json:"programs,omitempty"`
}

// cost is what one BPF program took, over all rounds with statistics.
type cost struct {
	Name          string  `json:"name"`
	Type          string  `json:"type"`
	Runs          float64 `json:"runs_per_connection"`
	PerRun        float64 `json:"ns_per_run"`
	PerConnection float64 `json:"ns_per_connection"`
	Misses        uint64  `json:"recursion_misses"`
}

// spread is the median of some numbers, with the lowest and the highest of them.
type spread struct {
	Median float64 `json:"median"`
	Min    float64 `json:"min"`
	Max    float64 `json:"max"`
}

// spreadOf returns the spread of value over all samples for which it is known;
// nil if there is none.
func spreadOf(samples []sample, value func(sample) (v float64, known bool)) *spread {
	var all []float64
	for _, s := range samples {
		if v, known := value(s); known {
			all = append(all, v)
		}
	}
	if len(all) == 0 {
		return nil
	}
	slices.Sort(all)
	mid := len(all) / 2
	median := all[mid]
	if len(all)%2 == 0 {
		median = (all[mid-1] + all[mid]) / 2
	}
	return &spread{median, all[0], all[len(all)-1]}
}

// summarize returns a summary of each tool.
func summarize(tools []tool, samples []sample) []summary {
	var all []summary
	for _, t := range tools {
		var plain, counted []sample
		for _, s := range samples {
			switch {
			case s.Tool != t.name:
			case s.Statistics:
				counted = append(counted, s)
			default:
				plain = append(plain, s)
			}
		}
		sum := summary{Tool: t.name, Programs: costs(counted)}
		sum.fromPlain(t, plain, samples)
		sum.fromCounted(counted, samples)
		all = append(all, sum)
	}
	return all
}

// fromPlain takes in the samples of the tool without BPF statistics.
func (s *summary) fromPlain(t tool, own, all []sample) {
	s.PerSecond = spreadOf(own, func(m sample) (float64, bool) { return m.PerSecond, true })
	s.Throughput = spreadOf(own, func(m sample) (float64, bool) {
		ref, ok := inRound(all, m.Round, noTracer)
		return m.PerSecond / ref.PerSecond, ok
	})
	if t.command == nil {
		return
	}
	s.CPU = spreadOf(own, func(m sample) (float64, bool) { return ms(m.CPUNS) / float64(m.Connections) * 1e5, true })
	s.PeakRSS = spreadOf(own, func(m sample) (float64, bool) { return float64(m.PeakRSS), true })
	s.Maps = spreadOf(own, func(m sample) (float64, bool) { return float64(m.Maps), m.Maps != 0 })
	s.LatencyP50 = spreadOf(own, func(m sample) (float64, bool) { return ms(m.LatencyP50), m.LatencyP50 != 0 })
	s.LatencyP99 = spreadOf(own, func(m sample) (float64, bool) { return ms(m.LatencyP99), m.LatencyP99 != 0 })
	s.Start = spreadOf(own, func(m sample) (float64, bool) { return ms(m.StartNS), m.StartNS != 0 })
	s.Lines = spreadOf(own, func(m sample) (float64, bool) { return float64(m.Lines) / float64(m.Connections), true })
	s.Lost = spreadOf(own, func(m sample) (float64, bool) {
		if m.Lost == nil {
			return 0, false
		}
		return float64(*m.Lost) / float64(m.Connections) * 1e5, true
	})
}

// fromCounted takes in the samples of the tool with BPF statistics.
func (s *summary) fromCounted(own, all []sample) {
	s.BPF = spreadOf(own, func(m sample) (float64, bool) { return m.bpfPerConnection(), true })
	s.BPFRatio = spreadOf(own, func(m sample) (float64, bool) {
		ref, ok := inRound(all, m.Round, reference)
		return m.bpfPerConnection() / ref.bpfPerConnection(), ok
	})
}

// inRound returns the sample of a tool in a round.
func inRound(samples []sample, round int, tool string) (sample, bool) {
	i := slices.IndexFunc(samples, func(s sample) bool { return s.Round == round && s.Tool == tool })
	if i < 0 {
		return sample{}, false
	}
	return samples[i], true
}

// costs adds up the programs of all samples by name, the costliest first.
func costs(samples []sample) []cost {
	type key struct{ name, kind string }
	sums := make(map[key]program)
	var connections float64
	for _, s := range samples {
		connections += float64(s.Connections)
		for _, p := range s.Programs {
			k := key{p.Name, p.Type}
			sum := sums[k]
			sum.Runs += p.Runs
			sum.TimeNS += p.TimeNS
			sum.Misses += p.Misses
			sums[k] = sum
		}
	}
	var all []cost
	for k, p := range sums {
		all = append(all, cost{
			Name: k.name, Type: k.kind, Misses: p.Misses,
			Runs:          float64(p.Runs) / connections,
			PerRun:        float64(p.TimeNS) / float64(max(p.Runs, 1)),
			PerConnection: float64(p.TimeNS) / connections,
		})
	}
	slices.SortFunc(all, func(a, b cost) int {
		return cmp.Or(cmp.Compare(b.PerConnection, a.PerConnection), cmp.Compare(a.Name, b.Name))
	})
	return all
}

func ms(d time.Duration) float64 { return float64(d) / float64(time.Millisecond) }
