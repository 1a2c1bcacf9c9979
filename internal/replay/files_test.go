package replay

import (
	"errors"
	"io"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

var start = time.Date(2026, 11, 22, 22, 14, 7, 0, time.UTC)

// opened is a connection, d after the start.
func opened(cookie uint64, d time.Duration) event.Event {
	return event.Event{Time: start.Add(d).UnixNano(), Kind: event.Open, Cookie: cookie, NetNS: 7, Role: event.Client, Opener: event.Proc{PID: 4242, Comm: "checkout"},
		Local: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), uint16(40000+cookie)), Remote: netip.MustParseAddrPort("10.2.0.9:5432")}
}

// recording says what is written to a file.
type recording struct {
	events []event.Event
	end    time.Duration // of the end record; 0: there is none
	drift  []event.Drift
	limits map[uint32]kernel.Limits
}

// write writes a trace file, and returns its name.
func write(t *testing.T, r recording) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "trace.ndjson.zst")
	first := sessiontest.Limits(1000)
	w, err := record.NewWriter(record.Options{Path: path}, &event.Event{Time: start.UnixNano(), Kind: event.Start,
		Start: &event.StartInfo{Version: "1.2.3", Schema: 1, Host: "web-07", Missing: []string{"the closer"}, Limits: first.Map()}}, start)
	if err != nil {
		t.Fatal(err)
	}
	for netns, k := range r.limits {
		w.SetLimits(netns, k.Map())
	}
	for _, e := range r.events {
		if err := errors.Join(w.Write(&e), w.Tick(time.Unix(0, e.Time))); err != nil {
			t.Fatal(err)
		}
	}
	var end *event.Event
	if r.end != 0 {
		end = &event.Event{Time: start.Add(r.end).UnixNano(), Kind: event.End, End: &event.EndInfo{Why: "signal", Begins: 7, Drift: r.drift}}
	}
	if err := w.Close(end); err != nil {
		t.Fatal(err)
	}
	return path
}

