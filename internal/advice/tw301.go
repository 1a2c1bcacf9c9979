package advice

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

var tw301 = rule{id: "TW301", title: "conntrack table fills up", find: conntrackFull}

// trackedBytes is the size of a conntrack entry: a slab object of 256 to 320 bytes, and
// its extensions.
const trackedBytes = 384

// manyInsertFailed is how many in the window are worth reporting: two packets that race
// cause a few.
const manyInsertFailed = 10

// tracking is the state of conntrack, and how it changed in the window.
type tracking struct {
	kernel.Conntrack
	growth           float64 // entries per second
	drops, notMade   uint64  // in the window
	state            string  // that most entries are in, "" if not known
	inState, tracked uint64
}

func newTracking(f *Facts) (t tracking, ok bool) {
	if f.HostAfter.Conntrack == nil {
		return t, false
	}
	t.Conntrack = *f.HostAfter.Conntrack
	if e := f.HostBefore.Conntrack; f.Window > 0 && e != nil {
		t.growth = (float64(t.Count) - float64(e.Count)) / f.Window.Seconds()
		t.drops, t.notMade = grown(t.Drop, e.Drop), grown(t.InsertFailed, e.InsertFailed)
	}
	for _, state := range slices.Sorted(maps.Keys(f.HostAfter.Tracked)) {
		n := f.HostAfter.Tracked[state]
		t.tracked += n
		if n > t.inState {
			t.state, t.inState = state, n
		}
	}
	return t, true
}

// fullIn is when the table is full if it goes on growing; ok is false if that is later than
// the time after which entries in TIME_WAIT expire as fast as new ones come.
func (t *tracking) fullIn() (in time.Duration, ok bool) {
	if t.growth <= 0 || t.Count >= t.Max {
		return 0, false
	}
	s := float64(t.Max-t.Count) / t.growth
	return time.Duration(s * float64(time.Second)), s <= min(t.TimeWait, pressure.Horizon).Seconds()
}

// full reports whether there is no room: a new connection replaces an old one, or fails.
func (t *tracking) full() bool { return t.Max > 0 && t.Count >= t.Max }

func (t *tracking) share() float64 { return float64(t.Count) / float64(max(t.Max, 1)) }

func (t *tracking) severity() event.Severity {
	_, soon := t.fullIn()
	rising := t.growth*t.TimeWait.Seconds() >= (pressure.RisingBy-1)*float64(t.Count)
	switch {
	case t.drops > 0, t.full(), soon && t.share() >= pressure.HalfShare:
		return event.Crit
	case t.share() >= pressure.HighShare, t.share() >= pressure.HalfShare && rising, t.notMade >= manyInsertFailed:
		return event.Warn
	case t.Drop > 0, t.InsertFailed >= manyInsertFailed:
		return event.Info
	}
	return event.OK
}

// conntrackFull is TW301.
func conntrackFull(f Facts) []Finding {
	t, ok := newTracking(&f)
	severity := t.severity()
	if !ok || severity < event.Info {
		return nil
	}
	words := fmt.Sprintf("%s of %s conntrack entries (%s)", output.Count(t.Count), output.Count(t.Max), output.Percent(t.Count, t.Max))
	x := Finding{
		Severity: severity,
		Short:    words,
		What:     words,
		Who:      "not known: entries have no owner, and forwarded connections count as well",
		When:     t.when(f.Window),
		Why:      t.why(),
		Evidence: t.evidence(f.HostAfter.Tracked),
	}
	switch in, soon := t.fullIn(); {
	case t.full():
		x.Forecast = &Forecast{Event: "conntrack_full"}
	case soon && severity == event.Crit:
		x.Forecast = &Forecast{Event: "conntrack_full", InS: in.Seconds()}
	}
	if severity > event.Info {
		x.Now = t.now(&f)
	}
	x.Fix = []Remedy{{Text: "open fewer connections, or do not track those that need no tracking (notrack, in both directions)"}}
	if t.mostly("ESTABLISHED") {
		x.Fix = append(x.Fix, Remedy{
			Text:     "forget connections that are idle for a day",
			Settings: f.set(setting("net.netfilter.nf_conntrack_tcp_timeout_established", 86400, int(t.Established.Seconds()))),
			Risk:     "the firewall cuts connections that are alive but idle for longer",
		})
	}
	return []Finding{x}
}

// mostly reports whether most entries are in a state.
func (t *tracking) mostly(state string) bool { return t.state == state && 2*t.inState >= t.tracked }

