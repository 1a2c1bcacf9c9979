package conn

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// TestTiming compares a histogram of random durations with the durations themselves.
func TestTiming(t *testing.T) {
	for name, marks := range map[string]Marks{"life": LifeMarks, "time_wait": TimeWaitMarks, "search": SearchMarks} {
		random := rand.New(rand.NewPCG(1, 2))
		list := append([]time.Duration{0, 1, 953, 954, 1 << 62}, marks...)
		for range 10000 {
			list = append(list, time.Duration(math.Exp2(random.Float64()*45)))
		}
		var whole, a, b Timing
		for i, d := range list {
			whole.add(marks, d, uint64(i+1), int64(i+1))
			half := &a
			if i%2 == 1 {
				half = &b
			}
			half.add(marks, d, uint64(i+1), int64(i+1))
		}
		var below uint64
		for i, m := range marks {
			var want uint64
			for _, d := range list {
				if d <= m {
					want++
				}
			}
			if below += whole.Marked[i]; below != want {
				t.Errorf("%s: %d up to %v, want %d", name, below, m, want)
			}
			if x := whole.Example[i]; x.Cookie != 0 && (x.Length > m || i > 0 && x.Length <= marks[i-1] || list[x.Cookie-1] != x.Length) {
				t.Errorf("%s: example %+v up to %v", name, x, m)
			}
		}
		fine := make([]uint64, len(whole.Fine))
		zero, seconds := uint64(0), 0.0
		for _, d := range list {
			seconds += d.Seconds()
			i := 0
			for i < len(fine)-1 && d.Seconds() > math.Exp2(float64(TimingLow+1+i)/8) {
				i++
			}
			if d.Seconds() <= math.Exp2(TimingLow/8) {
				zero++
			} else {
				fine[i]++
			}
		}
		for i, n := range fine {
			if whole.Fine[i] != n {
				t.Errorf("%s: %d in fine bucket %d, want %d", name, whole.Fine[i], i, n)
			}
		}
		if whole.Zero != zero || whole.N != uint64(len(list)) || whole.Seconds != seconds {
			t.Errorf("%s: %d, %d below all, %v s", name, whole.N, whole.Zero, whole.Seconds)
		}
		a.Merge(&b)
		if math.Abs(a.Seconds-seconds) > seconds/1e9 {
			t.Errorf("%s: merged %v s, want %v", name, a.Seconds, seconds)
		}
		if a.Seconds = whole.Seconds; a != whole {
			t.Errorf("%s: merged, it is not the same", name)
		}
	}
}

// TestTimings: each connection counts once, in the histogram of its role, also where
// several events have its lifetime.
func TestTimings(t *testing.T) {
	table := New(Options{})
	lived := func(e *event.Event) { e.Life = int64(ShortLife) }
	e, parked, enter := at(1, event.Open), with(at(2, event.Parked), lived), with(at(3, event.TimeWaitEnter), lived)
	exit := with(at(63, event.TimeWaitExit), lived)
	fail := with(at(4, event.Fail), func(e *event.Event) {
		e.Cookie, e.Call, e.Errno, e.Cause, e.InState = 8, event.Connect, event.EADDRNOTAVAIL, event.NoPort, int64(time.Millisecond)
	})
	apply(table, e, parked, enter, exit, exit, fail)
	var s Snapshot
	table.Snapshot(t0+64*second, &s)
	life := &s.Timings.Life[event.Client]
	if life.N != 1 || life.Seconds != 1 || s.Totals.Lives != 1 || s.Totals.Short != 1 || s.Timings.Life[event.Server].N != 0 {
		t.Errorf("%d lifetimes of %v s, %d and %d short ones counted", life.N, life.Seconds, s.Totals.Lives, s.Totals.Short)
	}
	if w := &s.Timings.TimeWait; w.N != 1 || w.Seconds != 60 || w.Marked[4] != 1 || w.Example[4].Cookie != 0x1001 {
		t.Errorf("%d of TIME_WAIT, %v s: %v", w.N, w.Seconds, w.Marked)
	}
	if f := &s.Timings.Search; f.N != 1 || f.Marked[5] != 1 {
		t.Errorf("%d searches: %v", f.N, f.Marked)
	}
	before := s.Timings.Life[event.Client]
	table.Forget()
	table.Snapshot(t0+65*second, &s)
	if s.Timings.Life[event.Client] != before || s.Totals.Short != 1 {
		t.Error("Forget forgets them")
	}
	table.SnapshotLimited(t0+66*second, new(Snapshot)) // has none
	check(t, table)
}
