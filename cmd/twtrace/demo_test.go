package main

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/view"
)

// stopped counts how often the connections of a demo were ended.
type stopped int

func (s *stopped) Stop() { *s++ }

// TestDemoSaysItsEnd: the title counts down to the end of the connections, which comes
// once, and the view stays; with --duration it counts down to the end of the view.
func TestDemoSaysItsEnd(t *testing.T) {
	start := time.Unix(1000, 0)
	var stops stopped
	load := &demoLoad{demo: &stops, since: start, end: 30 * time.Second}
	for _, tt := range []struct {
		after time.Duration
		mode  string
		stops stopped
	}{
		{0, "DEMO: load ends in 30s", 0}, {17500 * time.Millisecond, "DEMO: load ends in 13s", 0}, {29999 * time.Millisecond, "DEMO: load ends in 1s", 0},
		{30 * time.Second, "DEMO: load over, q quits", 1}, {time.Hour, "DEMO: load over, q quits", 1},
	} {
		s := &view.State{Time: start.Add(tt.after)}
		load.note(s)
		if s.Mode != tt.mode || stops != tt.stops || (len(s.Remarks) > 0) != (tt.stops > 0) {
			t.Errorf("after %v: %q, remarks %q, stopped %d times", tt.after, s.Mode, s.Remarks, stops)
		}
	}
	load = &demoLoad{demo: &stops, since: start, end: 3 * time.Minute, view: 3 * time.Minute}
	s := &view.State{Time: start.Add(200 * time.Second)}
	if load.note(s); s.Mode != "DEMO: ends in 0s" || stops != 1 {
		t.Errorf("with --duration: %q, stopped %d times", s.Mode, stops)
	}
}

// TestDemoScreen: on a terminal the demo says when its connections end; a page of it can be
// read; --duration ends it by itself.
func TestDemoScreen(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	s := showOn(t, t.TempDir(), command("demo", "-i", "200ms"))
	s.Await("[DEMO: load ends in ")
	s.Await("checkout")
	s.keys([2]string{"\r", "first seen"})
	s.Await("[DEMO: load ends in ") // on the page, too
	s.quit()

	s = showOn(t, t.TempDir(), command("demo", "-i", "200ms", "--duration", "3s"))
	s.Await("[DEMO: ends in ")
	defer expire(s.cmd)()
	if err := s.cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, s.stderr.String())
	}
	s.Restored()
}
