package process

import (
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// seen is a process as a hook would report it.
func seen(pid uint32, comm string, start uint64) event.Proc {
	return event.Proc{PID: pid, Comm: comm, Who: &event.Who{Start: start, HasUID: true, UID: 7, PPID: 3, PComm: "sh"}}
}

func TestEnrich(t *testing.T) {
	f := newFixture(t, 0)
	f.process(10, "nginx", 100)
	n := NewEnricher(f.Resolver)
	lives, gone, bare := seen(10, "nginx", 100), seen(11, "curl", 100), event.Proc{PID: 10, Comm: "nginx"}
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
		t.Errorf("a process without a start time became %+v", e.Process)
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
	first, second := event.Event{Opener: seen(10, "first", 100)}, event.Event{Opener: seen(10, "later", 200)}
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

// TestEnrichThrottled: a process that nothing looked up counts once, and is asked
// for again.
func TestEnrichThrottled(t *testing.T) {
	f := newFixture(t, 0)
	f.Resolver.budget = budget{burst: readBurst, perSecond: readsPerSecond, last: f.Resolver.now()}
	f.process(10, "nginx", 100)
	n := NewEnricher(f.Resolver)
	opener := seen(10, "nginx", 100)
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

// TestLate: a process whose answer took too long counts once, whatever its events.
func TestLate(t *testing.T) {
	f := newFixture(t, 0)
	f.process(10, "nginx", 100)
	f.process(11, "curl", 100)
	n := NewEnricher(f.Resolver)
	e := event.Event{Opener: seen(10, "nginx", 100), Process: event.Proc{PID: 10, Comm: "nginx"}}
	if !n.Complete(&e) {
		t.Fatal("no more is coming")
	}
	n.Late(&e)
	n.Late(&e)
	if names := n.Names(); names != (Names{Throttled: 1}) {
		t.Errorf("counts: %+v", names)
	}
	f.start()
	known := event.Event{CloseProc: seen(11, "curl", 100)}
	for n.Complete(&known) {
		f.answered()
	}
	n.Late(&known)
	if names := n.Names(); names != (Names{Throttled: 1}) {
		t.Errorf("with one that is known: %+v", names)
	}
}

// TestDescribe waits for /proc, and says of a pod which namespace it is in.
func TestDescribe(t *testing.T) {
	f := newFixture(t, 0)
	f.process(10, "nginx", 100)
	p := seen(10, "nginx", 100)
	want := event.Who{Start: 100, HasUID: true, UID: 7, PPID: 3, PComm: "sh",
		Exe: "/usr/bin/nginx", Cgroup: "/system.slice/nginx.service", Unit: "nginx.service"}
	if got := f.Describe(p); *got.Who != want || got.PID != 10 || *p.Who == want {
		t.Errorf("got  %+v\nwant %+v", *got.Who, want)
	}
	if bare := (event.Proc{PID: 10, Comm: "nginx"}); f.Describe(bare) != bare {
		t.Errorf("without a start time it is %+v", f.Describe(bare))
	}
	if got := f.Describe(seen(11, "gone", 100)); *got.Who != *seen(11, "gone", 100).Who {
		t.Errorf("the one that has ended is %+v", *got.Who)
	}
	pod := Info{UID: 33, HasUID: true, PPID: 1, PComm: "init", Place: Place{Pod: "x", PodName: "web-1", PodNamespace: "shop"}}
	if got := *pod.over(&event.Who{Start: 5}); got.PodName != "shop/web-1" || got.UID != 33 || got.PPID != 1 || got.Start != 5 {
		t.Errorf("the pod is %+v", got)
	}
}

func BenchmarkComplete(b *testing.B) {
	r := NewResolver(Options{})
	defer r.Stop()
	n := NewEnricher(r)
	e := event.Event{Opener: seen(1<<22, "gone", 100), CloseProc: seen(1<<22+1, "too", 100)}
	for n.Complete(&e) {
		<-r.Answered()
	}
	b.ReportAllocs()
	for b.Loop() {
		n.Complete(&e)
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}

// TestEnrichIsBounded: with new processes all the time no more are remembered, and those
// that are used all the time are not asked for again.
func TestEnrichIsBounded(t *testing.T) {
	f := newFixture(t, 0)
	f.process(10, "nginx", 100)
	n := NewEnricher(f.Resolver)
	f.start()
	lives := seen(10, "nginx", 100)
	first := event.Event{Opener: lives}
	for n.Complete(&first) {
		f.answered()
	}
	for i := range 5 * enrichedMax {
		n.known.Put(&event.Who{Start: uint64(i)}, enriched{done: true})
		again := event.Event{Opener: lives}
		if n.Complete(&again) || again.Opener.Who != first.Opener.Who {
			t.Fatalf("after %d: %+v", i, again.Opener)
		}
		if n.known.Len() > 2*enrichedMax {
			t.Fatalf("after %d, %d processes are remembered", i, n.known.Len())
		}
	}
}
