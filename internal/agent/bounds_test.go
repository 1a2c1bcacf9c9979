package agent

import (
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// TestChange: bounds change while the agent runs: the number of readers, but none that is
// there is cut off for it, and the past.
func TestChange(t *testing.T) {
	changes, changed := make(chan Bounds), make(chan struct{})
	tr := newTracer(t, Options{Past: 2 * time.Minute, MaxReaders: 1, Change: changes, Changed: func() { changed <- struct{}{} }})
	set := func(b Bounds) {
		changes <- b
		<-changed
	}
	for range 50 {
		tr.connect(20)
	}
	if s := tr.status().Past; s.Dropped.Records != 0 {
		t.Fatalf("%+v", s)
	}
	ask := Ask{Past: time.Hour, Live: true}
	first, err := tr.Stream(t.Context(), ask)
	must(t, err)
	defer first.Close()
	if _, err := tr.Stream(t.Context(), ask); err == nil {
		t.Error("a second reader is not refused")
	}
	set(Bounds{Past: 2 * time.Minute, MaxReaders: 2})
	second, err := tr.Stream(t.Context(), ask)
	must(t, err)
	defer second.Close()
	set(Bounds{Past: 20 * time.Second, PastBytes: 1 << 20, MaxReaders: 1})
	if now := tr.status().Readers; now.Now != 2 || now.Max != 1 {
		t.Errorf("those who read: %+v", now)
	}
	tr.connect(1)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		s := tr.status().Past
		return s.Dropped.Records > 0 && s.MaxS == 20 && s.MaxBytes == 1<<20, fmt.Sprintf("%+v", s)
	})
	must(t, tr.end())
}

// TestRoom: who waits for room gets it when there is more, or when somebody leaves.
func TestRoom(t *testing.T) {
	r := newRoom(1)
	r.enter()
	var in sync.WaitGroup
	for range 2 {
		in.Add(1)
		go func() {
			r.enter()
			in.Done()
		}()
	}
	r.resize(2)
	r.leave()
	in.Wait()
	if r.used != 2 || r.size != 2 {
		t.Errorf("%d of %d", r.used, r.size)
	}
}
