package record

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Options say where and how a trace is written.
type Options struct {
	Path   string    // of the file, "-" for Stdout
	Stdout io.Writer // a pipe, usually
	Force  bool      // replace a file that is there already
	As     *User     // write with the rights of this user, nil for those of the process

	Size  int64         // maximum bytes of a file, before the next one starts; 0: no limit
	Every time.Duration // maximum time of a file, before the next one starts; 0: no limit
	Keep  int           // maximum number of files: the oldest are deleted; 0: no limit

	MinFree uint64 // stop when the file system has fewer free bytes

	Ring      time.Duration // keep the last part of this length in memory until Trigger; 0: write all
	RingBytes int64         // the same by compressed size
	After     time.Duration // with a ring: how long to go on writing after Trigger

	Redact *Redactor // nil: write everything
	Plain  Plain     // write lines without blocks

	// Period is the maximum time between a record and its block; 0: a second.
	Period time.Duration
	// Pulse writes a block without records where there was none for a Period, so that who
	// follows the recording knows how far it has come.
	Pulse bool
	// Vitals is how the tracer is doing, for a block a second; nil if nobody is to know.
	Vitals func() event.Vitals
}

// Plain is a format without blocks.
type Plain uint8

// The formats. NDJSON has all that a reader needs except the limits of namespaces other
// than that of the start record. CSV has only records, and Reader cannot read it.
const (
	NotPlain Plain = iota
	NDJSON
	CSV
)

// Rotates reports whether there may be more than one file.
func (o *Options) Rotates() bool {
	return o.Size > 0 || o.Every > 0 || o.Keep > 0 || o.Flight()
}

// Flight reports whether only the last part is kept, until Trigger.
func (o *Options) Flight() bool { return o.Ring > 0 || o.RingBytes > 0 }

// Stats is what was written so far.
type Stats struct {
	Records uint64 // passed to Write
	Raw     uint64 // their bytes, not compressed
	Bytes   int64  // written to files
	Blocks  int
	Files   int
	Name    string // of the file being written, "" if there is none
	Held    int64  // bytes that a ring holds
}

// Writer writes the records of a trace to files. It is not safe for concurrent use. Any
// error is final: every later call returns it, and the file is complete up to there.
type Writer struct {
	o       Options
	start   event.Event
	dir     *directory // nil on stdout
	name    namer
	pack    *packer
	limits  limitsBook
	file    *partFile // nil if none is open
	born    time.Time // of the file
	made    []string  // names of the files that exist, oldest first
	left    bool      // dir is closed
	ring    ring
	parts   int
	written uint64 // records of the recording up to the end of the last block
	past    Stats  // of the files that are closed
	now     time.Time
	flushed time.Time // the last block
	vitals  time.Time // the last block that had them
	err     error
	e       event.Event
}

// NewWriter starts a recording with its start record, and creates the first file unless
// the recording is kept in memory. The error satisfies os.ErrExist if the file exists.
func NewWriter(o Options, start *event.Event, now time.Time) (*Writer, error) {
	id := make([]byte, 8)
	if _, err := rand.Read(id); err != nil {
		return nil, fmt.Errorf("name the recording: %w", err)
	}
	pack, err := newPacker(hex.EncodeToString(id), o.Plain, o.Flight())
	if err != nil {
		return nil, err
	}
	w := &Writer{o: o, start: *start, pack: pack, now: now, ring: ring{length: o.Ring, bytes: o.RingBytes}}
	if w.o.Period <= 0 {
		w.o.Period = blockPeriod
	}
	if o.Redact != nil {
		o.Redact.Event(&w.start)
	}
	if o.Path != "-" {
		var name string
		if w.dir, name, err = openDirectory(o.Path, o.As); err != nil {
			return nil, err
		}
		w.name = newNamer(name, o.Rotates())
	}
	w.pack.add(&w.start)
	if o.Flight() {
		return w, nil
	}
	w.pack.started = now
	// Write at once, so that a file says what it is from its first moment.
	if err := w.flush(); err != nil {
		w.abandon()
		return nil, err
	}
	return w, nil
}

