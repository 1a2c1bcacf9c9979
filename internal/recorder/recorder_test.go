package recorder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest/terminal"
	"github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

const testNetNS = 4026531840

var errFake = errors.New("it is broken")

var (
	start  = time.Date(2026, 11, 22, 22, 14, 7, 0, time.UTC)
	server = netip.MustParseAddrPort("10.2.0.9:5432")
)

// must fails the test at once.
func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// about is an event of a connection, so long after the start.
func about(kind event.Kind, cookie uint64, after time.Duration) event.Event {
	return event.Event{Time: start.Add(after).UnixNano(), Kind: kind, NetNS: testNetNS, Cookie: cookie, Role: event.Client,
		Local: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), 40000+uint16(cookie)), Remote: server,
		Opener: event.Proc{PID: 4242, Comm: "checkout"}}
}

// fact is about, as of before the trace: the state of a socket.
func fact(state event.State, cookie uint64) event.Event {
	e := about(event.Snapshot, cookie, 0)
	e.New = state
	return e
}

// source has so many starts of TIME_WAIT, one each 100 ms.
func source(n int) *sessiontest.Source {
	src := &sessiontest.Source{From: start, ByNetNS: map[uint32]kernel.Limits{testNetNS: sessiontest.Limits(1000)},
		Header: event.StartInfo{Version: "1.2", Host: "web-07", Limits: map[string]string{"a": "1"}}, Last: &event.EndInfo{Why: "over", Births: 7}}
	for i := range n {
		src.Events = append(src.Events, about(event.TimeWaitEnter, uint64(i+1), time.Duration(i+1)*100*time.Millisecond))
	}
	return src
}

// said are the lines of a session.
type said []string

func (s *said) talk(format string, a ...any) { *s = append(*s, fmt.Sprintf(format, a...)) }

// open starts a session over src that says what it says.
func open(t *testing.T, src session.Source, o session.Options) (*session.Session, *said) {
	t.Helper()
	s := &said{}
	o.Talk = s.talk
	ses, err := session.New(src, o)
	must(t, err)
	t.Cleanup(ses.Close)
	return ses, s
}

// read returns the records of files, with their limits and their end record.
func read(t *testing.T, names ...string) (events []event.Event, limits []record.Limits, end *event.Event) {
	t.Helper()
	r, err := record.Open(names, nil)
	must(t, err)
	defer r.Close()
	r.OnLimits = func(l []record.Limits, _ record.Read) { limits = l }
	for {
		var e event.Event
		err := r.Read(&e)
		if errors.Is(err, io.EOF) {
			break
		}
		must(t, err)
		events = append(events, e)
	}
	if len(r.Damage) > 0 {
		t.Errorf("damage: %v", r.Damage)
	}
	return events, limits, r.End()
}

// files are those of a directory, in their order.
func files(t *testing.T, dir string) (names []string) {
	t.Helper()
	list, err := os.ReadDir(dir)
	must(t, err)
	for _, f := range list {
		names = append(names, filepath.Join(dir, f.Name()))
	}
	return names
}

func cookies(events []event.Event, kind event.Kind) (out []uint64) {
	for _, e := range events {
		if e.Kind == kind {
			out = append(out, e.Cookie)
		}
	}
	return out
}