func open(t *testing.T, o Options) *Files {
	t.Helper()
	f, err := Open(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(f.Close)
	return f
}

// seen is an event, and when it came, after the start.
type seen struct {
	cookie uint64
	at     time.Duration
}

// readAll reads to the end, and returns the events and how often nothing was there.
func readAll(t *testing.T, f *Files) (events []seen, idles int) {
	t.Helper()
	for {
		var e event.Event
		switch err := f.Next(t.Context(), &e); {
		case err == nil:
			events = append(events, seen{e.Cookie, f.Now().Sub(start)})
		case errors.Is(err, session.ErrIdle):
			idles++
		case errors.Is(err, io.EOF):
			return events, idles
		default:
			t.Fatal(err)
		}
	}
}

// TestClock: time goes on by steps, to each event and then to the end record.
func TestClock(t *testing.T) {
	drift := []event.Drift{{NetNS: 7, Births: 3}, {NetNS: 8, Alive: 1}}
	path := write(t, recording{events: []event.Event{opened(1, 0), opened(2, 30*time.Millisecond), opened(3, time.Second), opened(4, 990*time.Millisecond)},
		end: 2 * time.Second, drift: drift})
	f := open(t, Options{Files: []string{path}, Filter: &filter.Filter{NetNS: filter.Set[uint32]{Items: []uint32{7}}, Roles: filter.Set[event.Role]{Items: []event.Role{event.Server}}}})
	if !f.Now().Equal(start) || !f.Began().Equal(start) || f.LastTime() != 0 || f.Drift() != nil {
		t.Errorf("it starts at %v, %v, with drift %v", f.Now(), f.Began(), f.Drift())
	}
	if end, err := f.End(""); err != nil || end.Kind != event.KindNone {
		t.Errorf("the end is known at the start: %v, %v", end, err)
	}
	events, idles := readAll(t, f)
	// An event less than a step away does not move the time.
	if want := []seen{{1, 0}, {2, 0}, {3, time.Second}, {4, time.Second}}; !slices.Equal(events, want) || idles != 40 {
		t.Errorf("%v with %d steps, want %v", events, idles, want)
	}
	if !f.Now().Equal(start.Add(2*time.Second)) || f.LastTime() != start.Add(2*time.Second).UnixNano() {
		t.Errorf("it ends at %v", f.Now())
	}
	if end, err := f.End("signal"); err != nil || end.End.Begins != 7 || !slices.Equal(f.Drift(), drift) {
		t.Errorf("the end is %+v, %v", end, err)
	}
	if first, err := f.Start(); err != nil || first.Start.Host != "web-07" || f.Header().Version != "1.2.3" || !slices.Equal(f.Missing(), []string{"the closer"}) {
		t.Errorf("the start is %+v, %v", first, err)
	}
	if !f.Traces(7) || f.Traces(8) {
		t.Error("the filter of namespaces does not count")
	}
	if err := f.Next(t.Context(), &event.Event{}); err != io.EOF {
		t.Errorf("after the end %v", err)
	}
}

// TestFacts: what nobody can know of a recording.
func TestFacts(t *testing.T) {
	f := open(t, Options{Files: []string{write(t, recording{end: time.Second})}})
	if f.NetNSName(7) != "" || !f.OwnersKnown().IsZero() || !f.Storms() || f.Processes() || f.Runs(1) || f.Lingering(7, start, start) != nil {
		t.Error("a recording knows what it cannot")
	}
	f.WatchLingering()
	if err := errors.Join(f.Begin(nil, nil), f.Tend(true, nil)); err != nil {
		t.Error(err)
	}
	_, count := f.Count(kernel.NetNS{})
	_, memory := f.MemAvailable()
	_, system := f.SystemTime(1)
	_, _, descriptors := f.Descriptors(1)
	for _, err := range []error{count, memory, system, descriptors} {
		if !errors.Is(err, errors.ErrUnsupported) {
			t.Errorf("%v, want %v", err, errors.ErrUnsupported)
		}
	}
}

// TestBetween: what is before the part is read, and does not show; time does not go on
// beyond it.
func TestBetween(t *testing.T) {
	snapshot, parked := opened(9, 10*time.Second), opened(10, 10*time.Second)
	snapshot.Kind, snapshot.New, parked.Kind, parked.New = event.Snapshot, event.TimeWait, event.Snapshot, event.FinWait2
	path := write(t, recording{events: []event.Event{opened(1, 0), opened(2, 10*time.Second), snapshot, parked, opened(3, 20*time.Second), opened(4, 20500*time.Millisecond), opened(5, 30*time.Second)}, end: time.Minute})
	ns := func(d time.Duration) int64 { return start.Add(d).UnixNano() }

	f := open(t, Options{Files: []string{path}})
	f.Between(ns(10*time.Second), ns(20*time.Second))
	if f.From() != ns(10*time.Second) || f.To() != ns(20*time.Second) || !f.Early() || f.Within() {
		t.Errorf("from %d to %d, early %v, within %v", f.From(), f.To(), f.Early(), f.Within())
	}
	var shown []uint64
	var e event.Event
	for {
		err := f.Next(t.Context(), &e)
		if errors.Is(err, io.EOF) {
			break
		}
		at := f.Now().Sub(start)
		if f.Early() != (at < 10*time.Second) || f.Within() != (at >= 10*time.Second && at <= 20*time.Second) {
			t.Fatalf("at %v: early %v, within %v", at, f.Early(), f.Within())
		}
		if err == nil && f.Shows(&e) {
			shown = append(shown, e.Cookie)
		}
	}
	if want := []uint64{2, 9, 3}; !slices.Equal(shown, want) { // what is parked is in the table alone
		t.Errorf("shows %v, want %v", shown, want)
	}
	if at := f.Now().Sub(start); at < 20*time.Second || at > 20500*time.Millisecond {
		t.Errorf("it ends at %v", at)
	}
	if end, _ := f.End(""); end.Kind != event.KindNone || f.Drift() != nil {
		t.Errorf("it has the end %v of a recording that was not read to it", end)
	}

	// To the end, and all of it.
	f = open(t, Options{Files: []string{path}})
	f.Between(ns(15*time.Second), 0)
	if all, _ := readAll(t, f); len(all) != 7 || f.Now().Sub(start) != time.Minute || !f.Within() || f.Early() {
		t.Errorf("%v up to %v", all, f.Now())
	}
	// The end record is later than the part's end.
	f = open(t, Options{Files: []string{path}})
	f.Between(0, ns(40*time.Second))
	if all, _ := readAll(t, f); len(all) != 7 || f.Now().Sub(start) != 40*time.Second {
		t.Errorf("%v up to %v", all, f.Now())
	}
	// Nothing happened up to then.
	f = open(t, Options{Files: []string{write(t, recording{events: []event.Event{opened(1, time.Hour)}, end: 2 * time.Hour})}})
	f.Between(0, ns(10*time.Second))
	if all, _ := readAll(t, f); len(all) != 0 || f.Now().Sub(start) != 10*time.Second {
		t.Errorf("%v up to %v", all, f.Now())
	}
}

// TestCatchUp seeks as a session does, at once whatever the speed.
func TestCatchUp(t *testing.T) {
	path := write(t, recording{events: []event.Event{opened(1, 0), opened(2, 10*time.Second)}, end: time.Minute})
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Options{Files: []string{path}, Speed: 1})
		f.Between(start.Add(5*time.Second).UnixNano(), 0)
		s, err := session.New(f, session.Options{})
		if err != nil {
			t.Fatal(err)
		}
		before := time.Now()
		if err := s.CatchUp(t.Context(), func(e *event.Event) error { t.Errorf("%+v shows", e); return nil }); err != nil {
			t.Fatal(err)
		}
		if !f.Now().Equal(start.Add(5*time.Second)) || s.Table().Totals().Established != 1 || !time.Now().Equal(before) {
			t.Errorf("at %v, %d connections, after %v", f.Now(), s.Table().Totals().Established, time.Since(before))
		}
	})
}

