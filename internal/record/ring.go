package record

import (
	"encoding/json"
	"maps"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

func encode(e *event.Event) json.RawMessage { return output.AppendJSON(nil, e) }

// ring is the last part of a trace in memory, compressed.
type ring struct {
	length time.Duration
	bytes  int64
	blocks []block
	size   int64
	until  *time.Time                   // not nil: the ring is in a file, and so is what follows until then
	limits map[uint32]map[string]string // those of namespaces before the oldest block
}

// push keeps a block, and drops the oldest ones beyond the limits. Of the namespaces in all
// the limits before the oldest block stay known.
func (r *ring) push(b block, all map[uint32]map[string]string) {
	r.blocks = append(r.blocks, b)
	r.size += int64(len(b.frame))
	for len(r.blocks) > 1 && r.tooMuch() {
		r.size -= int64(len(r.blocks[0].frame))
		r.learn(&r.blocks[0], all)
		r.blocks[0] = block{}
		r.blocks = r.blocks[1:]
	}
}

// learn takes over the limits that a block has.
func (r *ring) learn(b *block, all map[uint32]map[string]string) {
	if r.limits == nil && len(b.limits) > 0 {
		r.limits = make(map[uint32]map[string]string)
	}
	maps.Copy(r.limits, b.limits)
	maps.DeleteFunc(r.limits, func(netns uint32, _ map[string]string) bool { return all[netns] == nil })
}

func (r *ring) tooMuch() bool {
	if r.bytes > 0 && r.size > r.bytes {
		return true
	}
	newest, oldest := r.blocks[len(r.blocks)-1].Last, r.blocks[0].Last
	return r.length > 0 && newest != nil && oldest != nil && newest.Sub(*oldest) > r.length
}

// Trigger writes the ring to a file, and what follows for Options.After. A Trigger
// during that time extends it. Trigger returns the name of the file.
func (w *Writer) Trigger(now time.Time) (string, error) {
	w.now = now
	if err := w.Flush(); err != nil {
		return "", err
	}
	until := now.Add(w.o.After)
	if w.ring.until == nil {
		for _, b := range w.ring.blocks {
			w.ring.learn(&b, w.limits.all)
			b.all = maps.Clone(w.ring.limits)
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
	w.ring.until, w.ring.limits = nil, maps.Clone(w.limits.all)
	if w.file == nil { // rotated just now
		return nil
	}
	return w.fail(w.closeFile("ring"))
}
