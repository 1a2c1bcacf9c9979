package recorder

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/session"
)

// OnDemand is a recording that starts and stops while a trace runs: the records are
// those of `twtrace record`, and what was there when it started comes first. Its
// methods are for the goroutine that reads the session, but for Record. NewOnDemand makes
// one.
type OnDemand struct {
	session *session.Session
	asks    chan func()   // to be done between two events
	over    chan struct{} // closed when nothing is done any more
	current *part         // nil if nothing is recorded
	state   State         // of the last one
	files   []string      // what became of each
}

// State is what becomes of a recording.
type State struct {
	Path    string
	Records uint64
	Bytes   int64  // written so far
	Failed  string // why it ended by itself, "" if it did not
}

// part is a recording that goes on.
type part struct {
	*Recorder
	total event.EndInfo // what happened since it started
}

// NewOnDemand returns one of the session that Attach will name.
func NewOnDemand() *OnDemand {
	return &OnDemand{asks: make(chan func()), over: make(chan struct{})}
}

// Attach names the session whose records are written.
func (d *OnDemand) Attach(s *session.Session) { d.session = s }

// Record starts a recording of the trace, or stops it, and returns the name of the
// file. Any goroutine may call it while another reads the session and calls Answer.
func (d *OnDemand) Record(on bool) (path string, err error) {
	done := make(chan struct{})
	ask := func() {
		defer close(done)
		if on {
			path, err = d.start(time.Now())
		} else {
			path, err = d.stop("stopped")
		}
	}
	select {
	case d.asks <- ask:
		<-done
		return path, err
	case <-d.over:
		return "", errors.New("the trace has ended")
	}
}

// Answer does what other goroutines have asked for, and what is due of the file.
func (d *OnDemand) Answer() {
	for {
		select {
		case ask := <-d.asks:
			ask()
			continue
		default:
		}
		if d.current != nil {
			d.check(d.current.tend())
		}
		return
	}
}

func (d *OnDemand) start(now time.Time) (path string, err error) {
	if d.current != nil {
		return "", errors.New("already recording")
	}
	first, err := d.session.Start()
	if err != nil {
		return "", err
	}
	first.Time = now.UnixNano()
	r := &part{Recorder: New(d.session, Options{}),
		total: event.EndInfo{Ends: make(map[string]uint64), Lost: make(map[string]uint64)}}
	if r.w, err = newFile(&first, now); err != nil {
		return "", err
	}
	r.writeLimits()
	if err := r.writePreexisting(now, true); err != nil {
		return "", errors.Join(err, r.w.Close(nil))
	}
	d.current = r
	d.state = State{Path: r.w.Stats().Name}
	return d.state.Path, nil
}

// maxNames is how many names are tried for a recording that starts in one second.
const maxNames = 100

// newFile starts a file in the current directory, under a name that is free.
func newFile(first *event.Event, now time.Time) (w *record.Writer, err error) {
	dir, err := os.Getwd() // the screen says where the file is
	if err != nil {
		return nil, fmt.Errorf("find the current directory: %w", err)
	}
	for i := range maxNames {
		name := "twtrace-" + now.UTC().Format("20060102-150405")
		if i > 0 {
			name += fmt.Sprintf("-%d", i)
		}
		w, err = record.NewWriter(record.Options{Path: filepath.Join(dir, name+".ndjson.zst"), MinFree: DefaultMinFree}, first, now)
		if !errors.Is(err, fs.ErrExist) {
			break
		}
	}
	return w, err
}

// Add writes an event that the table has completed.
func (d *OnDemand) Add(e *event.Event) {
	if d.current != nil {
		d.check(d.current.record(e))
	}
}

// check ends the recording if it has failed. The view goes on, and says so.
func (d *OnDemand) check(err error) {
	if err != nil {
		_ = d.current.w.Close(nil) // the same error
		d.current = nil
		d.state.Failed = err.Error()
		d.files = append(d.files, fmt.Sprintf("%s: %v", d.state.Path, err))
	}
}

// stop ends the recording with its end record.
func (d *OnDemand) stop(why string) (path string, err error) {
	r := d.current
	if r == nil {
		return "", errors.New("not recording")
	}
	d.current = nil
	end, err := d.session.EndRecord()
	if err != nil {
		return "", errors.Join(err, r.w.Close(nil))
	}
	if end.Kind == event.KindNone { // the source has none
		end = event.Event{Time: d.session.Now().UnixNano(), Kind: event.End, End: new(event.EndInfo)}
	}
	r.conclude(end.End, why)
	s := r.w.Stats()
	if err := r.w.Close(&end); err != nil {
		return "", err
	}
	d.files = append(d.files, fmt.Sprintf("recorded to %s: %s records", s.Name, output.Count(r.w.Stats().Records)))
	return s.Name, nil
}

// Witness counts e for the end record of the recording.
func (d *OnDemand) Witness(e *event.Event) {
	if d.current != nil {
		d.current.total.Add(e)
	}
}

// conclude makes the end of the trace that of the recording.
func (r *part) conclude(end *event.EndInfo, why string) {
	alive, unnamed, drift, late := end.Alive, end.Unnamed, end.Drift, end.Late
	*end = r.total
	end.Why, end.Alive, end.Unnamed, end.Drift, end.Late = why, alive, unnamed, drift, late
}

// State is what became of the last recording, so far.
func (d *OnDemand) State() State {
	if d.current != nil {
		s := d.current.w.Stats()
		d.state.Records, d.state.Bytes = s.Records, s.Bytes
	}
	return d.state
}

// Close stops a recording that is still running, and prints what became of all files.
func (d *OnDemand) Close(talk func(string, ...any)) error {
	close(d.over)
	var err error
	if d.current != nil {
		_, err = d.stop("quit")
	}
	for _, words := range d.files {
		talk("%s", words)
	}
	if err != nil {
		return fmt.Errorf("recording: %w", err)
	}
	return nil
}
