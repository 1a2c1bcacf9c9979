package recorder

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
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
