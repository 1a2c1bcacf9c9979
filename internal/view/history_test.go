package view

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/rows"
)

// stateOf is a state with n rows, of second i.
func stateOf(i, n int) *State { return &State{Time: time.Unix(int64(i), 0), Rows: make([]rows.Row, n)} }

// second is when a state was.
func (s *State) second() int { return int(s.Time.Unix()) }

// TestPast: where states are small, all of the last ones are there.
func TestPast(t *testing.T) {
	var p Past
	for i := 1; i <= pastStates+5; i++ {
		if at := p.Add(stateOf(i, 2), -1); at >= 0 {
			t.Fatalf("state %d is shown, of none", at)
		}
	}
	if p.Len() != pastStates || p.states[0].second() != 6 || p.states[pastStates-1].second() != pastStates+5 {
		t.Errorf("%d states, from %d on", p.Len(), p.states[0].second())
	}
}

// TestPastIsBounded: where there are many rows, the past takes no more memory, reaches
// back as far, and is dense where it is young.
func TestPastIsBounded(t *testing.T) {
	var p Past
	const last = 3000
	for i := 1; i <= last; i++ {
		p.Add(stateOf(i, 100), -1)
		sum := 0
		for _, s := range p.states {
			sum += s.bytes()
		}
		if sum != p.bytes || sum > pastBytes {
			t.Fatalf("after %d: %d bytes, and counted %d; at most %d", i, sum, p.bytes, pastBytes)
		}
	}
	n := p.Len()
	if n < 50 || n >= pastStates/2 {
		t.Errorf("holds %d states", n)
	}
	if reach := last - p.states[0].second(); reach < pastStates*9/10 || reach >= pastStates {
		t.Errorf("reaches back by %d", reach)
	}
	for i := 1; i < n; i++ {
		gap, age := p.states[i].second()-p.states[i-1].second(), last-p.states[i-1].second()
		if gap < 1 || gap > 1+age/5 {
			t.Errorf("a gap of %d behind the state of %d s ago", gap, age)
		}
	}
}

// TestPastOfLarge: the newest state stays, and the one that is shown, however large they are.
func TestPastOfLarge(t *testing.T) {
	var p Past
	shown := 0
	for i := 1; i <= 5; i++ {
		shown = p.Add(stateOf(i, 9_000), shown)
		if shown != 0 || p.states[0].second() != 1 || p.states[p.Len()-1].second() != i || p.Len() > 2 {
			t.Fatalf("after %d: %d states, shown is %d, of %d", i, p.Len(), shown, p.states[shown].second())
		}
	}
	if p.Add(stateOf(6, 9_000), -1); p.Len() != 1 || p.states[0].second() != 6 {
		t.Errorf("%d states, the first of %d", p.Len(), p.states[0].second())
	}
}

// TestPastKeepsTheShown: a screen that is paused stays as it is, for as long as it is.
func TestPastKeepsTheShown(t *testing.T) {
	for _, n := range []int{1, 500} {
		m := newModel(newFake(), LoopOptions{})
		m.width, m.height = 80, 24
		for i := 1; i <= 10; i++ {
			m.take(fed{state: stateOf(i, n)})
		}
		m.pause()
		m.step(-3)
		shown := m.shown().second()
		for i := 11; i <= 2*pastStates; i++ {
			m.take(fed{state: stateOf(i, n)})
			if got := m.shown().second(); got != shown || m.past.Len() > pastStates {
				t.Fatalf("with %d rows, %d on the screen after %d; paused at %d; %d states", n, got, i, shown, m.past.Len())
			}
		}
		m.pause()
		if got := m.shown().second(); got != 2*pastStates {
			t.Errorf("%d on the screen when it goes on", got)
		}
	}
}

// TestBytes: what a state takes counts, as far as it is its own.
func TestBytes(t *testing.T) {
	empty := new(State).bytes()
	text := string(make([]byte, 5000))
	for name, s := range map[string]*State{
		"rows":     {Rows: make([]rows.Row, 0, 5)},
		"history":  {Past: Series{TimeWait: make([]uint64, 700)}},
		"gauges":   {Pressure: pressure.Reading{Gauges: make([]pressure.Gauge, 13)}},
		"events":   {Events: []Entry{{Text: text, Severity: event.Crit}}},
		"findings": {Findings: []advice.Finding{{Now: []advice.Remedy{{Text: text}}}}},
		"under":    {Findings: []advice.Finding{{Under: []advice.Finding{{Why: text}}}}},
		"remarks":  {Remarks: []string{text}},
	} {
		if n := s.bytes() - empty; n < 5000 || n > 6500 {
			t.Errorf("%s: %d bytes, want some 5,000", name, n)
		}
	}
}
