package session_test

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

// writer keeps the records that a Printer writes, and how many of them each Flush found.
type writer struct {
	seen
	flushed []int
	fail    event.Kind // at which a write fails
	broken  error      // of Flush
	onFlush func()
}

var errWrite = errors.New("no space")

func (w *writer) Write(e *event.Event) error {
	if e.Kind == w.fail {
		return errWrite
	}
	return w.each(e)
}

func (w *writer) Flush() error {
	w.flushed = append(w.flushed, len(w.events))
	if w.onFlush != nil {
		w.onFlush()
	}
	return w.broken
}

// TestPrinter: the start record, what is a record of the others, and the end record.
func TestPrinter(t *testing.T) {
	src := &sessiontest.Source{From: start, Header: event.StartInfo{Host: "web1"}, Last: &event.EndInfo{Births: 1}, Events: []event.Event{
		of(checkout, 1, 0, event.Open), of(checkout, 1, time.Second, event.Parked), of(checkout, 1, time.Second, event.Listen), of(checkout, 1, 2*time.Second, event.TimeWaitEnter)}}
	s := newSession(t, src, session.Options{})
	var out writer
	var also seen
	p := session.Printer{Session: s, Out: &out, Also: func(e *event.Event) { _ = also.each(e) }}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []event.Kind{event.Start, event.Open, event.TimeWaitEnter, event.End}; !slices.Equal(out.kinds(), want) {
		t.Errorf("%v, want %v", out.kinds(), want)
	}
	if out.events[0].Start.Host != "web1" || out.events[3].End.Births != 1 {
		t.Errorf("start %+v, end %+v", out.events[0].Start, out.events[3].End)
	}
	if p.Printed != 2 || !slices.Equal(also.kinds(), []event.Kind{event.Open, event.TimeWaitEnter}) {
		t.Errorf("%d printed, also %v", p.Printed, also.kinds())
	}
	if !slices.Contains(out.flushed, 2) || out.flushed[len(out.flushed)-1] != 4 {
		t.Errorf("flushed after %v records", out.flushed)
	}
}

// TestPrinterNamed: records have the names of their network namespaces where they are
// shown, and not in a recording, which has them elsewhere.
func TestPrinterNamed(t *testing.T) {
	for _, named := range []bool{false, true} {
		web, other := of(checkout, 1, 0, event.Open), of(checkout, 2, 0, event.Open)
		web.NetNS, other.NetNS = 7, 8
		var out writer
		src := &sessiontest.Source{Names: map[uint32]string{7: "web"}, Events: []event.Event{web, other}}
		p := session.Printer{Session: newSession(t, src, session.Options{}), Out: &out, Named: named}
		if err := p.Run(t.Context()); err != nil || len(out.events) != 3 {
			t.Fatalf("%v, %v", out.kinds(), err)
		}
		if a, b := out.events[1].NetNSName, out.events[2].NetNSName; (a == "web") != named || b != "" {
			t.Errorf("named %v: names %q and %q", named, a, b)
		}
	}
}

// TestPrinterNoEnd: a recording that is torn has no end record.
func TestPrinterNoEnd(t *testing.T) {
	var out writer
	p := session.Printer{Session: newSession(t, &sessiontest.Source{Events: opened(checkout, 1)}, session.Options{}), Out: &out}
	if err := p.Run(t.Context()); err != nil || !slices.Equal(out.kinds(), []event.Kind{event.Start, event.Open}) || !slices.Equal(out.flushed, []int{2}) {
		t.Errorf("%v: %v, flushed after %v records", err, out.kinds(), out.flushed)
	}
	out.broken = errWrite
	p.Session = newSession(t, &sessiontest.Source{}, session.Options{})
	if err := p.Run(t.Context()); err != errWrite {
		t.Errorf("%v, want %v", err, errWrite)
	}
}

