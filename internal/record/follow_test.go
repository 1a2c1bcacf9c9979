package record

import (
	"errors"
	"io"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// TestFollow: a stream is read as far as it has come, and says how far that is; each block
// is passed on once, when all records before it are read.
func TestFollow(t *testing.T) {
	from, to := io.Pipe()
	now := time.Unix(1_800_000_000, 0)
	blocks := make(chan struct{}, 100)
	go func() {
		start := event.Event{Time: now.UnixNano(), Kind: event.Start, Start: &event.StartInfo{Version: "1", Schema: output.Schema, Host: "web-07"}}
		w, err := NewWriter(Options{Path: "-", Stdout: to, Period: time.Second, Pulse: true,
			Vitals: func() event.Vitals {
				return event.Vitals{RingUsed: uint64(now.Unix()), Programs: []event.Program{{Name: "state", Skipped: 1}}}
			}}, &start, now)
		for i := range uint64(10) {
			if err != nil {
				break
			}
			err = w.Write(&event.Event{Time: now.UnixNano(), Kind: event.Open, Cookie: i + 1, New: event.Established})
			now = now.Add(time.Second)
			err = errors.Join(err, w.Tick(now))
			now = now.Add(time.Second)
			err = errors.Join(err, w.Tick(now)) // with nothing in it
		}
		<-blocks // until the reader has waited
		to.CloseWithError(errors.Join(err, w.Close(nil)))
	}()
	r, err := Follow("stream", from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	defer from.Close()
	records, passed, waited, vital := uint64(0), 0, false, 0
	r.OnVitals = func(v *event.Vitals) {
		if vital++; v.RingUsed != uint64(1_800_000_000+vital-1) || len(v.Programs) != 1 || v.Programs[0].Skipped != 1 {
			t.Errorf("vitals %d are %+v", vital, v)
		}
	}
	r.OnBlock = func(b *Block) {
		if b.Vitals != nil {
			t.Errorf("block %d is passed on with vitals, which nobody counts", b.Block)
		}
		if passed++; b.Before > records+1 { // and the start record
			t.Errorf("block %d is passed on after %d of the %d records before it", b.Block, records, b.Before)
		}
	}
	var e event.Event
	for {
		err := r.Read(&e)
		if errors.Is(err, ErrNoBlock) {
			if r.Wait(10*time.Millisecond, nil); records == 10 && !waited && r.Heard().Equal(time.Unix(1_800_000_020, 0)) {
				waited = true
				blocks <- struct{}{}
			}
			continue
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if records++; e.Cookie != records {
			t.Errorf("record %d has cookie %d", records, e.Cookie)
		}
	}
	if records != 10 || passed != 22 || vital != 21 || !waited || len(r.Damage) != 0 || r.Start().Start.Host != "web-07" {
		t.Errorf("%d records in %d blocks with %d vitals, waited %v, damage %v", records, passed, vital, waited, r.Damage)
	}
}

// TestFollowEnds: a stream that ends before its first block, or that is none, is an error,
// and one that breaks off later too.
func TestFollowEnds(t *testing.T) {
	for _, junk := range []string{"", "HTTP/1.1 404 Not Found\r\n\r\n"} {
		from, to := io.Pipe()
		go func() { io.WriteString(to, junk); to.Close() }()
		if _, err := Follow("stream", from); err == nil {
			t.Errorf("%q is a stream", junk)
		}
	}
	from, to := io.Pipe()
	broken := errors.New("the line is dead")
	go func() {
		start := event.Event{Kind: event.Start, Start: &event.StartInfo{Version: "1", Schema: output.Schema}}
		_, _ = NewWriter(Options{Path: "-", Stdout: to}, &start, time.Unix(1_800_000_000, 0))
		to.CloseWithError(broken)
	}()
	r, err := Follow("stream", from)
	if err != nil {
		t.Fatal(err)
	}
	defer r.Close()
	var e event.Event
	for err = r.Read(&e); errors.Is(err, ErrNoBlock); err = r.Read(&e) {
		r.Wait(time.Second, nil)
	}
	if !errors.Is(err, broken) {
		t.Errorf("it ends with %v", err)
	}
}
