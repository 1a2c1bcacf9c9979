package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime/pprof"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// fixture is a Resolver of a made-up /proc, with a clock that the test moves.
type fixture struct {
	proc
	*Resolver
	answers chan Key

	mu   sync.Mutex
	time time.Time
}

// newFixture makes the Resolver; start has it answer.
func newFixture(t *testing.T, maxKnown int) *fixture {
	f := &fixture{proc: proc{t, t.TempDir()}, answers: make(chan Key, 1<<16), time: time.Unix(1e9, 0)}
	f.Resolver = newResolver(maxKnown)
	f.Resolver.now = func() time.Time {
		f.mu.Lock()
		defer f.mu.Unlock()
		return f.time
	}
	f.Resolver.onAnswer = func(k Key) { f.answers <- k }
	f.reader.root = f.proc.root
	f.reader.names.root = t.TempDir()
	f.reader.fs.close() // cgroup ids are for tests that say which
	return f
}

// lookUp is find, and whether that is all there is to know.
func (r *Resolver) lookUp(k Key) (Info, bool) {
	info, got := r.find(k)
	return info, got == complete
}

func (f *fixture) start() *fixture {
	go f.work()
	f.t.Cleanup(f.Stop)
	return f
}

func (f *fixture) pass(d time.Duration) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.time = f.time.Add(d)
}

// answered waits for the worker to answer one question.
func (f *fixture) answered() {
	f.t.Helper()
	select {
	case <-f.answers:
	case <-time.After(30 * time.Second):
		f.t.Fatalf("the worker has nothing to do: %+v", f.Stats())
	}
}

// know looks a key up until it is answered, and returns the answer.
func (f *fixture) know(k Key) Info {
	f.t.Helper()
	for range 2 {
		if info, ok := f.lookUp(k); ok {
			return info
		}
		f.answered()
	}
	f.t.Fatalf("%+v is not known after it was found out: %+v", k, f.Stats())
	return Info{}
}

func TestLookup(t *testing.T) {
	f := newFixture(t, 0)
	f.process(1, "systemd", 1)
	f.process(10, "nginx", 100)
	k := Key{PID: 10, Start: 100}
	for range 3 {
		if got, ok := f.lookUp(k); ok || got != (Info{PID: 10, Start: 100}) {
			t.Errorf("before the worker: %+v, %v", got, ok)
		}
	}
	f.start()
	want := Info{
		PID: 10, PPID: 1, Start: 100, Comm: "nginx", PComm: "systemd", Exe: "/usr/bin/nginx", UID: 1000, HasUID: true,
		Place: Place{Cgroup: "/system.slice/nginx.service", Unit: "nginx.service"},
	}
	if got := f.know(k); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	f.end(10)
	if got := f.know(k); got != want {
		t.Errorf("after its end: %+v", got)
	}
	s := f.Stats()
	if s.Asked != 1 || s.Waiting < 2 || s.Misses != s.Asked+s.Waiting || s.Hits != 2 || s.Reads != processReads || s.Known != 1 {
		t.Errorf("stats %+v", s)
	}
}

// TestReusedPID: the start time decides, in both directions.
func TestReusedPID(t *testing.T) {
	f := newFixture(t, 0).start()
	f.process(10, "cron", 200)
	first, second := Key{PID: 10, Start: 100, Comm: "nginx"}, Key{PID: 10, Start: 200}
	if got := f.know(first); got != (Info{PID: 10, Start: 100, Comm: "nginx", Gone: true}) {
		t.Errorf("the first is %+v, want it gone", got)
	}
	if got := f.know(second); got.Comm != "cron" || got.Gone || got.Exe != "/usr/bin/cron" {
		t.Errorf("the second is %+v", got)
	}
	f.process(10, "sh", 300) // and again
	if got := f.know(second); got.Comm != "cron" {
		t.Errorf("the second is %+v after its end", got)
	}
	if got := f.know(Key{PID: 10, Start: 300}); got.Comm != "sh" {
		t.Errorf("the third is %+v", got)
	}
	if got := f.know(first); !got.Gone || got.Exe != "" {
		t.Errorf("the first is %+v now", got)
	}
	if s := f.Stats(); s.Gone != 1 || s.Failed != 0 {
		t.Errorf("stats %+v", s)
	}
}

func TestNoStartTime(t *testing.T) {
	f := newFixture(t, 0).start()
	f.process(10, "nginx", 100)
	k := Key{PID: 10}
	if got := f.know(k); got.Comm != "nginx" || got.Start != 100 {
		t.Errorf("%+v", got)
	}
	f.process(10, "cron", 200)
	f.pass(shortLived)
	if got, ok := f.lookUp(k); ok || got != (Info{PID: 10}) {
		t.Errorf("a second later %+v, %v, want to know nothing", got, ok)
	}
	f.answered()
	if got := f.know(k); got.Comm != "cron" || got.Start != 200 {
		t.Errorf("%+v", got)
	}
}

