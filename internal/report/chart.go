package report

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"

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

// line is one line of a chart. Its style chooses colour and dashes, so that readers can
// distinguish lines without colours.
type line struct {
	Name   string  `json:"name"`
	Style  string  `json:"style"` // s0 to s5, or fail
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
		limit = fmt.Sprintf("; fullest network namespace: %s of %s (tcp_max_tw_buckets)", output.Count(r.Namespaces[0].Used), output.Count(r.Namespaces[0].Limit))
	}
	all := []chart{
		{ID: "time-wait", Title: "Sockets in TIME_WAIT", Note: "maximum of each step" + limit,
			Lines: []line{{"TIME_WAIT", "s0", whole(s.TimeWait), true}, {"open connections", "s1", whole(s.Established), false}}},
		{ID: "failed", Title: "Failed calls per second", Unit: "/s", Lines: []line{{"failed", "fail", s.rates(s.Failed), true}}},
		{ID: "rates", Title: "Connections opened per second", Unit: "/s", Lines: []line{{"opened", "s0", s.rates(s.Opened), true}}},
		{ID: "ports", Title: "Ports in use to the worst destination", Unit: "%", Max: 100, Note: "maximum of each step",
			Lines: []line{{"ports in use", "s0", ports, true}}},
		{ID: "owners", Title: "TIME_WAIT by owner", Note: "the programs that held most", Lines: s.ownerLines()},
	}
	return slices.DeleteFunc(all, func(c chart) bool {
		return c.ID == "failed" && r.Totals.Failed == 0 || c.ID == "owners" && len(c.Lines) == 0
	})
}

// ownerLines are the programs that held sockets in TIME_WAIT.
func (s *Series) ownerLines() []line {
	var out []line
	for i, o := range s.Owners {
		values := make(numbers, len(o.TimeWait))
		for j, n := range o.TimeWait {
			values[j] = math.NaN()
			if n != nil {
				values[j] = float64(*n)
			}
		}
		out = append(out, line{o.Name, fmt.Sprintf("s%d", i), values, false})
	}
	return out
}

// mark is a moment that a chart marks with a line.
type mark struct {
	At   float64 `json:"at"`
	Name string  `json:"name"`
}

// marks are the sysctls that changed. Those that changed together have one line.
func (r *Report) marks() []mark {
	out := []mark{}
	for i := range r.Changes {
		c := &r.Changes[i]
		at := epochSeconds(c.since)
		if n := len(out); n > 0 && at-out[n-1].At < r.Series.Step {
			out[n-1].Name += ", " + c.words()
			continue
		}
		out = append(out, mark{at, c.words()})
	}
	return out
}

// band is a time that a chart marks.
type band struct {
	From     float64 `json:"from"`
	To       float64 `json:"to"`
	Name     string  `json:"name"`
	Severity string  `json:"severity"`
}

// bands are the storms, by severity: what is resolved is no longer critical.
func (r *Report) bands() []band {
	out := []band{}
	for i := range r.Storms {
		s := &r.Storms[i]
		to := r.Series.end()
		if s.to != 0 {
			to = epochSeconds(s.to)
		}
		for _, g := range s.grades {
			until := to
			if g.to != 0 {
				until = epochSeconds(g.to)
			}
			out = append(out, band{epochSeconds(g.from), until, severityWord(g.severity) + " storm: " + s.Reason + " " + s.Comm, g.severity})
		}
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
		Marks  []mark    `json:"marks"`
		Zone   string    `json:"zone"`
		Offset int       `json:"offset"` // seconds
	}{r.Series.Time, r.Series.Step, r.charts(), r.bands(), r.marks(), r.zoneName(), r.offset()})
}
