package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/netns"
	tracefile "github.com/twtrace/twtrace/internal/record"
)

// recordRate is how many connections a second a view is measured with that records.
const recordRate = 10000

// viewed is what a view used while it was watched.
type viewed struct {
	share   float64       // of a core
	cpu     time.Duration // in the window
	records uint64        // in the file, nothing if none was recorded
	bytes   int64
	begun   time.Time // the window
	ended   time.Time
}

// benchRecord compares a view at 1 s with one that records as well, each beside a
// load of its own, so that none begins with what another left in TIME_WAIT.
func benchRecord(ctx context.Context, out io.Writer, twtrace string, rounds int) error {
	var plain, recording, cost, sizes, rates []float64
	for round := range rounds {
		without, err := loadedRecording(ctx, twtrace, false)
		if err != nil {
			return err
		}
		with, err := loadedRecording(ctx, twtrace, true)
		if err != nil {
			return err
		}
		each := float64(with.cpu-without.cpu) / float64(with.records)
		fmt.Fprintf(os.Stderr, "round %d of %d: view %.1f %%, recording %.1f %% of a core, %d records\n",
			round+1, rounds, 100*without.share, 100*with.share, with.records)
		plain, recording = append(plain, 100*without.share), append(recording, 100*with.share)
		cost, sizes = append(cost, each), append(sizes, float64(with.bytes)/float64(with.records))
		rates = append(rates, float64(with.records)/viewWindow.Seconds())
	}
	_, err := fmt.Fprintf(out, "%d destinations, %d connections/s aimed at, %.0f records/s written; medians of %d rounds of %v\n\n"+
		"of one core: view %.1f %%, view and recording %.1f %%, %+.1f %% of the view's\n"+
		"a record: %.0f ns of CPU time more than the view's, %.1f bytes\n",
		viewAddrs*viewPorts, recordRate, middle(rates), rounds, viewWindow,
		middle(plain), middle(recording), 100*(middle(recording)/middle(plain)-1), middle(cost), middle(sizes))
	return err
}

func loadedRecording(ctx context.Context, twtrace string, record bool) (v viewed, err error) {
	err = beside(ctx, recordRate, func(ns *netns.NS) error {
		v, err = measureRecording(ctx, twtrace, ns, record)
		return err
	})
	return v, err
}

// measureRecording watches a view for a window, which records for as long if it is to.
func measureRecording(ctx context.Context, twtrace string, ns *netns.NS, record bool) (v viewed, err error) {
	dir, err := os.MkdirTemp("", "twtrace-bench-")
	if err != nil {
		return v, err
	}
	defer os.RemoveAll(dir)
	cmd, tty, stop, err := showView(ctx, twtrace, ns, "1s", dir)
	if err != nil {
		return v, err
	}
	defer stop()
	if record {
		if err := press(tty, "w", "recording to"); err != nil {
			return v, err
		}
		time.Sleep(3 * time.Second) // what the table held before is written by then
	}
	if err := v.watch(&process{cmd: cmd}); err != nil {
		return v, err
	}
	if record {
		if err := press(tty, "w", "recorded to"); err != nil {
			return v, err
		}
	}
	if _, err := tty.master.WriteString("q"); err != nil {
		return v, err
	}
	if err := cmd.Wait(); err != nil || !record {
		return v, err
	}
	return v, v.weigh(dir)
}

// press presses a key, and waits for what it shows.
func press(tty *watched, key, shows string) error {
	tty.forget()
	if _, err := tty.master.WriteString(key); err != nil {
		return err
	}
	return tty.await(60*time.Second, shows)
}

// watch takes the CPU time of the window.
func (v *viewed) watch(p *process) error {
	before, err := p.cpu()
	if err != nil {
		return err
	}
	v.begun = time.Now()
	time.Sleep(viewWindow)
	after, err := p.cpu()
	v.ended, v.cpu = time.Now(), after-before
	v.share = float64(v.cpu) / float64(v.ended.Sub(v.begun))
	return err
}

// weigh counts the records of the window in the one file in dir, and the bytes that
// they take.
func (v *viewed) weigh(dir string) error {
	names, err := filepath.Glob(filepath.Join(dir, "*.zst"))
	if err != nil || len(names) != 1 {
		return fmt.Errorf("recordings: %s: %w", strings.Join(names, ", "), errors.Join(err, errors.New("want one")))
	}
	st, err := os.Stat(names[0])
	if err != nil {
		return err
	}
	r, err := tracefile.Open(names, nil)
	if err != nil {
		return err
	}
	defer r.Close()
	all := uint64(0)
	for {
		var e event.Event
		if err := r.Read(&e); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return err
		}
		all++
		if e.Time >= v.begun.UnixNano() && e.Time < v.ended.UnixNano() {
			v.records++
		}
	}
	if least := uint64(recordRate * viewWindow.Seconds()); v.records < least {
		return fmt.Errorf("%d records in %v, and not %d: the machine is too slow, or busy with other things", v.records, viewWindow, least)
	}
	v.bytes = int64(float64(st.Size()) * float64(v.records) / float64(all))
	return nil
}