// abandon closes what is open, as it is.
func (w *Writer) abandon() {
	if w.file != nil && w.file.file != nil {
		w.file.file.Close()
	}
	if w.dir != nil && !w.left {
		w.dir.close()
		w.left = true
	}
}

// Write adds one record, or a fact that only files contain. It is in the file after a
// Tick one second later, or after Flush.
func (w *Writer) Write(e *event.Event) error {
	if w.err != nil {
		return w.err
	}
	if held := e.Kind == event.Snapshot && e.New != event.TimeWait && e.New != event.StateNone; held || w.o.Redact != nil {
		w.e = *e
		e = &w.e
		if held {
			e.Kind = event.Held
		}
		if w.o.Redact != nil {
			w.o.Redact.Event(e)
		}
	}
	if w.pack.empty() {
		w.pack.started = w.now
	}
	w.pack.add(e)
	if w.pack.full() {
		return w.flush()
	}
	return nil
}

// Tick sets the time, writes blocks and starts files when they are due. Call it several
// times a second.
func (w *Writer) Tick(now time.Time) error {
	w.now = now
	if w.err != nil {
		return w.err
	}
	due := w.limits.due(now, w.o.Period) || w.o.Pulse && now.Sub(w.flushed) >= w.o.Period
	if !w.pack.empty() {
		due = now.Sub(w.pack.started) >= w.o.Period
	}
	if due {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if w.ring.until != nil && !now.Before(*w.ring.until) {
		return w.endFlight()
	}
	if w.o.Every > 0 && w.file != nil && w.file.blocks > 1 && now.Sub(w.born) >= w.o.Every {
		return w.fail(w.closeFile("rotated"))
	}
	return nil
}

// SetLimits sets the limits of a network namespace, by the names of sysctls, from the
// next block on. Call it at the start and whenever they change.
func (w *Writer) SetLimits(netns uint32, sysctls map[string]string) { w.limits.set(netns, sysctls) }

// SetName sets the name of a network namespace whose limits are set, "" if it has none.
// Commands of the user's shell act on the one that is home as they are. A redacted file has
// no names.
func (w *Writer) SetName(netns uint32, name string, home bool) {
	if w.o.Redact != nil {
		name = ""
	}
	w.limits.name(netns, name, home)
}

// SetRead sets when the limits were read that SetLimits has set, or is about to.
func (w *Writer) SetRead(r Read) { w.limits.read = r }

// Flush writes what was collected, to the file or to the ring.
func (w *Writer) Flush() error {
	if w.err != nil || w.pack.empty() {
		return w.err
	}
	return w.flush()
}

func (w *Writer) flush() error {
	b := w.take()
	w.flushed = w.now
	if b.Records == 0 { // a pulse, or limits that changed while nothing happened
		at := w.now.UTC()
		b.First, b.Last = &at, &at
	}
	if w.o.Vitals != nil && w.now.Sub(w.vitals) >= vitalsEvery {
		v := w.o.Vitals()
		b.Vitals, w.vitals = &v, w.now
	}
	if w.o.Flight() && w.ring.until == nil {
		w.ring.push(b, w.limits.all)
		return nil
	}
	return w.fail(w.put(b))
}

// vitalsEvery is the time between two blocks that say how the tracer is doing.
const vitalsEvery = time.Second

// take compresses what was collected.
func (w *Writer) take() block {
	b := w.pack.take()
	b.limits, b.read = w.limits.take()
	return b
}

// fail keeps the first error.
func (w *Writer) fail(err error) error {
	if err != nil && w.err == nil {
		w.err = err
	}
	return w.err
}

// put writes a block, to the next file if that is due.
func (w *Writer) put(b block) error {
	full := w.o.Size > 0 && w.file != nil && w.file.blocks > 1 && w.file.size+int64(len(b.frame))+headerRoom > w.o.Size
	if full {
		if err := w.closeFile("rotated"); err != nil {
			return err
		}
	}
	if err := w.room(len(b.frame)); err != nil {
		return err
	}
	if w.file == nil {
		if err := w.openFile(); err != nil {
			return err
		}
	}
	if err := w.file.put(b, &w.start, &w.limits); err != nil {
		return err
	}
	w.written = b.Before + b.Records
	return nil
}

// headerRoom is approximately the size of the header of a block and of the closing block, in bytes.
const headerRoom = 1 << 10

// room returns an error if the file system is nearly full.
func (w *Writer) room(need int) error {
	if w.dir == nil || w.o.MinFree == 0 {
		return nil
	}
	free, err := w.dir.free()
	if err != nil {
		return err
	}
	if free < w.o.MinFree+uint64(need) {
		return fmt.Errorf("%s: %w", w.dir.path, &NoRoomError{Free: free, Least: w.o.MinFree})
	}
	return nil
}

// NoRoomError reports a file system with less free space than Options.MinFree, in bytes.
type NoRoomError struct{ Free, Least uint64 }

func (e *NoRoomError) Error() string {
	return fmt.Sprintf("only %d KiB are free, and --min-free is %d KiB", e.Free>>10, e.Least>>10)
}

func (w *Writer) openFile() error {
	w.parts++
	f := &partFile{w: w.o.Stdout, part: w.parts, name: "-", plain: w.o.Plain}
	if w.dir != nil {
		f.name = w.name.next(w.now)
		file, err := w.dir.create(f.name, w.o.Force)
		if err != nil {
			return kept(err)
		}
		f.file, f.w = file, file
		w.made = append(w.made, f.name)
	}
	w.file, w.born = f, w.now
	for w.o.Keep > 0 && len(w.made) > w.o.Keep {
		if err := w.dir.remove(w.made[0]); err != nil {
			return err
		}
		w.made = w.made[1:]
	}
	return nil
}

// kept adds to the error for an existing file what to do.
func kept(err error) error {
	if errors.Is(err, os.ErrExist) {
		return fmt.Errorf("%w: choose another name, or --force to replace it", err)
	}
	return err
}

// closeFile ends the file with a block that has the reason.
func (w *Writer) closeFile(why string) error {
	b := block{Header: Header{Trace: w.pack.h.Trace, Before: w.written, Close: why}, frame: w.pack.packed(nil, nil)}
	return w.closeWith(b)
}

func (w *Writer) closeWith(b block) error {
	f := w.file
	w.file = nil
	err := errors.Join(f.put(b, &w.start, &w.limits), f.close())
	w.past.Bytes += f.size
	w.past.Blocks += f.blocks
	w.past.Files++
	return err
}

// Close ends the recording with its end record; nil if the trace failed.
func (w *Writer) Close(end *event.Event) error {
	defer w.abandon()
	if w.err != nil {
		if w.file != nil && !w.file.torn {
			_ = w.closeFile("failed") // a file without an end says the same
		}
		return w.err
	}
	if w.o.Flight() {
		if w.ring.until == nil {
			return nil
		}
		return w.endFlight()
	}
	why := "failed"
	if end != nil {
		if w.o.Redact != nil {
			w.o.Redact.Event(end)
		}
		why = end.End.Why
		w.pack.add(end)
	}
	b := w.take()
	b.Close = why
	if end != nil {
		b.End = encode(end)
	}
	if w.file == nil {
		if err := w.openFile(); err != nil {
			return w.fail(err)
		}
	}
	return w.fail(w.closeWith(b))
}

// Reopen starts a new file if another program (logrotate) has renamed the open one, or
// if each file has its own name. It reports whether it did.
func (w *Writer) Reopen() (bool, error) {
	if w.err != nil || w.file == nil || w.dir == nil || !w.o.Rotates() && w.dir.holds(w.file.name, w.file.file) {
		return false, w.err
	}
	if err := w.Flush(); err != nil {
		return false, err
	}
	if err := w.closeFile("reopened"); err != nil {
		return false, w.fail(err)
	}
	return true, w.fail(w.openFile())
}

// Stats returns what was written so far.
func (w *Writer) Stats() Stats {
	s := w.past
	s.Records = w.pack.h.Before + w.pack.h.Records
	s.Raw = w.pack.past + uint64(len(w.pack.raw))
	s.Held = w.ring.size
	if f := w.file; f != nil {
		s.Bytes += f.size
		s.Blocks += f.blocks
		s.Files++
		s.Name = f.name
		if w.dir != nil {
			s.Name = w.dir.join(f.name)
		}
	}
	return s
}
