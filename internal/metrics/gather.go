package metrics

import (
	"cmp"
	"slices"

	dto "github.com/prometheus/client_model/go"
)

// Gather returns all metrics, by name: it is a prometheus.Gatherer. Ours do not go through
// the registry, which would compare each series with all others at every scrape; a test
// does that.
func (m *Metrics) Gather() ([]*dto.MetricFamily, error) {
	rest, err := m.registry.Gather()
	all := append(m.families(), rest...)
	slices.SortFunc(all, func(a, b *dto.MetricFamily) int { return cmp.Compare(a.GetName(), b.GetName()) })
	return all, err
}

// families are our metrics as the last Observe has published them. A scrape makes them, so
// that a sample that nobody scrapes costs less.
func (m *Metrics) families() []*dto.MetricFamily {
	batches := [][]point{*m.fixed.Load()}
	if p := m.sampled.Load(); p != nil {
		batches = append(batches, *p)
	}
	n, sums, of := 0, 0, make(map[*metric]int, len(table))
	for _, points := range batches {
		n += len(points)
		for i := range points {
			of[points[i].metric]++
			if points[i].metric.kind == counter {
				sums++
			}
		}
	}
	families := make([]*dto.MetricFamily, 0, len(of))
	byMetric := make(map[*metric]*dto.MetricFamily, len(of))
	for _, d := range table {
		if of[d] > 0 {
			f := &dto.MetricFamily{Name: &d.name, Help: &d.help, Type: d.kind.Enum(), Metric: make([]*dto.Metric, 0, of[d])}
			byMetric[d] = f
			families = append(families, f)
		}
	}
	metrics, counters, gauges := make([]dto.Metric, n), make([]dto.Counter, 0, sums), make([]dto.Gauge, 0, n-sums) // one allocation for all
	for _, points := range batches {
		for i := range points {
			p, out := &points[i], &metrics[n-1]
			n--
			out.Label = p.labels
			switch p.metric.kind {
			case counter:
				counters = counters[:len(counters)+1]
				out.Counter = &counters[len(counters)-1]
				out.Counter.Value = &p.value
			case histogram:
				out.Histogram = p.hist
			default:
				gauges = gauges[:len(gauges)+1]
				out.Gauge = &gauges[len(gauges)-1]
				out.Gauge.Value = &p.value
			}
			f := byMetric[p.metric]
			f.Metric = append(f.Metric, out)
		}
	}
	return families
}
