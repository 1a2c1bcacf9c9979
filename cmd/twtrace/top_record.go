package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	tracefile "github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/view"
)

// liveRecording is a recording that begins and ends while a trace runs: the records
// are those of `twtrace record`, and what was there when it began is in front.
type liveRecording struct {
	recorder
	total event.EndInfo // what happened since it began
}

// Record begins a recording of the trace, or ends it, and returns the name of the
// file. It may be called from any goroutine while Next is being called by another.
func (l *live) Record(on bool) (path string, err error) {
	done := make(chan struct{})
	ask := func() {
		defer close(done)
		if on {
			path, err = l.beginRecording(time.Now())
		} else {
			path, err = l.endRecording("stopped")
		}
	}
	select {
	case l.asks <- ask:
		<-done
		return path, err
	case <-l.over:
		return "", errors.New("the trace has ended")
	}
}

// answer does what other goroutines have asked for, and what is due of the file.
func (l *live) answer() {
	for {
		select {
		case ask := <-l.asks:
			ask()
			continue
		default:
		}
		if l.recording != nil {
			l.check(l.recording.tend())
		}
		return
	}
}

func (l *live) beginRecording(now time.Time) (path string, err error) {
	if l.recording != nil {
		return "", errors.New("a recording is running")
	}
	first, err := l.session.startEvent()
	if err != nil {
		return "", err
	}
	first.Time = now.UnixNano()
	r := &liveRecording{recorder: recorder{printer: printer{session: l.session}, limits: l.limits},
		total: event.EndInfo{Ends: make(map[string]uint64), Lost: make(map[string]uint64)}}
	if r.w, err = newFile(&first, now); err != nil {
		return "", err
	}
	r.out = r
	r.tellLimits()
	if err := r.before(now, true); err != nil {
		return "", errors.Join(err, r.w.Close(nil))
	}
	l.recording = r
	l.told = view.Recording{Path: r.w.Stats().Name}
	return l.told.Path, nil
}

// mostNames is how many names are tried for a recording that begins in one second.
const mostNames = 100

// newFile begins a file in the current directory, under a name that is free.
func newFile(first *event.Event, now time.Time) (w *tracefile.Writer, err error) {
	dir, err := os.Getwd() // the screen says where the file is
	if err != nil {
		return nil, fmt.Errorf("find the current directory: %w", err)
	}
	for i := range mostNames {
		name := "twtrace-" + now.UTC().Format("20060102-150405")
		if i > 0 {
			name += fmt.Sprintf("-%d", i)
		}
		w, err = tracefile.NewWriter(tracefile.Options{Path: filepath.Join(dir, name+".ndjson.zst"), MinFree: defaultMinFree}, first, now)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return w, err
}

// record writes what the table has completed.
func (l *live) record(e *event.Event) {
	if l.recording != nil {
		l.check(l.recording.record(e))
	}
}

// check ends the recording if it has failed. The view goes on, and says so.
func (l *live) check(err error) {
	if err != nil {
		_ = l.recording.w.Close(nil) // the same error
		l.recording = nil
		l.told.Failed = err.Error()
		l.files = append(l.files, fmt.Sprintf("%s: %v", l.told.Path, err))
	}
}

// endRecording ends the recording with its end record.
func (l *live) endRecording(why string) (path string, err error) {
	r := l.recording
	if r == nil {
		return "", errors.New("no recording is running")
	}
	l.recording = nil
	end, err := l.session.endEvent()
	if err != nil {
		return "", errors.Join(err, r.w.Close(nil))
	}
	r.conclude(end.End, why)
	s := r.w.Stats()
	if err := r.w.Close(&end); err != nil {
		return "", err
	}
	l.files = append(l.files, fmt.Sprintf("recorded to %s: %s records", s.Name, output.Count(r.w.Stats().Records)))
	return s.Name, nil
}

// witness counts what a recording's end record tells.
func (r *liveRecording) witness(e *event.Event) {
	if r == nil {
		return
	}
	n := &r.total
	switch e.Kind {
	case event.Parked:
		n.Births++
		n.Parked++
	case event.TimeWaitEnter:
		n.Begins++
		if e.Reason == event.LateFin { // born when it was parked
			n.Promoted++
		} else {
			n.Births++
		}
	case event.TimeWaitExit:
		reason := e.Reason.String()
		if e.Reason == event.ReasonNone {
			reason = "unknown"
		}
		n.Ends[reason]++
	case event.TimeWaitRefused:
		n.Refused++
	case event.Lost:
		n.Lost[e.Stage.String()] += e.Count
	}
}

// conclude makes the end of the trace that of the recording.
func (r *liveRecording) conclude(end *event.EndInfo, why string) {
	alive, unnamed, drift, late := end.Alive, end.Unnamed, end.Drift, end.Late
	*end = r.total
	end.Why, end.Alive, end.Unnamed, end.Drift, end.Late = why, alive, unnamed, drift, late
}

// recordingState is what the screen says of the recording.
func (l *live) recordingState() view.Recording {
	if l.recording != nil {
		s := l.recording.w.Stats()
		l.told.Records, l.told.Bytes = s.Records, s.Bytes
	}
	return l.told
}

// closeRecording ends what the user has left running, and tells of all files.
func (l *live) closeRecording(talk func(string, ...any)) error {
	close(l.over)
	var err error
	if l.recording != nil {
		_, err = l.endRecording("quit")
	}
	for _, words := range l.files {
		talk("%s", words)
	}
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	return nil
}
