package report

import (
	"encoding/json"
	"fmt"
	"math"

	"github.com/twtrace/twtrace/internal/output"
)

// chart is a picture of some of the series: drawn once as SVG, for readers and for
// printers with no script, and by the script so that it zooms.
type chart struct {
	ID    string  `json:"id"`
	Title string  `json:"title"`
	Note  string  `json:"-"`
	Unit  string  `json:"unit"` // behind numbers: "/s", "%", or nothing
	Max   float64 `json:"max,omitempty"`
	Lines []line  `json:"lines"`
}

// line is one line of a chart. Its number chooses colour and dashes, so that lines
// can be told apart without colours.
type line struct {
	Name   string  `json:"name"`
	Values numbers `json:"values"`
	Fill   bool    `json:"fill,omitempty"`
}

// numbers are null in JSON where they are no numbers.
type numbers []float64

// MarshalJSON rounds to what a chart can show.
func (n numbers) MarshalJSON() ([]byte, error) {
	out := make([]*float64, len(n))
	for i, v := range n {
		if v = math.Round(v*100) / 100; !math.IsNaN(v) {
			out[i] = &v
		}
	}
	return json.Marshal(out)
}

func (r *Report) charts() []chart {
	s := &r.Series
	whole := func(counts []uint64) numbers {
		out := make(numbers, len(counts))
		for i, n := range counts {
			out[i] = float64(n)
		}
		return out
	}
	ports := make(numbers, len(s.PortsShare))
	for i, p := range s.PortsShare {
		ports[i] = math.NaN()
		if p != nil {
			ports[i] = *p * 100
		}
	}
	limit := ""
	if len(r.Namespaces) > 0 && r.Namespaces[0].Limit > 0 {
		limit = fmt.Sprintf("; of the fullest namespace at most %s of %s (tcp_max_tw_buckets)", output.Count(r.Namespaces[0].Used), output.Count(r.Namespaces[0].Limit))
	}
	return []chart{
		{ID: "time-wait", Title: "Sockets in TIME_WAIT", Note: "the most in each step" + limit,
			Lines: []line{{"TIME_WAIT", whole(s.TimeWait), true}, {"open connections", whole(s.Established), false}}},
		{ID: "rates", Title: "Per second", Unit: "/s", Note: "connections opened, TIME_WAIT ended, calls failed",
			Lines: []line{{"opened", s.rates(s.Opened), false}, {"TIME_WAIT ended", s.rates(s.Exits), false}, {"failed", s.rates(s.Failed), false}}},
		{ID: "ports", Title: "Ports in use towards the worst destination", Unit: "%", Max: 100, Note: "the most in each step",
			Lines: []line{{"ports in use", ports, true}}},
	}
}

// band is a time that a chart marks.
type band struct {
	From     float64 `json:"from"`
	To       float64 `json:"to"`
	Name     string  `json:"name"`
	Severity string  `json:"severity"`
}

// bands are the storms.
func (r *Report) bands() []band {
	out := []band{}
	for i := range r.Storms {
		s := &r.Storms[i]
		to := r.Series.end()
		if s.to != 0 {
			to = epochSeconds(s.to)
		}
		out = append(out, band{epochSeconds(s.from), to, severityWord(s.Severity) + " storm: " + s.Reason + " " + s.Comm, s.Severity})
	}
	return out
}

// chartData is what the script draws from.
func (r *Report) chartData() ([]byte, error) {
	return json.Marshal(struct { // which escapes <, > and &: nothing ends the element that holds it
		Time   []float64 `json:"time"`
		Step   float64   `json:"step"`
		Charts []chart   `json:"charts"`
		Bands  []band    `json:"bands"`
	}{r.Series.Time, r.Series.Step, r.charts(), r.bands()})
}
