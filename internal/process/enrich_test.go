package process

import (
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// told is a process as a hook would tell of it.
func told(pid uint32, comm string, start uint64) event.Proc {
	return event.Proc{PID: pid, Comm: comm, Who: &event.Who{Start: start, HasUID: true, UID: 7, PPID: 3, PComm: "sh"}}
}

func TestEnrich(t *testing.T) {
	f := newFixture(t, 0)
	f.process(10, "nginx", 100)
	n := NewEnricher(f.Resolver)
	lives, gone, bare := told(10, "nginx", 100), told(11, "curl", 100), event.Proc{PID: 10, Comm: "nginx"}
	e := event.Event{Opener: lives, CloseProc: gone, Process: bare}
	if !n.Complete(&e) || e.Opener != lives || e.CloseProc != gone {
		t.Errorf("before the worker: %+v", e)
	}
	f.start()
	f.answered()
	f.answered()
	if n.Complete(&e) {
		t.Error("more is coming than was asked for")
	}
	want := event.Who{Start: 100, HasUID: true, UID: 7, PPID: 3, PComm: "sh",
		Exe: "/usr/bin/nginx", Cgroup: "/system.slice/nginx.service", Unit: "nginx.service"}
	if *e.Opener.Who != want {
		t.Errorf("got  %+v\nwant %+v", *e.Opener.Who, want)
	}
	if got := *e.CloseProc.Who; got != *gone.Who {
		t.Errorf("the one that is gone is %+v, want %+v", got, *gone.Who)
	}
	if e.Process != bare {
		t.Errorf("a process of which no start is known became %+v", e.Process)
	}
	again := event.Event{Opener: lives, Process: e.Opener, CloseProc: gone}
	if n.Complete(&again) || again.Opener != e.Opener || again.Process != e.Opener {
		t.Errorf("the next event has %+v", again)
	}
	if names := n.Names(); names != (Names{Gone: 1}) {
		t.Errorf("counts: %+v", names)
	}
	if again := testing.AllocsPerRun(100, func() { n.Complete(&e) }); again != 0 {
		t.Errorf("%v allocations for processes that are known", again)
	}
}

// TestEnrichReusedPID: whoever has the pid now lends nothing to who had it before.
func TestEnrichReusedPID(t *testing.T) {
	f := newFixture(t, 0).start()
	f.process(10, "later", 200)
	n := NewEnricher(f.Resolver)
	first, second := event.Event{Opener: told(10, "first", 100)}, event.Event{Opener: told(10, "later", 200)}
	for n.Complete(&first) || n.Complete(&second) {
		f.answered()
	}
	if w := first.Opener.Who; w.Exe != "" || w.Unit != "" {
		t.Errorf("the first has what is the later one's: %+v", w)
	}
	if w := second.Opener.Who; w.Exe != "/usr/bin/later" {
		t.Errorf("the later one is %+v", w)
	}
}

// TestEnrichThrottled: a process that was not looked up is counted once, and asked
// for again.
func TestEnrichThrottled(t *testing.T) {
	f := newFixture(t, 0)
	f.Resolver.budget = budget{burst: readBurst, perSecond: readsPerSecond, last: f.Resolver.now()}
	f.process(10, "nginx", 100)
	n := NewEnricher(f.Resolver)
	opener := told(10, "nginx", 100)
	for range 3 {
		e := event.Event{Opener: opener}
		if n.Complete(&e) {
			t.Fatal("an answer is said to come to a question that was not asked")
		}
	}
	if names := n.Names(); names != (Names{Throttled: 1}) {
		t.Errorf("counts: %+v", names)
	}
	f.pass(shortLived)
	f.start()
	e := event.Event{Opener: opener}
	for n.Complete(&e) {
		f.answered()
	}
	if e.Opener.Who.Exe == "" {
		t.Errorf("it is %+v when there is time again", e.Opener.Who)
	}
}

func BenchmarkComplete(b *testing.B) {
	r := NewResolver(Options{})
	defer r.Stop()
	n := NewEnricher(r)
	e := event.Event{Opener: told(1<<22, "gone", 100), CloseProc: told(1<<22+1, "too", 100)}
	for n.Complete(&e) {
		<-r.Answered()
	}
	b.ReportAllocs()
	for b.Loop() {
		n.Complete(&e)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
