package replay

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// TestSpeed: the time of a recording goes on as fast as it is to, and makes up for a
// reader that is a little late, but not for a long pause.
func TestSpeed(t *testing.T) {
	path := write(t, recording{events: []event.Event{opened(1, 0), opened(2, 10*time.Second)}, end: 20 * time.Second})
	for speed, want := range map[float64]time.Duration{0: 0, 1: 20 * time.Second, 4: 5 * time.Second, 0.5: 40 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := open(t, Options{Files: []string{path}, Speed: speed})
			before := time.Now()
			if all, _ := readAll(t, f); len(all) != 2 {
				t.Errorf("%v", all)
			}
			if took := time.Since(before); took > want || took < want-time.Second/2 {
				t.Errorf("x%v took %v, want %v", speed, took, want)
			}
		})
	}
	// A night at the speed of life is not skipped.
	path = write(t, recording{events: []event.Event{opened(1, 0)}, end: 8 * time.Hour})
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Options{Files: []string{path}, Speed: 60})
		before, at, longest := time.Now(), f.Now(), time.Duration(0)
		for f.Next(t.Context(), &event.Event{}) != io.EOF {
			longest = max(longest, f.Now().Sub(at))
			at = f.Now()
		}
		if took := time.Since(before); took > 8*time.Minute || took < 479*time.Second || longest > 60*time.Duration(step) {
			t.Errorf("it took %v, want 8 m; the longest step is %v", took, longest)
		}
	})
	// Late by 150 ms it makes up for it, late by a minute it does not.
	for late, want := range map[time.Duration]time.Duration{150 * time.Millisecond: 20 * time.Second, time.Minute: 80 * time.Second} {
		synctest.Test(t, func(t *testing.T) {
			f := open(t, Options{Files: []string{write(t, recording{events: []event.Event{opened(1, 0), opened(2, 20*time.Second)}, end: 20 * time.Second})}, Speed: 1})
			before := time.Now()
			for f.Now().Before(start.Add(10 * time.Second)) {
				_ = f.Next(t.Context(), &event.Event{})
			}
			time.Sleep(late) // of the bubble's clock
			readAll(t, f)
			if took := time.Since(before); took > want || took < want-time.Second/2 {
				t.Errorf("late by %v, it took %v, want %v", late, took, want)
			}
		})
	}
}

// TestPause: paused, time stands still, but for single displays, and until the reader
// gives up.
func TestPause(t *testing.T) {
	path := write(t, recording{events: []event.Event{opened(1, 0)}, end: time.Hour})
	synctest.Test(t, func(t *testing.T) {
		f := open(t, Options{Files: []string{path}, Speed: 1})
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		read := make(chan error)
		go func() {
			for {
				err := f.Next(ctx, &event.Event{})
				read <- err
				if err == io.EOF {
					return
				}
			}
		}()
		<-read // the connection
		<-read // a step, at once
		f.Pause(true)
		next := func() bool {
			time.Sleep(time.Hour) // of the bubble's clock
			synctest.Wait()
			select {
			case <-read:
				return true
			default:
				return false
			}
		}
		// One step may have been let through before the pause.
		next()
		if next() {
			t.Error("time goes on while paused")
		}
		f.Step()
		for range 2 { // events, of one display
			if !next() {
				t.Error("a display does not come out")
			}
		}
		f.Stepped()
		next()
		if next() {
			t.Error("time goes on after one display")
		}
		f.Step()
		f.Pause(true) // forgets the steps
		next()
		if next() {
			t.Error("time goes on by a step from before the pause")
		}
		f.Stepped() // none is due
		f.Step()
		for range 2 {
			if !next() {
				t.Error("a display does not come out after one that nobody asked for")
			}
		}
		f.Pause(false)
		if !next() {
			t.Error("time stands still")
		}
		f.Pause(true)
		next()
		f.Finish()
		cancel()
		for range 3 {
			if err := <-read; err == io.EOF {
				return
			}
		}
		t.Error("the reader does not end")
	})
}