// TestSkipTo is for who has no use for steps.
func TestSkipTo(t *testing.T) {
	f := open(t, Options{Files: []string{write(t, recording{events: []event.Event{opened(1, time.Hour)}, end: time.Hour})}, Speed: 1})
	to := start.Add(90 * time.Second).UnixNano()
	for i, want := range []time.Duration{time.Minute, 90 * time.Second, 90 * time.Second} {
		if went := f.SkipTo(to, int64(time.Minute)); went != (i < 2) || f.Now().Sub(start) != want {
			t.Errorf("skip %d went on: %v, to %v", i, went, f.Now())
		}
	}
}

// TestFinish: a reader that stops is at the end, and knows the drift if it was there.
func TestFinish(t *testing.T) {
	drift := []event.Drift{{NetNS: 7, Births: 3}}
	path := write(t, recording{events: []event.Event{opened(1, 0), opened(2, 0)}, end: time.Minute, drift: drift})
	for _, tt := range []struct {
		reads int
		drift []event.Drift
	}{{1, nil}, {3, drift}} { // the third is a step towards the end record
		f := open(t, Options{Files: []string{path}})
		for range tt.reads {
			if err := f.Next(t.Context(), &event.Event{}); err != nil && err != session.ErrIdle {
				t.Fatal(err)
			}
		}
		f.Finish()
		if err := f.Next(t.Context(), &event.Event{}); err != io.EOF || !slices.Equal(f.Drift(), tt.drift) {
			t.Errorf("after %d: %v, drift %v, want %v", tt.reads, err, f.Drift(), tt.drift)
		}
	}
}

func TestMode(t *testing.T) {
	f := open(t, Options{Files: []string{write(t, recording{end: time.Second})}})
	for speed, want := range map[float64]string{0: "REPLAY 22:14:07", 1: "REPLAY 22:14:07 x1", 0.25: "REPLAY 22:14:07 x0.25"} {
		if f.SetSpeed(speed); f.Mode() != want || f.Speed() != speed {
			t.Errorf("%q at %v, want %q", f.Mode(), f.Speed(), want)
		}
	}
}

