package doctor

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

// replayed diagnoses a recording in windows of 10 s.
func replayed(t *testing.T, src *sessiontest.Source, fromNow bool) (*Doctor, error) {
	t.Helper()
	s, err := session.New(src, session.Options{Narrow: true})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	d := New(Options{Window: 10 * time.Second})
	return d, d.Replay(t.Context(), s, src, fromNow)
}

// recording is a storm, and minutes of nothing after it.
func recording(space uint32) *sessiontest.Source {
	src := storming(space)
	for i := range src.Events[:len(src.Events):len(src.Events)] {
		if e := src.Events[i]; e.Kind == event.TimeWaitEnter {
			e.Kind, e.Time, e.Reason = event.TimeWaitExit, e.Time+int64(time.Minute), event.Expired
			src.Events = append(src.Events, e)
		}
	}
	src.Until = src.From.Add(5 * time.Minute)
	src.Header = event.StartInfo{Host: "web-07", Kernel: "6.12.0"}
	return src
}

// TestReplay: the report is of the worst window, with its time, however quiet it was
// before and after.
func TestReplay(t *testing.T) {
	src := recording(7)
	src.Found = []event.Event{{Time: src.From.UnixNano(), Kind: event.Lost, Stage: event.StageMap, Count: 2}}
	src.Flaw = errFake
	d, err := replayed(t, src, false)
	if err != nil {
		t.Fatal(err)
	}
	r := &d.Report
	found := find(r, "TW101")
	if len(found) != 1 || found[0].Severity < event.Warn || found[0].Scope.Comm != "checkout" {
		t.Errorf("found %+v", found)
	}
	if after := r.Time.Sub(src.From); after < 10*time.Second || after > 70*time.Second {
		t.Errorf("the worst window ended after %v", after)
	}
	if r.Window != 10*time.Second || !r.Traced || r.Lost != 2 || !slices.Equal(inums(r.Spaces), []uint32{7}) {
		t.Errorf("window %v, traced %v, lost %d, spaces %v", r.Window, r.Traced, r.Lost, r.Spaces)
	}
	if r.Host != (kernel.Host{Hostname: "web-07", Release: "6.12.0"}) || !errors.Is(d.Damage, errFake) {
		t.Errorf("host %+v, damage %v", r.Host, d.Damage)
	}
}

// TestReplayQuiet: where nothing happened, the namespaces whose limits are known are in
// the report, and without any nothing is known.
func TestReplayQuiet(t *testing.T) {
	start := time.Date(2026, 11, 22, 22, 14, 7, 0, time.UTC)
	src := &sessiontest.Source{From: start, Until: start.Add(time.Second), ByNetNS: make(map[uint32]kernel.Limits)}
	if d, err := replayed(t, src, false); err == nil || !strings.Contains(err.Error(), "no limits") {
		t.Errorf("no limits: %v, %+v", err, d.Report.Findings)
	}
	for n := range uint32(maxReplayed + 2) {
		src.ByNetNS[n+1] = sessiontest.Limits(1000)
	}
	d, err := replayed(t, &sessiontest.Source{From: start, Until: start.Add(time.Second), ByNetNS: src.ByNetNS}, false)
	if err != nil || d.Report.Verdict() != "ok" || !slices.Equal(inums(d.Report.Spaces), []uint32{1, 2, 3, 4}) || d.Damage != nil {
		t.Errorf("%v, %s, %v, %v", err, d.Report.Verdict(), d.Report.Spaces, d.Damage)
	}
	if d.Report.Time != start.Add(time.Second) {
		t.Errorf("at %v", d.Report.Time)
	}
}

// TestReplayFromNow leaves out what was refused before the part that is asked for.
func TestReplayFromNow(t *testing.T) {
	for _, fromNow := range []bool{false, true} {
		src := recording(7)
		for i := range 10 {
			src.Events = slices.Insert(src.Events, 0, event.Event{Time: src.From.UnixNano(), Kind: event.TimeWaitRefused, NetNS: 7, Cookie: uint64(1000 + i),
				Role: event.Client, Local: src.Events[0].Local, Remote: src.Events[0].Remote})
		}
		src.Queued = 10
		src.Until = src.From.Add(time.Second)
		src.Events = src.Events[:12]
		d, err := replayed(t, src, fromNow)
		if err != nil {
			t.Fatal(err)
		}
		refused := find(&d.Report, "TW205")
		if bad := len(refused) == 1 && refused[0].Severity >= event.Warn; bad == fromNow {
			t.Errorf("from now %v: %+v", fromNow, refused)
		}
	}
}

// TestReplayFails: an error of the source is one of the diagnosis.
func TestReplayFails(t *testing.T) {
	src := recording(7)
	src.Fail = errFake
	if _, err := replayed(t, src, false); !errors.Is(err, errFake) {
		t.Errorf("read: %v", err)
	}
	src = recording(7)
	src.Fail, src.Queued = errFake, len(src.Events)+1
	if _, err := replayed(t, src, false); !errors.Is(err, errFake) {
		t.Errorf("read, from before: %v", err)
	}
	s, err := session.New(recording(7), session.Options{})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if err := New(Options{Window: time.Second}).Replay(ctx, s, recording(7), false); !errors.Is(err, context.Canceled) {
		t.Errorf("canceled: %v", err)
	}
}

// TestWorse orders reports by the worst finding, and then by how many of those have an
// owner.
func TestWorse(t *testing.T) {
	report := func(findings ...advice.Finding) *Report { return &Report{Findings: findings} }
	finding := func(s event.Severity, comm string) advice.Finding {
		return advice.Finding{Severity: s, Scope: advice.Scope{Comm: comm}}
	}
	ordered := []*Report{
		report(),
		report(finding(event.OK, "")),
		report(finding(event.Warn, ""), finding(event.OK, "a")),
		report(finding(event.Warn, "a"), finding(event.Warn, "")),
		report(finding(event.Warn, "a"), finding(event.Warn, "b")),
		report(finding(event.Crit, ""), finding(event.Warn, "a"), finding(event.Warn, "b")),
	}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := worse(a, b); got != (i > j) {
				t.Errorf("%d is worse than %d: %v", i, j, got)
			}
		}
	}
}
