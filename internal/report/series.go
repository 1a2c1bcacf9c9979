package report

import (
	"math"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// maxSteps bounds the series: when there are more, each two become one. A screen
// could not show more.
const maxSteps = 1000

// step is what happened in one step of time.
type step struct {
	timeWait, established                         uint64 // the maximum
	opened, ended, begins, exits, failed, refused uint64
	lost                                          uint64
	share                                         float64  // the maximum; negative if it is not known
	held                                          []uint64 // by program, see holding; nil if it was not sampled
}

// timeline counts in steps, which get longer as the recording does.
type timeline struct {
	begin int64 // ns since the epoch
	width int64 // ns
	now   int64 // up to where there is something
	steps []step
}

func newTimeline(begin int64) *timeline {
	return &timeline{begin: begin, width: int64(time.Second), now: begin}
}

// at is the step of that time, the first one for what came before the start.
func (t *timeline) at(when int64) *step {
	t.now = max(t.now, when)
	since := max(when-t.begin, 0)
	for since/t.width >= maxSteps {
		t.fold()
	}
	i := int(since / t.width)
	for len(t.steps) <= i {
		t.steps = append(t.steps, step{share: -1})
	}
	return &t.steps[i]
}

// fold makes one step of each two.
func (t *timeline) fold() {
	t.width *= 2
	half := t.steps[:0]
	for i := 0; i < len(t.steps); i += 2 {
		s := t.steps[i]
		if i+1 < len(t.steps) {
			s.merge(&t.steps[i+1])
		}
		half = append(half, s)
	}
	t.steps = half
}

func (s *step) merge(o *step) {
	s.timeWait, s.established = max(s.timeWait, o.timeWait), max(s.established, o.established)
	s.opened += o.opened
	s.ended += o.ended
	s.begins += o.begins
	s.exits += o.exits
	s.failed += o.failed
	s.refused += o.refused
	s.lost += o.lost
	s.share = max(s.share, o.share)
	if o.held != nil {
		s.hold(o.held)
	}
}

// count takes a record into account.
func (s *step) count(e *event.Event) {
	switch e.Kind {
	case event.Open:
		s.opened++
	case event.TimeWaitEnter:
		s.begins++
		s.ended++
	case event.TimeWaitExit:
		s.exits++
	case event.TimeWaitRefused:
		s.refused++
		s.ended++
	case event.Close:
		s.ended++
	case event.Fail:
		s.failed++
	case event.Lost:
		s.lost += e.Count
	}
}

// series is the timeline as columns.
func (t *timeline) series() Series {
	s := Series{Step: time.Duration(t.width).Seconds()}
	for i := range t.steps {
		p := &t.steps[i]
		s.Time = append(s.Time, epochSeconds(t.begin+int64(i)*t.width))
		s.TimeWait = append(s.TimeWait, p.timeWait)
		s.Established = append(s.Established, p.established)
		s.Opened = append(s.Opened, p.opened)
		s.Ended = append(s.Ended, p.ended)
		s.Begins = append(s.Begins, p.begins)
		s.Exits = append(s.Exits, p.exits)
		s.Failed = append(s.Failed, p.failed)
		s.Refused = append(s.Refused, p.refused)
		s.Lost = append(s.Lost, p.lost)
		var share *float64
		if p.share >= 0 {
			v := math.Round(p.share*1e4) / 1e4
			share = &v
		}
		s.PortsShare = append(s.PortsShare, share)
	}
	if n := len(t.steps); n > 0 {
		s.covered = time.Duration(t.now - t.begin - int64(n-1)*t.width).Seconds()
	}
	return s
}

// epochSeconds has milliseconds, which a float64 holds for the next centuries.
func epochSeconds(ns int64) float64 {
	return float64(time.Unix(0, ns).UnixMilli()) / 1e3
}

// rates are counts per second. The last step may be a short one; too short, it has
// no rate.
func (s *Series) rates(counts []uint64) []float64 {
	out := make([]float64, len(counts))
	for i, n := range counts {
		over := s.Step
		if i == len(counts)-1 {
			over = min(max(s.covered, 0), s.Step)
		}
		out[i] = math.NaN()
		if over >= s.Step/4 {
			out[i] = float64(n) / over
		}
	}
	return out
}

// peakOf is the highest of values, with the time of its step.
func (s *Series) peakOf(values []float64) Peak {
	var p Peak
	for i, v := range values {
		if v > p.Value {
			p.Value, p.At = v, stamp(int64(math.Round(s.Time[i]*1e3))*1e6)
		}
	}
	p.Value = math.Round(p.Value*10) / 10
	return p
}