// TestLimits: those of each namespace that the recording has; where it has none, those
// of the start record are all there is to know.
func TestLimits(t *testing.T) {
	many := sessiontest.Limits(20000)
	path := write(t, recording{events: []event.Event{opened(1, 0)}, end: time.Second, limits: map[uint32]kernel.Limits{7: many, 9: sessiontest.Limits(500)}})
	f := open(t, Options{Files: []string{path}})
	if _, err := os.Stat(path); err != nil {
		t.Fatal(err)
	}
	readAll(t, f)
	if k, ok := f.Limits(7); !ok || k.UsablePorts() != 20000 {
		t.Errorf("%+v, %v", k, ok)
	}
	if ns, k, ok := f.Space(9); !ok || ns.Inum != 9 || k.UsablePorts() != 500 {
		t.Errorf("%+v, %+v, %v", ns, k, ok)
	}
	if _, ok := f.Limits(8); ok {
		t.Error("limits of an unknown namespace")
	}
	if all, read := f.AllLimits(); len(all) != 2 || !read.IsZero() || !slices.Equal(slices.Sorted(maps.Keys(all)), []uint32{7, 9}) {
		t.Errorf("%v, read %v", all, read)
	}
	if got := f.Remarks(start); got != nil {
		t.Errorf("remarks %q", got)
	}
	// What cannot be read is not known, and there is no end to what a file can say.
	f.learn([]record.Limits{{NetNS: []uint32{9, 10}, Sysctls: map[string]string{"net.ipv4.ip_local_port_range": "new"}}}, record.Read{})
	if k, _ := f.Limits(9); k.UsablePorts() != 500 || len(f.limits) != 2 {
		t.Errorf("%v", f.limits)
	}
	crowd := record.Limits{Sysctls: many.Map()}
	for i := range uint32(maxSpaces) {
		crowd.NetNS = append(crowd.NetNS, 1000+i)
	}
	crowd.NetNS = append(crowd.NetNS, 9)
	f.learn([]record.Limits{crowd}, record.Read{})
	if k, _ := f.Limits(9); len(f.limits) != maxSpaces || k.UsablePorts() != 20000 {
		t.Errorf("%d namespaces, %+v", len(f.limits), k)
	}

	f = open(t, Options{Files: []string{write(t, recording{end: time.Second})}})
	readAll(t, f)
	if k, ok := f.Limits(8); !ok || k.UsablePorts() != 1000 {
		t.Errorf("%+v, %v, want those of the start record", k, ok)
	}
	if got, want := f.Remarks(start), []string{"limits of one network namespace used for all"}; !slices.Equal(got, want) {
		t.Errorf("remarks %q, want %q", got, want)
	}
}

// TestStdin, and files without blocks, which have words of a later version here.
func TestStdin(t *testing.T) {
	const lines = `{"time":"2026-11-22T22:14:07Z","event":"start","version":"9","schema":1}
{"time":"2026-11-22T22:14:08Z","event":"open","cookie":"1","netns":7,"ip":4,"laddr":"10.0.0.7","lport":40001,"raddr":"10.2.0.9","rport":5432,"role":"client"}
{"time":"2026-11-22T22:14:09Z","event":"time_wait_exit","reason":"boredom","cookie":"1","netns":7,"ip":4,"laddr":"10.0.0.7","lport":40001,"raddr":"10.2.0.9","rport":5432}
{"time":"2026-11-22T22:14:10Z","event":"end","why":"signal"}
`
	var said []string
	f := open(t, Options{Files: []string{"-"}, Stdin: strings.NewReader(lines), Talk: func(format string, a ...any) { said = append(said, format) }})
	if _, ok := f.Limits(7); ok {
		t.Error("limits, and the file has none")
	}
	if all, _ := readAll(t, f); len(all) != 2 || f.Now().Sub(start) != 3*time.Second {
		t.Errorf("%v up to %v", all, f.Now())
	}
	if err := f.Damage(); err != nil || len(said) != 1 || !strings.Contains(said[0], "newer twtrace") {
		t.Errorf("%v, said %q", err, said)
	}
}