// TestRun: a file has the start, the limits, what was there before, the records, and
// the end.
func TestRun(t *testing.T) {
	src := source(3)
	waiting := fact(event.TimeWait, 50)
	src.Before = []event.Event{fact(event.Established, 40), fact(event.FinWait2, 41), waiting}
	src.Events = append([]event.Event{waiting}, src.Events...)
	src.Queued = 1
	parked := about(event.Parked, 60, 350*time.Millisecond)
	changed := about(event.Listen, 61, 340*time.Millisecond) // no record
	src.Events = append(src.Events, changed, parked)
	src.ByNetNS[8] = sessiontest.Limits(500)
	src.Only = []uint32{testNetNS}
	s, said := open(t, src, session.Options{})
	path := filepath.Join(t.TempDir(), "t.ndjson.zst")
	must(t, New(s, Options{}).Run(t.Context(), record.Options{Path: path}))

	events, limits, end := read(t, path)
	if got := cookies(events, event.TimeWaitEnter); !slices.Equal(got, []uint64{1, 2, 3}) {
		t.Errorf("starts of %v", got)
	}
	if got := cookies(events, event.Parked); !slices.Equal(got, []uint64{60}) {
		t.Errorf("parked: %v", got)
	}
	if got := cookies(events, event.Listen); got != nil {
		t.Errorf("listeners: %v", got)
	}
	before := cookies(events, event.Snapshot)
	slices.Sort(before)
	if !slices.Equal(before, []uint64{40, 41, 50}) {
		t.Errorf("from before: %v", before)
	}
	for _, e := range events {
		if e.Kind == event.Snapshot && e.Cookie != 50 && (e.Time != start.UnixNano() || e.New == event.TimeWait) {
			t.Errorf("from before: %+v", e)
		}
	}
	want := sessiontest.Limits(1000)
	if len(limits) != 1 || !slices.Equal(limits[0].NetNS, []uint32{testNetNS}) || limits[0].Sysctls["net.ipv4.ip_local_port_range"] != want.Map()["net.ipv4.ip_local_port_range"] {
		t.Errorf("limits %+v", limits)
	}
	if end == nil || end.End.Births != 7 {
		t.Errorf("end %+v", end)
	}
	if len(*said) != 1 || !strings.Contains((*said)[0], " KiB in 1 file, 0 lost") {
		t.Errorf("it said %q", *said)
	}
}

// TestRunFiltered: what the user did not ask for is not in the file, from before neither.
func TestRunFiltered(t *testing.T) {
	src := source(3)
	other := fact(event.Established, 40)
	other.Remote = netip.MustParseAddrPort("10.2.0.9:80")
	src.Before = []event.Event{other, fact(event.Established, 41)}
	src.Events[1].Remote = other.Remote
	src.Events = append(src.Events, about(event.Parked, 60, time.Second), about(event.Parked, 61, time.Second))
	src.Events[3].Remote = other.Remote
	f := &filter.Filter{RPorts: filter.Set[filter.Ports]{Items: []filter.Ports{{First: 5432, Last: 5432}}}}
	s, _ := open(t, src, session.Options{Filter: f})
	path := filepath.Join(t.TempDir(), "t.ndjson.zst")
	must(t, New(s, Options{}).Run(t.Context(), record.Options{Path: path}))
	events, _, _ := read(t, path)
	for kind, want := range map[event.Kind][]uint64{event.TimeWaitEnter: {1, 3}, event.Snapshot: {41}, event.Parked: {61}} {
		if got := cookies(events, kind); !slices.Equal(got, want) {
			t.Errorf("%v of %v, want %v", kind, got, want)
		}
	}
}

// TestCount ends the recording with its last record, and with its end record.
func TestCount(t *testing.T) {
	src := source(20)
	s, _ := open(t, src, session.Options{})
	path := filepath.Join(t.TempDir(), "t.ndjson.zst")
	must(t, New(s, Options{Count: 5}).Run(t.Context(), record.Options{Path: path}))
	events, _, end := read(t, path)
	if got := cookies(events, event.TimeWaitEnter); len(got) != 5 || end == nil || end.End.Why != "count" {
		t.Errorf("%v, end %+v", got, end)
	}
}

// TestNoEnd: a source that has no end record leaves a file that has none.
func TestNoEnd(t *testing.T) {
	src := source(2)
	src.Last = nil
	s, _ := open(t, src, session.Options{})
	path := filepath.Join(t.TempDir(), "t.ndjson.zst")
	must(t, New(s, Options{}).Run(t.Context(), record.Options{Path: path}))
	if events, _, end := read(t, path); len(events) != 2 || end != nil {
		t.Errorf("%d records, end %+v", len(events), end)
	}
}