// TestPrinterCount: losses and what was there before do not count, and are printed
// after the last record too.
func TestPrinterCount(t *testing.T) {
	events := opened(checkout, 5)
	events[0].Kind = event.Snapshot
	events[2] = event.Event{Time: start.UnixNano(), Kind: event.Lost, Stage: event.StageRing, Count: 1}
	src := &faulty{Source: &sessiontest.Source{Events: events, Last: &event.EndInfo{},
		AtEnd: []event.Event{{Kind: event.Lost, Stage: event.StageMap, Count: 1}}}, limit: 1} // one more comes while it ends
	var out writer
	also := 0
	p := session.Printer{Session: newSession(t, src, session.Options{}), Out: &out, Left: 1, Also: func(*event.Event) { also++ }}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	if want := []event.Kind{event.Start, event.Snapshot, event.Open, event.Lost, event.Lost, event.End}; !slices.Equal(out.kinds(), want) {
		t.Errorf("%v, want %v", out.kinds(), want)
	}
	if p.Printed != 1 || also != 1 || out.events[len(out.events)-1].End.Why != "count" {
		t.Errorf("%d printed, %d also, ended by %q", p.Printed, also, out.events[len(out.events)-1].End.Why)
	}

	src = &faulty{Source: &sessiontest.Source{Events: opened(checkout, 3), Last: &event.EndInfo{}}, limit: 2}
	out = writer{}
	p = session.Printer{Session: newSession(t, src, session.Options{}), Out: &out, Left: 1}
	if err := p.Run(t.Context()); err != nil || p.Printed != 1 || src.limit != 0 || len(out.events) != 3 {
		t.Errorf("%v: %d printed, %d left, %v", err, p.Printed, src.limit, out.kinds())
	}
}

// TestPrinterFilter: Options.Print is what is printed of Options.Filter.
func TestPrinterFilter(t *testing.T) {
	events := append(opened(checkout, 1), of(curl, 2, 0, event.Open), of(checkout, 1, 0, event.TimeWaitEnter), event.Event{Time: start.UnixNano(), Kind: event.Lost, Count: 1})
	for name, tt := range map[string]struct {
		o    session.Options
		want []event.Kind
	}{
		"filter": {session.Options{Filter: parseComm(t, "curl")}, []event.Kind{event.Start, event.Open, event.Lost}},
		"print":  {session.Options{Print: &filter.Filter{Events: filter.Set[event.Kind]{Items: []event.Kind{event.TimeWaitEnter}}}}, []event.Kind{event.Start, event.TimeWaitEnter, event.Lost}},
	} {
		var out writer
		p := session.Printer{Session: newSession(t, &sessiontest.Source{Events: events}, tt.o), Out: &out}
		if err := p.Run(t.Context()); err != nil || !slices.Equal(out.kinds(), tt.want) {
			t.Errorf("%s: %v, %v, want %v", name, err, out.kinds(), tt.want)
		}
		if got := p.Session.Filter(); tt.o.Print != nil && got != tt.o.Print || tt.o.Print == nil && got != tt.o.Filter {
			t.Errorf("%s: the filter of the screen is %q", name, got)
		}
	}
}

func TestPrinterFails(t *testing.T) {
	source := func() *sessiontest.Source {
		return &sessiontest.Source{Events: opened(checkout, 1), Last: &event.EndInfo{}}
	}
	for _, kind := range []event.Kind{event.Start, event.Open, event.End} {
		p := session.Printer{Session: newSession(t, source(), session.Options{}), Out: &writer{fail: kind}}
		if err := p.Run(t.Context()); !errors.Is(err, errWrite) {
			t.Errorf("%v: %v, want %v", kind, err, errWrite)
		}
	}
	fault := errors.New("the source is broken")
	for name, src := range map[string]session.Source{"start": &faulty{Source: source(), start: fault}, "end": &faulty{Source: source(), end: fault}} {
		p := session.Printer{Session: newSession(t, src, session.Options{}), Out: &writer{}}
		if err := p.Run(t.Context()); err != fault {
			t.Errorf("%s: %v, want %v", name, err, fault)
		}
	}
}

// newJob is a command of a shell.
func newJob(t *testing.T, script string) (*session.Job, *bytes.Buffer) {
	t.Helper()
	var out bytes.Buffer
	j, err := session.NewJob([]string{"sh", "-c", script}, &out, &out)
	if err != nil {
		t.Fatal(err)
	}
	return j, &out
}

// runJob prints a trace of which only the job is the end, and returns how it ended.
func runJob(t *testing.T, j *session.Job, events ...event.Event) (*writer, error) {
	t.Helper()
	src := &sessiontest.Source{From: start, Events: events, Until: start.Add(1e5 * time.Hour), Last: &event.EndInfo{}}
	s := newSession(t, src, session.Options{Job: j})
	out := &writer{onFlush: runtime.Gosched}
	p := session.Printer{Session: s, Out: out}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	return out, j.End()
}