// TestDamage: what is wrong is listed, and read over.
func TestDamage(t *testing.T) {
	if _, err := Open(Options{Files: []string{filepath.Join(t.TempDir(), "none")}}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v, want %v", err, os.ErrNotExist)
	}
	var b strings.Builder
	b.WriteString(`{"time":"2026-11-22T22:14:07Z","event":"start","version":"1","schema":1}` + "\n")
	for range MaxDamage + 2 {
		b.WriteString("rubbish\n" + `{"time":"2026-11-22T22:14:08Z","event":"open","cookie":"1","netns":7,"ip":4,"laddr":"10.0.0.7","lport":40001,"raddr":"10.2.0.9","rport":5432}` + "\n")
	}
	f := open(t, Options{Files: []string{"-"}, Stdin: strings.NewReader(b.String())})
	losses := 0
	for {
		var e event.Event
		err := f.Next(t.Context(), &e)
		if errors.Is(err, io.EOF) {
			break
		}
		if err == nil && e.Kind == event.Lost {
			if losses++; e.Time < start.UnixNano() { // it has no time of its own
				t.Errorf("a loss at %v", time.Unix(0, e.Time))
			}
		}
	}
	if n := len(f.Damages()); n < MaxDamage+2 || losses == 0 {
		t.Fatalf("%d damages, %v, and %d losses", n, f.Damages(), losses)
	}
	err := f.Damage()
	if err == nil || strings.Count(err.Error(), "; ") != MaxDamage || !strings.Contains(err.Error(), "more") {
		t.Errorf("%v", err)
	}
	if f.Damages()[0].Lost = 99; f.reader.Damage[0].Lost == 99 {
		t.Error("a caller can change the damages")
	}
	// A torn one has no end record.
	f = open(t, Options{Files: []string{write(t, recording{events: []event.Event{opened(1, 0)}})}})
	readAll(t, f)
	if end, err := f.End(""); err != nil || end.Kind != event.KindNone {
		t.Errorf("%v, %v", end, err)
	}
}

// TestChanges: a sysctl that changed has both values, its namespace and its time; what is
// said again has not changed.
func TestChanges(t *testing.T) {
	f := open(t, Options{Files: []string{write(t, recording{end: time.Second})}})
	read := record.Read{At: start.Add(9 * time.Second), Before: start.Add(4 * time.Second)}
	learn := func(l kernel.Limits, read record.Read) {
		f.learn([]record.Limits{{NetNS: []uint32{7}, Names: map[uint32]string{7: "ux-web"}, Home: 9, Sysctls: l.Map()}}, read)
	}
	l := sessiontest.Limits(500)
	learn(l, record.Read{})
	l.TWReuse = 1
	learn(l, read)
	learn(l, record.Read{At: start.Add(time.Minute)})
	want := Change{At: read.At, After: read.Before, NetNS: 7, Name: "net.ipv4.tcp_tw_reuse", Before: "2", Value: "1"}
	if got := f.Changes(); len(got) != 1 || got[0] != want {
		t.Errorf("%+v, want %+v", got, want)
	}
	if ns, _, _ := f.Space(7); ns.Enter() != "ip netns exec ux-web " || f.NetNSName(7) != "ux-web" {
		t.Errorf("%+v, %q", ns, ns.Enter())
	}
	if ns, _, _ := f.Space(9); ns.Enter() != "" {
		t.Errorf("of the shell: %q", ns.Enter())
	}
	if ns, _, _ := f.Space(8); ns.Enter() != `nsenter --net=/proc/"$(lsns -nro PID 8 | head -n1)"/ns/net ` {
		t.Errorf("without a name: %q", ns.Enter())
	}
}