// TestJob starts the command once the file is there, and fails with it.
func TestJob(t *testing.T) {
	dir := t.TempDir()
	path, seen := filepath.Join(dir, "t.ndjson.zst"), filepath.Join(dir, "seen")
	job, err := session.NewJob([]string{"cp", path, seen}, io.Discard, io.Discard)
	must(t, err)
	src := source(0)
	src.Until = start.Add(1e6 * time.Hour) // the end of the command ends it
	s, _ := open(t, src, session.Options{Job: job})
	must(t, New(s, Options{}).Run(t.Context(), record.Options{Path: path}))
	must(t, job.End())
	if info, err := os.Stat(seen); err != nil || info.Size() == 0 {
		t.Errorf("the command saw %v, %v", info, err)
	}
	if _, _, end := read(t, path); end == nil || end.End.Why != "command" {
		t.Errorf("end %+v", end)
	}
}

// torn is a stdout that takes so many bytes.
type torn struct{ room int }

func (w *torn) Write(b []byte) (int, error) {
	if w.room -= len(b); w.room < 0 {
		return 0, errFake
	}
	return len(b), nil
}

// TestRunFails: each error is reported once, and the session is over.
func TestRunFails(t *testing.T) {
	dir := t.TempDir()
	there := filepath.Join(dir, "there")
	must(t, os.WriteFile(there, nil, 0o600))
	for name, tt := range map[string]struct {
		src    func(*sessiontest.Source) session.Source
		o      record.Options
		before int // sockets from before
		want   func(error) bool
	}{
		"no directory":      {o: record.Options{Path: filepath.Join(dir, "no", "t")}, want: func(err error) bool { return errors.Is(err, os.ErrNotExist) }},
		"the file is there": {o: record.Options{Path: there}, want: func(err error) bool { return errors.Is(err, os.ErrExist) }},
		"no room": {o: record.Options{Path: filepath.Join(dir, "room"), MinFree: 1 << 62}, want: func(err error) bool {
			var no *record.NoRoomError
			return errors.As(err, &no) && strings.Count(err.Error(), "--min-free") == 1
		}},
		"the writer, late": {o: record.Options{Path: "-", Stdout: &torn{room: 4096}}, want: func(err error) bool {
			return errors.Is(err, errFake) && strings.Count(err.Error(), errFake.Error()) == 1
		}},
		"the writer, from before": {before: 20000, o: record.Options{Path: "-", Stdout: &torn{room: 4096}}, want: func(err error) bool { return errors.Is(err, errFake) }},
		"the source": {src: func(s *sessiontest.Source) session.Source { s.Fail = errFake; return s }, o: record.Options{Path: filepath.Join(dir, "source")},
			want: func(err error) bool { return errors.Is(err, errFake) }},
		"the start": {src: func(s *sessiontest.Source) session.Source { return broken{s, errFake, nil} }, o: record.Options{Path: filepath.Join(dir, "start")},
			want: func(err error) bool { return errors.Is(err, errFake) }},
		"the end": {src: func(s *sessiontest.Source) session.Source { return broken{s, nil, errFake} }, o: record.Options{Path: filepath.Join(dir, "end")},
			want: func(err error) bool { return errors.Is(err, errFake) }},
	} {
		fake := source(20000)
		for i := range tt.before {
			fake.Before = append(fake.Before, fact(event.Established, uint64(100000+i)))
		}
		var src session.Source = fake
		if tt.src != nil {
			src = tt.src(fake)
		}
		s, _ := open(t, src, session.Options{})
		if err := New(s, Options{}).Run(t.Context(), tt.o); !tt.want(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	// What was written until then can be read.
	if events, _, end := read(t, filepath.Join(dir, "source")); len(events) != 20000 || end != nil {
		t.Errorf("%d records, end %+v", len(events), end)
	}
}

// broken is a source whose start or end cannot be known.
type broken struct {
	*sessiontest.Source
	start, end error
}

func (b broken) Start() (event.Event, error) {
	e, _ := b.Source.Start()
	return e, b.start
}

func (b broken) End(why string) (event.Event, error) {
	e, _ := b.Source.End(why)
	return e, b.end
}

// at returns a witness that does something before the nth event is written. The events
// before it are.
func at(does map[int]func()) func(*event.Event) {
	n := 0
	return func(*event.Event) {
		if n++; does[n] != nil {
			does[n]()
		}
	}
}

// TestSignals: SIGUSR1 prints the counters, SIGUSR2 writes what was collected, SIGHUP
// goes on in a new file if the old one was renamed, and else not.
func TestSignals(t *testing.T) {
	dir := t.TempDir()
	path, old := filepath.Join(dir, "t.ndjson.zst"), filepath.Join(dir, "old")
	signals := make(chan os.Signal, 8)
	var flushed int64
	s, said := open(t, source(40), session.Options{Witness: at(map[int]func(){
		5:  func() { signals <- unix.SIGUSR1 },
		10: func() { signals <- unix.SIGHUP },
		15: func() { signals <- unix.SIGUSR2 },
		20: func() {
			info, err := os.Stat(path)
			must(t, err)
			flushed = info.Size()
			must(t, os.Rename(path, old))
			signals <- unix.SIGHUP
		},
	})})
	first := int64(0)
	r := New(s, Options{Signals: signals})
	src := s.Source.(*sessiontest.Source)
	src.Found = []event.Event{{Time: start.UnixNano(), Kind: event.Lost, Stage: event.StageRing, Count: 1234}}
	must(t, r.Run(t.Context(), record.Options{Path: path}))
	if info, err := os.Stat(old); err != nil || info.Size() < flushed {
		t.Errorf("%v, %v; flushed %d", info, err, flushed)
	} else {
		first = info.Size()
	}
	if flushed == 0 || first == flushed {
		t.Errorf("%d bytes after SIGUSR2, %d in the end", flushed, first)
	}
	if len(*said) != 3 || !strings.Contains((*said)[0], "7 records, ") && !strings.Contains((*said)[0], "6 records, ") || !strings.HasSuffix((*said)[0], "1,234 lost") ||
		(*said)[1] != "SIGHUP: file not renamed; still writing to it" || !strings.Contains((*said)[2], " in 2 files") {
		t.Errorf("it said %q", *said)
	}
	one, _, _ := read(t, old)
	two, _, end := read(t, path)
	if n := len(cookies(one, event.TimeWaitEnter)); n < 19 || n > 20 || n+len(cookies(two, event.TimeWaitEnter)) != 40 || end == nil {
		t.Errorf("%d records in the first, %d in the second, end %+v", n, len(two), end)
	}
	if all, _, _ := read(t, path, old); len(cookies(all, event.TimeWaitEnter)) != 40 {
		t.Errorf("%d records in both", len(all))
	}
}

// TestSignalFails: a file that cannot be opened anew ends the recording.
func TestSignalFails(t *testing.T) {
	parent := t.TempDir()
	dir := filepath.Join(parent, "gone")
	must(t, os.Mkdir(dir, 0o755))
	path := filepath.Join(dir, "t.ndjson.zst")
	signals := make(chan os.Signal, 8)
	s, _ := open(t, source(10), session.Options{Witness: at(map[int]func(){
		5: func() {
			must(t, errors.Join(os.Rename(path, filepath.Join(parent, "old")), os.Remove(dir)))
			signals <- unix.SIGHUP
		},
	})})
	if err := New(s, Options{Signals: signals}).Run(t.Context(), record.Options{Path: path}); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("%v", err)
	}
	if events, _, _ := read(t, filepath.Join(parent, "old")); len(events) < 4 {
		t.Errorf("%d records", len(events))
	}
}

// TestRotates: each file that is full is followed by another, and the oldest are deleted.
func TestRotates(t *testing.T) {
	dir := t.TempDir()
	signals := make(chan os.Signal, 64)
	s, said := open(t, source(30), session.Options{Witness: func(*event.Event) { signals <- unix.SIGUSR2 }})
	must(t, New(s, Options{Signals: signals}).Run(t.Context(), record.Options{Path: filepath.Join(dir, "t.ndjson.zst"), Size: 1, Keep: 3}))
	names := files(t, dir)
	events, limits, end := read(t, names...)
	got := cookies(events, event.TimeWaitEnter)
	if len(names) != 3 || len(got) < 3 || len(got) >= 30 || got[len(got)-1] != 30 || end == nil || len(limits) == 0 {
		t.Errorf("%d files with %v, limits %v, end %+v", len(names), got, limits, end)
	}
	if last := (*said)[len(*said)-1]; strings.Contains(last, " 3 files") || !strings.Contains(last, " files, ") {
		t.Errorf("it said %q", last)
	}
}

// TestFlight: the last part is written when a storm starts, or on SIGUSR2, and not else.
func TestFlight(t *testing.T) {
	storm := about(event.StormStart, 0, 0)
	storm.Storm = event.NewStorm()
	for _, tt := range []struct {
		name  string
		found []event.Event
		sig   os.Signal
		says  string // "" if nothing is written
	}{
		{name: "nothing"},
		{name: "storm", found: []event.Event{storm}, says: "storm started: writing the last part to "},
		{name: "signal", sig: unix.SIGUSR2, says: "SIGUSR2: writing the last part to "},
	} {
		t.Run(tt.name, func(t *testing.T) {
			dir := t.TempDir()
			signals := make(chan os.Signal, 8)
			src := source(10)
			s, said := open(t, src, session.Options{Witness: at(map[int]func(){5: func() {
				if tt.sig != nil {
					signals <- tt.sig
				}
				src.Found = tt.found
			}})})
			must(t, New(s, Options{Signals: signals}).Run(t.Context(), record.Options{Path: filepath.Join(dir, "t.ndjson.zst"), Ring: time.Hour, After: time.Hour}))
			names := files(t, dir)
			if tt.says == "" {
				if len(names) != 0 || len(*said) != 1 || !strings.HasSuffix((*said)[0], " KiB in memory") {
					t.Errorf("files %v; it said %q", names, *said)
				}
				return
			}
			if len(names) != 1 || (*said)[0] != tt.says+names[0] || !strings.Contains((*said)[1], "0 KiB in memory") {
				t.Fatalf("files %v; it said %q", names, *said)
			}
			events, _, _ := read(t, names...)
			if got := cookies(events, event.TimeWaitEnter); len(got) != 10 {
				t.Errorf("starts of %v", got)
			}
			if got := len(cookies(events, event.StormStart)); got != len(tt.found) {
				t.Errorf("%d storms", got)
			}
		})
	}
}

// TestFlightFails: what cannot be written is an error then.
func TestFlightFails(t *testing.T) {
	dir := t.TempDir()
	signals := make(chan os.Signal, 1)
	s, said := open(t, source(10), session.Options{Witness: at(map[int]func(){5: func() { signals <- unix.SIGUSR2 }})})
	err := New(s, Options{Signals: signals}).Run(t.Context(), record.Options{Path: filepath.Join(dir, "t"), Ring: time.Hour, MinFree: 1 << 62})
	var no *record.NoRoomError
	if !errors.As(err, &no) || len(files(t, dir)) != 0 || len(*said) != 1 {
		t.Errorf("%v, %v, %q", err, files(t, dir), *said)
	}
}

// TestLimitsAgain: limits that were read again are in the file from then on.
func TestLimitsAgain(t *testing.T) {
	src := &moving{Source: source(10)}
	signals := make(chan os.Signal, 8)
	s, _ := open(t, src, session.Options{Witness: at(map[int]func(){5: func() {
		signals <- unix.SIGUSR2
		src.read = start.Add(time.Second)
		src.ByNetNS = map[uint32]kernel.Limits{testNetNS: sessiontest.Limits(77)}
	}})})
	path := filepath.Join(t.TempDir(), "t.ndjson.zst")
	must(t, New(s, Options{Signals: signals}).Run(t.Context(), record.Options{Path: path}))
	want := sessiontest.Limits(77)
	if _, limits, _ := read(t, path); len(limits) != 1 || limits[0].Sysctls["net.ipv4.ip_local_port_range"] != want.Map()["net.ipv4.ip_local_port_range"] {
		t.Errorf("the last limits are %+v", limits)
	}
}

// moving is a source whose limits change.
type moving struct {
	*sessiontest.Source
	read time.Time
}

func (m *moving) AllLimits() (map[uint32]kernel.Limits, time.Time) { return m.ByNetNS, m.read }

// TestProgress shows how it goes on a terminal, once a second, and takes the line away
// before another.
func TestProgress(t *testing.T) {
	pty := terminal.Open(t)
	s, said := open(t, source(0), session.Options{})
	r := New(s, Options{Stderr: pty.Slave})
	now := time.Now()
	first, err := s.Start()
	must(t, err)
	r.w, err = record.NewWriter(record.Options{Path: filepath.Join(t.TempDir(), "t")}, &first, now)
	must(t, err)
	must(t, r.tend()) // the first: no rate is known
	if r.dirty {
		t.Error("a line is shown at once")
	}
	e := about(event.TimeWaitEnter, 1, 0)
	for range 2500 {
		must(t, r.record(&e))
	}
	r.shown = r.shown.Add(-time.Second)
	at := r.shown.Add(2 * time.Second)
	r.progress(at)
	pty.Await(" KiB in 1 file, 0 lost, 1,250/s")
	if got := pty.Text(); !strings.HasPrefix(got, "2,501 records, ") {
		t.Errorf("the line is %q", got)
	}
	r.progress(at.Add(time.Second))
	pty.Await("0 lost, 0/s")
	must(t, r.signal(unix.SIGUSR1))
	pty.Until("the line is gone", func() bool { return strings.TrimSpace(pty.Text()) == "" })
	if len(*said) != 1 || r.dirty {
		t.Errorf("it said %q", *said)
	}
	must(t, r.w.Close(nil))
}

// TestWords: one file, and more.
func TestWords(t *testing.T) {
	s, _ := open(t, source(0), session.Options{})
	r := New(s, Options{})
	for n, want := range map[int]string{0: " in 0 files, ", 1: " in 1 file, ", 2: " in 2 files, ", 11: " in 11 files, "} {
		if got := r.words(record.Stats{Records: 1234, Bytes: 1025, Files: n}); !strings.Contains(got, want) || !strings.HasPrefix(got, "1,234 records, 2 KiB") {
			t.Errorf("%d files: %q", n, got)
		}
	}
}

// TestNoProgress: what is no terminal gets no line.
func TestNoProgress(t *testing.T) {
	file, err := os.Create(filepath.Join(t.TempDir(), "stderr"))
	must(t, err)
	defer file.Close()
	var buffer bytes.Buffer
	for name, w := range map[string]io.Writer{"a file": file, "a buffer": &buffer, "nothing": nil} {
		s, _ := open(t, source(0), session.Options{})
		r := New(s, Options{Stderr: w})
		first, err := s.Start()
		must(t, err)
		r.w, err = record.NewWriter(record.Options{Path: "-", Stdout: io.Discard}, &first, time.Now())
		must(t, err)
		r.progress(time.Now())
		r.progress(time.Now().Add(time.Second))
		if r.clearLine(); r.dirty {
			t.Errorf("%s has a line", name)
		}
		must(t, r.w.Close(nil))
	}
	if info, err := file.Stat(); err != nil || info.Size()+int64(buffer.Len()) != 0 {
		t.Errorf("%d and %d bytes, %v", info.Size(), buffer.Len(), err)
	}
}
