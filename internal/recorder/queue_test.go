package recorder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"path/filepath"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/session"
)

// TestQueue: nobody waits for a reader, who gets all in order once it reads.
func TestQueue(t *testing.T) {
	r, w := io.Pipe()
	q := NewQueue(w, 100)
	var sent bytes.Buffer
	for i := range 20 {
		b := bytes.Repeat([]byte{byte(i)}, 10)
		if full := q.Full(); full != (i >= 10) {
			t.Fatalf("with %d bytes held, Full is %v", 10*i, full)
		}
		if n, err := q.Write(b); n != len(b) || err != nil {
			t.Fatal(n, err)
		}
		sent.Write(b)
		clear(b) // the writer uses it again
	}
	got := make([]byte, sent.Len())
	if _, err := io.ReadFull(r, got); err != nil || !bytes.Equal(got, sent.Bytes()) {
		t.Fatalf("got %v, %v", got, err)
	}
	if err := q.Close(); err != nil || q.Full() {
		t.Errorf("Close: %v; full: %v", err, q.Full())
	}
}

// TestQueueFails: the error of the reader's end comes back, and ends the queue.
func TestQueueFails(t *testing.T) {
	r, w := io.Pipe()
	q := NewQueue(w, 10)
	gone := errors.New("gone")
	if _, err := q.Write(make([]byte, 20)); err != nil {
		t.Fatal(err)
	}
	r.CloseWithError(gone)
	kerneltest.Eventually(t, time.Minute, func() (bool, string) {
		_, err := q.Write([]byte{1})
		return errors.Is(err, gone), fmt.Sprint("the error is ", err)
	})
	if err := q.Close(); !errors.Is(err, gone) || q.Full() {
		t.Errorf("Close: %v; full: %v", err, q.Full())
	}
}

// TestLeftOut: records that cannot be written are lost, and the file says how many.
func TestLeftOut(t *testing.T) {
	s, _ := open(t, source(9), session.Options{})
	path := filepath.Join(t.TempDir(), "t.ndjson.zst")
	asked := 0
	full := func() bool { // while the third to the fifth come, and whoever else asks
		if s.Now().After(start.Add(250*time.Millisecond)) && s.Now().Before(start.Add(550*time.Millisecond)) {
			asked++
			return true
		}
		return false
	}
	must(t, New(s, Options{Full: full}).Run(t.Context(), record.Options{Path: path}))
	events, _, end := read(t, path)
	got, lost := cookies(events, event.TimeWaitEnter), uint64(0)
	for _, e := range events {
		if e.Kind == event.Lost && e.Stage == event.StageQueue {
			lost += e.Count
		}
	}
	if asked == 0 || lost == 0 || uint64(len(got))+lost != 9 || end.End.Lost["queue"] != lost || s.Lost()[event.StageQueue] != lost {
		t.Errorf("records of %v, %d lost; the end record has %v, the session %v", got, lost, end.End.Lost, s.Lost())
	}
}