// TestJob: the trace ends with its command, by whose exit code the program exits.
func TestJob(t *testing.T) {
	for script, code := range map[string]int{"echo $0": 0, "exit 7": 7, "kill -9 $$": session.ExitKilled + 9} {
		j, said := newJob(t, script)
		out, err := runJob(t, j, of(checkout, 1, 0, event.Open), of(checkout, 1, time.Second, event.TimeWaitEnter))
		var exit *session.ExitError
		if code == 0 {
			if err != nil || said.String() != "sh\n" {
				t.Errorf("%s: %v, said %q", script, err, said)
			}
		} else if !errors.As(err, &exit) || exit.Code != code || exit.Error() != "" {
			t.Errorf("%s: %#v, want exit code %d", script, err, code)
		}
		if last := out.events[len(out.events)-1]; last.Kind != event.End || last.End.Why != "command" {
			t.Errorf("%s: the last record is %v", script, last)
		}
		if out.flushed[0] != 1 {
			t.Errorf("%s: %d records were out before the command started", script, out.flushed[0])
		}
	}
}

// TestJobLeavesConnections: the trace goes on for those that a command has left.
func TestJobLeavesConnections(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	j, err := session.NewJob([]string{"true"}, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	src := &sessiontest.Source{Events: append(opened(checkout, 1), of(checkout, 1, time.Hour, event.TimeWaitEnter)), Until: start.Add(1e5 * time.Hour), Last: &event.EndInfo{}}
	out := &writer{}
	out.onFlush = func() {
		if len(out.events) == 2 && w != nil { // the first pause
			w.Close()
			if n, _ := r.Read(make([]byte, 1)); n != 0 { // until the command has ended
				t.Error("true says something")
			}
			w = nil
		}
		runtime.Gosched()
	}
	p := session.Printer{Session: newSession(t, src, session.Options{Job: j}), Out: out}
	if err := errors.Join(p.Run(t.Context()), j.End()); err != nil {
		t.Fatal(err)
	}
	if want := []event.Kind{event.Start, event.Open, event.TimeWaitEnter, event.End}; !slices.Equal(out.kinds(), want) || out.events[3].End.Why != "command" {
		t.Errorf("%v, want %v", out.kinds(), want)
	}
}

// TestJobMissing: exit codes as shells have them.
func TestJobMissing(t *testing.T) {
	dir := t.TempDir()
	text, garbage := filepath.Join(dir, "text"), filepath.Join(dir, "garbage")
	if err := errors.Join(os.WriteFile(text, []byte("text"), 0o600), os.WriteFile(garbage, []byte("\x00\x01"), 0o700)); err != nil {
		t.Fatal(err)
	}
	var exit *session.ExitError
	for path, code := range map[string]int{filepath.Join(dir, "nothing"): session.ExitNotFound, "no-such-command-here": session.ExitNotFound,
		text: session.ExitNoExec, dir: session.ExitNoExec} {
		_, err := session.NewJob([]string{path}, nil, nil)
		if !errors.As(err, &exit) || exit.Code != code || !strings.HasPrefix(exit.Msg, "run "+path+": ") {
			t.Errorf("%s: %v, want exit code %d", path, err, code)
		}
	}
	j, err := session.NewJob([]string{garbage}, nil, nil) // the kernel alone knows
	if err != nil {
		t.Fatal(err)
	}
	var out writer
	p := session.Printer{Session: newSession(t, &sessiontest.Source{}, session.Options{Job: j}), Out: &out}
	if err := p.Run(t.Context()); !errors.As(err, &exit) || exit.Code != session.ExitNoExec || exit.Msg == "" || len(out.events) != 1 {
		t.Errorf("%v after %v, want exit code %d after the start record", err, out.kinds(), session.ExitNoExec)
	}
	if err := j.End(); err != nil {
		t.Errorf("the end of a command that never started: %v", err)
	}
}

// TestJobOutlivesTrace: a trace that ends first ends its command, and has no exit code
// of it.
func TestJobOutlivesTrace(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	j, err := session.NewJob([]string{"sh", "-c", "trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.01; done"}, w, nil)
	if err != nil {
		t.Fatal(err)
	}
	src := &sessiontest.Source{From: start, Until: start.Add(time.Second), Last: &event.EndInfo{}}
	p := session.Printer{Session: newSession(t, src, session.Options{Job: j}), Out: &writer{}}
	if err := p.Run(t.Context()); err != nil {
		t.Fatal(err)
	}
	w.Close()
	up := make([]byte, 3)
	if _, err := r.Read(up); err != nil || string(up) != "up\n" {
		t.Fatalf("%q, %v", up, err)
	}
	if err := j.End(); err != nil {
		t.Errorf("%v, want no exit code", err)
	}
	rest := make([]byte, 16)
	if n, _ := r.Read(rest); string(rest[:n]) != "term\n" {
		t.Errorf("it said %q", rest[:n])
	}
}
