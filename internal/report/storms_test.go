package report

import (
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// TestOutages: a report says for how long calls failed and when that was over, and marks
// as critical only that time.
func TestOutages(t *testing.T) {
	b := NewBuilder(begin)
	for _, v := range []struct {
		at       int64
		kind     event.Kind
		severity event.Severity
		outage   float64
		resolved bool
	}{
		{1, event.StormStart, event.Warn, -1, false},
		{4, event.StormUpdate, event.Crit, -1, false},
		{10, event.StormUpdate, event.Crit, 0.5, false},
		{20, event.StormUpdate, event.Crit, 10.5, false},
		{24, event.StormUpdate, event.Warn, 12, true},
		{34, event.StormUpdate, event.Warn, 12, true},
		{40, event.StormUpdate, event.Crit, 0, false},
		{43, event.StormUpdate, event.Warn, 1, true},
		{73, event.StormEnd, event.Warn, 1, true},
	} {
		e := client(v.kind, begin+v.at*second, 0, "checkout")
		e.Reason, e.Storm = event.Ports, event.NewStorm()
		e.Storm.Severity, e.Storm.Outage, e.Storm.Resolved, e.Storm.Rate, e.Storm.Demand = v.severity, v.outage, v.resolved, 11, 80
		b.Add(&e)
	}
	r := b.Report(End{Now: begin + 80*second, Start: &event.StartInfo{}})
	s := r.Storms[0]
	if s.Outage != 13 || s.Resolved != stamp(begin+43*second) || s.Demand != 80 || s.Severity != event.Crit.String() {
		t.Errorf("%+v", s)
	}
	var got []string
	for _, v := range r.bands() {
		got = append(got, v.Severity)
		if i := len(got) - 1; i == 1 && (v.From != epochSeconds(begin+4*second) || v.To != epochSeconds(begin+24*second)) ||
			i == 4 && v.To != epochSeconds(begin+73*second) {
			t.Errorf("band %d: %+v", i, v)
		}
	}
	if want := []string{"warn", "crit", "warn", "crit", "warn"}; !slices.Equal(got, want) {
		t.Errorf("bands %v, want %v", got, want)
	}
	page := markdown(t, r)
	for _, want := range []string{"80/s", "22:14:47", "22:14:50"} { // the last outage
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
}