// TestExec: a record from before the exec must not have the executable from after.
func TestExec(t *testing.T) {
	f := newFixture(t, 0).start()
	f.process(10, "bash", 100)
	before, after, never := Key{PID: 10, Start: 100, Comm: "bash"}, Key{PID: 10, Start: 100, Comm: "curl"}, Key{PID: 10, Start: 100, Comm: "env"}
	f.know(before)
	f.process(10, "curl", 100)
	for _, tt := range []struct {
		key Key
		exe string
	}{{before, "/usr/bin/bash"}, {after, "/usr/bin/curl"}, {never, ""}} {
		if got := f.know(tt.key); got.Comm != tt.key.Comm || got.Exe != tt.exe || got.UID != 1000 {
			t.Errorf("%s is %+v", tt.key.Comm, got)
		}
	}
}

func TestParent(t *testing.T) {
	f := newFixture(t, 0).start()
	f.process(10, "child", 100)
	for _, tt := range []struct {
		why    string
		parent func()
		want   string
	}{
		{"none", func() {}, ""},
		{"later than its child", func() { f.process(1, "other", 101) }, ""},
		{"as old as its child", func() { f.process(1, "make", 100) }, "make"},
	} {
		tt.parent()
		got, err := f.Resolve(Key{PID: 10, Start: 100, Comm: "child" + tt.want})
		if err != nil || got.PComm != tt.want || got.PPID != 1 {
			t.Errorf("%s: %+v, %v, want %q", tt.why, got, err, tt.want)
		}
		f.procs = newLRU[identity, answer](10)
	}
}

func TestFailures(t *testing.T) {
	f := newFixture(t, 0).start()
	for pid, spoil := range map[int]string{10: "stat", 11: "status", 12: "cgroup"} {
		f.process(pid, "x", 100)
		f.write(pid, spoil, "?")
		k := Key{PID: uint32(pid), Start: 100}
		if got := f.know(k); got != (Info{PID: k.PID, Start: 100}) {
			t.Errorf("with a bad %s: %+v", spoil, got)
		}
		if _, err := f.Resolve(k); err == nil || !strings.Contains(err.Error(), "parse "+f.proc.root) {
			t.Errorf("with a bad %s: error %v", spoil, err)
		}
		f.process(pid, "x", 100)
		f.pass(shortLived)
		f.lookUp(k)
		f.answered()
		if got := f.know(k); got.Comm != "x" {
			t.Errorf("mended: %+v", got)
		}
	}
	if s := f.Stats(); s.Failed != 6 || s.Gone != 0 {
		t.Errorf("stats %+v", s)
	}
	os.Remove(filepath.Join(f.proc.root, "10", "status")) // it ends between two reads
	if got := f.know(Key{PID: 10, Start: 100, Comm: "y"}); got != (Info{PID: 10, Start: 100, Comm: "y", Gone: true}) {
		t.Errorf("ended in the meantime: %+v", got)
	}
}