func (t *tracking) when(window time.Duration) string {
	in, soon := t.fullIn()
	switch {
	case t.drops > 0:
		return fmt.Sprintf("now: %s packets of new connections dropped in the last %s", output.Count(t.drops), output.Seconds(window))
	case t.full(), soon && in < time.Second/2:
		return "full now: a new connection replaces one that has ended or was never answered, or its packets are dropped"
	case soon:
		return fmt.Sprintf("full in about %s, then the kernel drops packets of new connections", output.Seconds(in))
	case t.notMade >= manyInsertFailed:
		return fmt.Sprintf("now: %s entries could not be added in the last %s", output.Count(t.notMade), output.Seconds(window))
	case t.Drop > 0:
		return fmt.Sprintf("not now; %s packets were dropped since the host started", output.Count(t.Drop))
	case t.growth > 0:
		return "rising by " + output.Rate(t.growth)
	}
	return "not rising"
}

func (t *tracking) why() string {
	why := fmt.Sprintf("conntrack keeps its own table beside TCP's sockets; there an entry stays in TIME_WAIT for %s, and an idle ESTABLISHED one for %s",
		output.Seconds(t.TimeWait), longTime(t.Established))
	if t.state != "" {
		why = fmt.Sprintf("most entries (%s) are in %s; ", output.Percent(t.inState, t.tracked), t.state) + why
	}
	if t.InsertFailed > 0 {
		why += fmt.Sprintf("; %s entries were not added because another one had the tuple, or a hash chain was too long", output.Count(t.InsertFailed))
	}
	return why
}

// longTime words a duration of days or hours.
func longTime(d time.Duration) string {
	if d >= 48*time.Hour {
		return fmt.Sprintf("%.0f days", d.Hours()/24)
	}
	return output.Duration(int64(d))
}

func (t *tracking) evidence(byState map[string]uint64) []Evidence {
	e := []Evidence{
		{Name: "entries", Value: float64(t.Count), Limit: float64(t.Max), Unit: "entries", Source: "net.netfilter.nf_conntrack_count"},
		{Name: "growth", Value: t.growth, Unit: "1/s", Source: "net.netfilter.nf_conntrack_count"},
		{Name: "dropped", Value: float64(t.drops), Unit: "packets", Source: "stat/nf_conntrack"},
		{Name: "insert_failed", Value: float64(t.InsertFailed), Unit: "entries", Source: "stat/nf_conntrack"},
		{Name: "early_drop", Value: float64(t.EarlyDrop), Unit: "entries", Source: "stat/nf_conntrack"},
	}
	states := slices.SortedFunc(maps.Keys(byState), func(a, b string) int {
		return cmp.Or(cmp.Compare(byState[b], byState[a]), cmp.Compare(a, b))
	})
	for _, s := range states {
		e = append(e, Evidence{Name: "conntrack_" + s, Value: float64(byState[s]), Unit: "entries", Source: "ctnetlink"})
	}
	return e
}

// now is what makes room in the table within a minute.
func (t *tracking) now(f *Facts) []Remedy {
	remedies := []Remedy{t.larger(f)}
	if t.mostly("TIME_WAIT") && t.TimeWait > 30*time.Second {
		remedies = append(remedies, Remedy{
			Text:     "forget connections sooner after they end; they are most of the entries",
			Settings: f.set(setting("net.netfilter.nf_conntrack_tcp_timeout_time_wait", 30, int(t.TimeWait.Seconds()))),
			Risk:     "the firewall treats a segment that comes later as invalid, and may drop it",
		})
	}
	return remedies
}

// larger doubles the limit, if there is memory. Where this namespace cannot set it, it is
// the limit of the initial one.
func (t *tracking) larger(f *Facts) Remedy {
	target, need := 2*t.Max, t.Max*trackedBytes
	r := Remedy{Text: fmt.Sprintf("raise the limit to %s; when full, that takes up to %s more of the %s of available memory",
		output.Count(target), output.Bytes(need), output.Bytes(f.MemAvailable))}
	if need > f.MemAvailable/4 {
		r.Text = fmt.Sprintf("not enough memory to double the limit: it takes up to %s more, and %s is available",
			output.Bytes(need), output.Bytes(f.MemAvailable))
		return r
	}
	enter, known := f.Enter, true
	if !t.MaxIsHere {
		enter, known = f.HostAfter.InitEnter, f.HostAfter.InitKnown
		r.Text += "; it is a limit of the whole host"
	}
	if known {
		r.Settings = Settings{Enter: enter, Set: []Setting{setting("net.netfilter.nf_conntrack_max", target, t.Max)}}
		r.Risk = "kernel memory, as stated; lookups get slower unless nf_conntrack_buckets grows as well"
	}
	return r
}
