package advice

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// trackedBytes is what an entry of conntrack takes: a slab object of 256 to 320 bytes,
// and its extensions.
const trackedBytes = 384

// manyInsertFailed is how many in the window are worth a word: a few come of two
// packets that race.
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
	if f.Around.Conntrack == nil {
		return t, false
	}
	t.Conntrack = *f.Around.Conntrack
	if e := f.Earlier.Conntrack; f.Window > 0 && e != nil {
		t.growth = (float64(t.Count) - float64(e.Count)) / f.Window.Seconds()
		t.drops, t.notMade = grown(t.Drop, e.Drop), grown(t.InsertFailed, e.InsertFailed)
	}
	for _, state := range slices.Sorted(maps.Keys(f.Around.Tracked)) {
		n := f.Around.Tracked[state]
		t.tracked += n
		if n > t.inState {
			t.state, t.inState = state, n
		}
	}
	return t, true
}

// fullIn is when the table is full at the present growth; ok is false if that is not
// within the time after which entries of TIME_WAIT leave as they come.
func (t *tracking) fullIn() (in time.Duration, ok bool) {
	if t.growth <= 0 || t.Count >= t.Max {
		return 0, false
	}
	s := float64(t.Max-t.Count) / t.growth
	return time.Duration(s * float64(time.Second)), s <= min(t.TimeWait, pressure.Horizon).Seconds()
}

func (t *tracking) share() float64 { return float64(t.Count) / float64(max(t.Max, 1)) }

func (t *tracking) severity() Severity {
	_, soon := t.fullIn()
	rising := t.growth*t.TimeWait.Seconds() >= (pressure.RisingBy-1)*float64(t.Count)
	switch {
	case t.drops > 0, t.share() >= fullShare, soon && t.share() >= pressure.HalfShare:
		return Crit
	case t.share() >= pressure.HighShare, t.share() >= pressure.HalfShare && rising, t.notMade >= manyInsertFailed:
		return Warn
	case t.Drop > 0, t.InsertFailed >= manyInsertFailed:
		return Info
	}
	return OK
}

// conntrackFull is TW301.
func conntrackFull(f Facts) []Finding {
	t, ok := newTracking(&f)
	severity := t.severity()
	if !ok || severity < Info {
		return nil
	}
	words := fmt.Sprintf("%s of %s conntrack entries (%s)", output.Count(t.Count), output.Count(t.Max), output.Percent(t.Count, t.Max))
	x := Finding{
		Severity: severity,
		Short:    words,
		What:     words,
		Who:      "not known: entries have no owner; those of forwarded connections count as well",
		When:     t.when(f.Window),
		Why:      t.why(),
		Evidence: t.evidence(f.Around.Tracked),
	}
	if in, soon := t.fullIn(); soon && severity == Crit {
		x.Forecast = &Forecast{Event: "conntrack_full", InS: in.Seconds()}
	}
	if severity > Info {
		x.Now = t.now(&f)
	}
	x.Fix = []Remedy{{Text: "fewer connections, or no tracking of those that need none (notrack, in both directions)"}}
	if t.mostly("ESTABLISHED") {
		x.Fix = append(x.Fix, Remedy{
			Text:    "forget connections that have been silent for a day",
			Command: f.set("net.netfilter.nf_conntrack_tcp_timeout_established", 86400),
			Undo:    f.set("net.netfilter.nf_conntrack_tcp_timeout_established", int(t.Established.Seconds())),
			Risk:    "a connection that is alive and silent for longer is cut by the firewall",
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
		return fmt.Sprintf("now: %s packets dropped in %s, of new connections of any kind", output.Count(t.drops), seconds(window))
	case t.Count >= t.Max, soon && in < time.Second/2:
		return "full now: a new connection finds room in place of one that has ended or was never answered, or its packets are dropped"
	case soon:
		return fmt.Sprintf("full in about %s, then packets of new connections are dropped", seconds(in))
	case t.notMade >= manyInsertFailed:
		return fmt.Sprintf("now: %s entries could not be made in %s", output.Count(t.notMade), seconds(window))
	case t.Drop > 0:
		return fmt.Sprintf("not now; %s packets were dropped since the start", output.Count(t.Drop))
	case t.growth > 0:
		return "rising by " + output.Rate(t.growth)
	}
	return "not rising"
}

func (t *tracking) why() string {
	why := fmt.Sprintf("conntrack keeps a table of its own beside TCP's sockets; an entry in TIME_WAIT stays %s there, an ESTABLISHED one that is silent %s",
		seconds(t.TimeWait), longTime(t.Established))
	if t.state != "" {
		why = fmt.Sprintf("most entries (%s) are in %s; ", output.Percent(t.inState, t.tracked), t.state) + why
	}
	if t.InsertFailed > 0 {
		why += fmt.Sprintf("; %s entries were not made because another had the tuple, or a chain was too long", output.Count(t.InsertFailed))
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
			Text:    "forget connections that have ended sooner; most entries are theirs",
			Command: f.set("net.netfilter.nf_conntrack_tcp_timeout_time_wait", 30),
			Undo:    f.set("net.netfilter.nf_conntrack_tcp_timeout_time_wait", int(t.TimeWait.Seconds())),
			Risk:    "a segment that comes later than that is invalid to the firewall, which may drop it",
		})
	}
	return remedies
}

// larger doubles the limit, if there is memory; it is that of the initial namespace
// where this one cannot set it.
func (t *tracking) larger(f *Facts) Remedy {
	target, need := 2*t.Max, t.Max*trackedBytes
	r := Remedy{Text: fmt.Sprintf("raise the limit to %s; when full that takes up to %s more of the %s of memory available",
		output.Count(target), output.Bytes(need), output.Bytes(f.MemAvailable))}
	if need > f.MemAvailable/4 {
		r.Text = fmt.Sprintf("there is not the memory to double the limit: up to %s more, and %s are available",
			output.Bytes(need), output.Bytes(f.MemAvailable))
		return r
	}
	enter, known := f.Enter, true
	if !t.MaxIsHere {
		enter, known = f.Around.Host, f.Around.HostKnown
		r.Text += "; it is a limit of the whole host"
	}
	if known {
		const name = "sysctl -w net.netfilter.nf_conntrack_max="
		r.Command, r.Undo = fmt.Sprint(enter, name, target), fmt.Sprint(enter, name, t.Max)
		r.Risk = "kernel memory, as stated; look-ups get slower unless nf_conntrack_buckets grows as well"
	}
	return r
}