func TestResolve(t *testing.T) {
	f := newFixture(t, 2).start()
	if got, err := f.Resolve(Key{PID: 10, Start: 1}); !errors.Is(err, ErrGone) || got != (Info{PID: 10, Start: 1, Gone: true}) {
		t.Errorf("%+v, %v, want ErrGone", got, err)
	}
	if _, err := f.Resolve(Key{PID: 10, Start: 1}); err != ErrGone {
		t.Errorf("asked again: %v, want ErrGone", err)
	}
	for pid := 20; pid < 40; pid++ {
		f.process(pid, "swarm", 100)
		if got, err := f.Resolve(Key{PID: uint32(pid)}); err != nil || got.Start != 100 || got.Unit != "swarm.service" {
			t.Errorf("%+v, %v", got, err)
		}
	}
	if s := f.Stats(); s.Known != 2 || s.Evicted != 19 || s.Misses != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestLookupStorm: however many ask, /proc is read at the documented rate.
func TestLookupStorm(t *testing.T) {
	f := newFixture(t, 1000)
	const live, minute, perMinute = 50, 60, 60_000
	for pid := 1; pid <= live; pid++ {
		f.process(pid, "server", 1)
	}
	f.start()
	var last Stats
	for i := range minute * 10 { // steps of 100 ms
		for j := range perMinute / minute / 10 {
			n := i*1000 + j
			k := Key{PID: uint32(1000 + n), Start: uint64(n)} // one that has ended
			if n%2 == 0 {
				k = Key{PID: uint32(n%live + 1), Start: 1, Comm: fmt.Sprint(n)} // one that lives, by another name
			}
			f.lookUp(k)
		}
		for s := f.Stats(); last.Asked < s.Asked; last.Asked++ {
			f.answered()
		}
		s := f.Stats()
		if most := uint64(readBurst + (i+1)*readsPerSecond/10); s.Reads > most {
			t.Fatalf("%d reads after %d ms, want at most %d", s.Reads, i*100, most)
		}
		f.pass(100 * time.Millisecond)
	}
	s := f.Stats()
	if s.Misses != s.Asked+s.Waiting+s.Throttled+s.Dropped || s.Hits+s.Misses != 600*(perMinute/minute/10) {
		t.Errorf("the counts do not add up: %+v", s)
	}
	if s.Throttled == 0 || s.Reads < 55*readsPerSecond || s.Known > 1000 || s.Dropped != 0 {
		t.Errorf("want some throttled, all reads used and 1000 known: %+v", s)
	}
	if len(f.waiting) != 0 {
		t.Errorf("%d questions wait for ever", len(f.waiting))
	}
	f.pass(time.Second)
	if got := f.know(Key{PID: 1, Start: 1}); got.Comm != "server" {
		t.Errorf("after the storm: %+v", got)
	}
}

func TestFullQueue(t *testing.T) {
	f := newFixture(t, 0)
	f.budget = budget{tokens: 1e9, burst: 1e9}
	for i := range queueMax + 7 {
		if _, ok := f.lookUp(Key{PID: uint32(i + 1), Start: 1}); ok {
			t.Fatal("known without a worker")
		}
	}
	if s := f.Stats(); s.Asked != queueMax || s.Dropped != 7 || s.Reads != 0 {
		t.Errorf("stats %+v", s)
	}
	f.start()
	for range queueMax {
		f.answered()
	}
	if s := f.Stats(); s.Gone != queueMax || s.Known != queueMax || f.budget.tokens != 1e9-queueMax {
		t.Errorf("stats %+v, %v tokens left", s, f.budget.tokens)
	}
}

func TestStop(t *testing.T) {
	workers := func() int {
		var b strings.Builder
		pprof.Lookup("goroutine").WriteTo(&b, 2)
		return strings.Count(b.String(), "created by github.com/twtrace/twtrace/internal/process.NewResolver ")
	}
	before := workers()
	var all []*Resolver
	for range 5 {
		r := NewResolver(Options{})
		r.lookUp(Key{PID: uint32(os.Getpid())})
		all = append(all, r)
	}
	if n := workers(); n != before+5 {
		t.Errorf("%d workers, want %d: the test sees none", n, before+5)
	}
	for _, r := range all {
		r.Stop()
		r.Stop()
	}
	// Stop returns with the last statement of a worker, a moment before its end.
	kerneltest.Eventually(t, 10*time.Second, func() (bool, string) {
		n := workers() - before
		return n == 0, fmt.Sprint(n, " workers left")
	})
	r := all[0]
	if _, ok := r.lookUp(Key{PID: 1, Start: 1}); ok || r.Stats().Dropped != 1 {
		t.Errorf("after Stop: %v, %+v", ok, r.Stats())
	}
}

// TestStopFull: what waits is left undone.
func TestStopFull(t *testing.T) {
	f := newFixture(t, 0)
	for i := range 100 {
		f.lookUp(Key{PID: uint32(i + 1), Start: 1})
	}
	close(f.stop)
	f.once.Do(func() {})
	f.start()
	f.Stop()
	if s := f.Stats(); s.Asked != 100 {
		t.Errorf("stats %+v", s)
	}
}

// TestForeignProc: nothing is read, because the pid is another process there.
func TestForeignProc(t *testing.T) {
	f := newFixture(t, 0)
	f.foreign = ErrForeign
	f.start()
	f.process(10, "wrong", 100)
	want := Info{PID: 10, Start: 100, Comm: "nginx"}
	k := Key{PID: 10, Start: 100, Comm: "nginx"}
	if got, ok := f.lookUp(k); !ok || got != want {
		t.Errorf("%+v, %v", got, ok)
	}
	if got, err := f.Resolve(k); !errors.Is(err, ErrForeign) || !errors.Is(err, fs.ErrPermission) || got != want {
		t.Errorf("%+v, %v", got, err)
	}
	if s := f.Stats(); s.Reads != 0 || s.Misses != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestNoPID: what no process did has no process.
func TestNoPID(t *testing.T) {
	f := newFixture(t, 0).start()
	if got, ok := f.lookUp(Key{Comm: "x"}); !ok || got != (Info{Comm: "x"}) {
		t.Errorf("%+v, %v", got, ok)
	}
	if got, err := f.Resolve(Key{}); err != nil || got != (Info{}) {
		t.Errorf("%+v, %v", got, err)
	}
	if s := f.Stats(); s.Reads != 0 || s.Known != 0 {
		t.Errorf("stats %+v", s)
	}
}

// TestConcurrentUse is for the race detector.
func TestConcurrentUse(t *testing.T) {
	f := newFixture(t, 20).start()
	for pid := 1; pid < 50; pid++ {
		f.process(pid, "x", 1)
	}
	var wg sync.WaitGroup
	for g := range 4 {
		wg.Go(func() {
			for i := range 500 {
				k := Key{PID: uint32((i*7+g)%60 + 1), Start: 1}
				if g == 3 {
					f.Resolve(k)
				} else if got, ok := f.lookUp(k); ok && !got.Gone && got.Comm != "x" || got.PID != k.PID {
					t.Errorf("%+v for %+v", got, k)
				}
				f.Stats()
			}
		})
	}
	wg.Wait()
}
