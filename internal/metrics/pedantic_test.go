package metrics

import (
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// checked passes what Gather returns through a registry, which compares each series with
// its description and with all others.
type checked struct{ m *Metrics }

func (c checked) Describe(ch chan<- *prometheus.Desc) {
	for _, d := range c.descs() {
		ch <- d
	}
}

func (c checked) descs() map[string]*prometheus.Desc {
	out := make(map[string]*prometheus.Desc)
	for _, d := range table {
		if !d.only || c.m.opt.Detail == Full {
			out[d.name] = prometheus.NewDesc(d.name, d.help, d.labelsAt(c.m.opt.Detail), nil)
		}
	}
	return out
}

func (c checked) Collect(ch chan<- prometheus.Metric) {
	descs := c.descs()
	for _, f := range c.m.families() {
		for _, v := range f.Metric {
			ch <- checkedMetric{descs[f.GetName()], v}
		}
	}
}

type checkedMetric struct {
	desc *prometheus.Desc
	dto  *dto.Metric
}

func (c checkedMetric) Desc() *prometheus.Desc { return c.desc }

func (c checkedMetric) Write(out *dto.Metric) error {
	out.Label, out.Counter, out.Gauge, out.Histogram = c.dto.Label, c.dto.Counter, c.dto.Gauge, c.dto.Histogram
	return nil
}

// checkSeries fails unless all series are sound: none is there twice, and each has the labels
// that the table says.
func checkSeries(t testing.TB, m *Metrics) {
	t.Helper()
	r := prometheus.NewPedanticRegistry()
	if err := r.Register(checked{m}); err != nil {
		t.Fatal(err)
	}
	if _, err := r.Gather(); err != nil {
		t.Fatal(err)
	}
}

// TestSeriesChecked: the check finds a series that is there twice.
func TestSeriesChecked(t *testing.T) {
	m := New(Options{})
	checkSeries(t, m)
	twice := append([]point(nil), *m.fixed.Load()...)
	twice = append(twice, twice[0])
	m.fixed.Store(&twice)
	r := prometheus.NewPedanticRegistry()
	r.MustRegister(checked{m})
	if _, err := r.Gather(); err == nil {
		t.Error("a series that is there twice passes")
	}
}
