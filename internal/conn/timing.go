package conn

import (
	"math"
	"sort"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// ShortLife is up to which lifetime a connection counts as short-lived; that of storms is
// an option.
const ShortLife = time.Second

// Timings are exact histograms of all connections of a table. Unlike those of groups
// they are never halved and never forgotten.
type Timings struct {
	Life     [event.Server + 1]Timing // lifetimes, by role
	TimeWait Timing                   // how long TIME_WAIT lasted, where its start is known
	Search   Timing                   // how long connect() searched for a port before it failed for want of one
}

// Marks are the bounds of the classic buckets of a Timing, ascending and inclusive.
type Marks []time.Duration

// The marks of each of Timings. TIME_WAIT lasts 60 s, and at most 2 s of timer slack at
// HZ=250, 5 s at HZ=100; 1 s is what tcp_tw_reuse asks for.
var (
	LifeMarks = Marks{time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond,
		25 * time.Millisecond, 50 * time.Millisecond, 100 * time.Millisecond, 250 * time.Millisecond, 500 * time.Millisecond,
		time.Second, 5 * time.Second, 10 * time.Second, time.Minute, 5 * time.Minute, 10 * time.Minute}
	TimeWaitMarks = Marks{time.Second, 10 * time.Second, 30 * time.Second, 59 * time.Second, 61 * time.Second,
		62 * time.Second, 66 * time.Second, 2 * time.Minute}
	SearchMarks = Marks{10 * time.Microsecond, 50 * time.Microsecond, 100 * time.Microsecond, 250 * time.Microsecond, 500 * time.Microsecond,
		time.Millisecond, 2500 * time.Microsecond, 5 * time.Millisecond, 10 * time.Millisecond, 50 * time.Millisecond, time.Second}
)

const maxMarks = 15 // of LifeMarks

// The fine buckets of a Timing are those of Prometheus' native histograms: bucket i holds
// durations above 2^((i-1)/8) s and up to 2^(i/8) s, so that neighbours differ by 9 %.
const (
	TimingSchema = 3    // 2^3 buckets an octave
	TimingLow    = -160 // durations up to 2^-20 s (1 us) have no bucket of their own: Timing.Zero
	TimingHigh   = 192  // 2^24 s, 194 days; anything longer counts in this bucket
)

// eighths are the bounds of the fine buckets between a half and one.
var eighths = [1 << TimingSchema]float64{0.5, 0.5452538663326288, 0.5946035575013605, 0.6484197773255048,
	0.7071067811865475, 0.7711054127039704, 0.8408964152537144, 0.9170040432046711}

// Timing is an exact histogram of durations, in coarse buckets and in fine ones.
type Timing struct {
	N       uint64
	Seconds float64                        // their sum
	Marked  [maxMarks + 1]uint64           // by the first mark that the duration does not exceed; the last: none
	Zero    uint64                         // those below all fine buckets
	Fine    [TimingHigh - TimingLow]uint64 // bucket TimingLow+1 comes first
	Example [maxMarks + 1]struct {         // the last one in each of Marked
		Cookie uint64 // 0 if there is none
		Time   int64  // of its event, ns since the epoch
		Length time.Duration
	}
}

// add counts one duration, of a connection with that cookie.
func (t *Timing) add(m Marks, d time.Duration, cookie uint64, at int64) {
	t.N++
	t.Seconds += d.Seconds()
	i := len(m)
	for i > 0 && d <= m[i-1] {
		i--
	}
	if i == len(m) {
		i = maxMarks
	}
	t.Marked[i]++
	if x := &t.Example[i]; cookie != 0 {
		x.Cookie, x.Time, x.Length = cookie, at, d
	}
	if k := fineBucket(d); k <= TimingLow {
		t.Zero++
	} else {
		t.Fine[k-TimingLow-1]++
	}
}

// fineBucket is the number of the fine bucket of d.
func fineBucket(d time.Duration) int {
	if d <= 0 {
		return TimingLow
	}
	frac, exp := math.Frexp(d.Seconds())
	k := sort.SearchFloat64s(eighths[:], frac) + (exp-1)<<TimingSchema
	return min(max(k, TimingLow), TimingHigh)
}

// Merge adds the counts of o, whose marks are the same.
func (t *Timing) Merge(o *Timing) {
	t.N += o.N
	t.Seconds += o.Seconds
	t.Zero += o.Zero
	for i, n := range o.Fine {
		t.Fine[i] += n
	}
	for i, n := range o.Marked {
		t.Marked[i] += n
		if x := o.Example[i]; x.Cookie != 0 && x.Time >= t.Example[i].Time {
			t.Example[i] = x
		}
	}
}

// Merge adds the counts of o.
func (t *Timings) Merge(o *Timings) {
	for i := range o.Life {
		t.Life[i].Merge(&o.Life[i])
	}
	t.TimeWait.Merge(&o.TimeWait)
	t.Search.Merge(&o.Search)
}

// lived counts the lifetime of a connection.
func (t *Timings) lived(e *event.Event, role event.Role) {
	t.Life[min(role, event.Server)].add(LifeMarks, time.Duration(e.Life), e.Cookie, e.Time)
}

// waited counts the end of TIME_WAIT, if its length is known.
func (t *Timings) waited(e *event.Event) {
	if e.InState > 0 {
		t.TimeWait.add(TimeWaitMarks, time.Duration(e.InState), e.Cookie, e.Time)
	}
}

// searched counts a connect() that found no port, if the length of its search is known.
func (t *Timings) searched(e *event.Event) {
	if e.Call == event.Connect && e.Cause == event.NoPort && e.InState > 0 {
		t.Search.add(SearchMarks, time.Duration(e.InState), e.Cookie, e.Time)
	}
}
