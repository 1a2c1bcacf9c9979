package record

import (
	"encoding/json"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

func encode(e *event.Event) json.RawMessage { return output.AppendJSON(nil, e) }

// ring is the last part of a trace, packed.
type ring struct {
	length time.Duration
	bytes  int64
	blocks []block
	size   int64
	until  *time.Time // the ring is in a file, and what comes is, until then
}

// push keeps a block, and lets go of what is too old or too much.
func (r *ring) push(b block) {
	r.blocks = append(r.blocks, b)
	r.size += int64(len(b.frame))
	for len(r.blocks) > 1 && r.tooMuch() {
		r.size -= int64(len(r.blocks[0].frame))
		r.blocks[0] = block{}
		r.blocks = r.blocks[1:]
	}
}

func (r *ring) tooMuch() bool {
	if r.bytes > 0 && r.size > r.bytes {
		return true
	}
	newest, oldest := r.blocks[len(r.blocks)-1].Last, r.blocks[0].Last
	return r.length > 0 && newest != nil && oldest != nil && newest.Sub(*oldest) > r.length
}

// Trigger writes the ring to a file, and what comes for some time after. While that
// lasts, another moment prolongs it. It returns the name of the file.
func (w *Writer) Trigger(now time.Time) (string, error) {
	w.now = now
	if err := w.Flush(); err != nil {
		return "", err
	}
	until := now.Add(w.o.After)
	if w.ring.until == nil {
		for _, b := range w.ring.blocks {
			if err := w.fail(w.put(b)); err != nil {
				return "", err
			}
		}
		w.ring.blocks, w.ring.size = nil, 0
	}
	w.ring.until = &until
	if w.file == nil { // nothing was in the ring
		if err := w.fail(w.openFile()); err != nil {
			return "", err
		}
	}
	return w.Stats().Name, nil
}

// endFlight closes the file that a ring was written to.
func (w *Writer) endFlight() error {
	if err := w.Flush(); err != nil {
		return err
	}
	w.ring.until = nil
	if w.file == nil { // rotated just now
		return nil
	}
	return w.fail(w.closeFile("ring"))
}
