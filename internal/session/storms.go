package session

import (
	"sync/atomic"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/storm"
)

// stormWatch looks for storms in a table, once a second. A nil one finds none.
type stormWatch struct {
	table    *conn.Table
	meter    *pressure.Meter
	detector *storm.Detector
	snapshot conn.Snapshot
	due      int64                         // ns since the epoch
	next     atomic.Pointer[storm.Options] // that are to be in force, nil if nothing changes
}

// stormInterval is the time between two searches for storms.
const stormInterval = time.Second

func newStormWatch(t *conn.Table, limits conn.LimitsFunc, o storm.Options) *stormWatch {
	return &stormWatch{table: t, meter: pressure.NewMeter(limits), detector: storm.New(o)}
}

// observe takes an event into account that the table has completed.
func (w *stormWatch) observe(e *event.Event) {
	if w != nil {
		w.detector.Observe(e)
	}
}

// tick looks for storms at now if it is due, and passes their records to found.
func (w *stormWatch) tick(now time.Time, found func(*event.Event) error) error {
	at := now.UnixNano()
	if w == nil || at < w.due {
		return nil
	}
	w.due = at + int64(stormInterval)
	if o := w.next.Swap(nil); o != nil {
		w.detector.Set(*o)
	}
	w.table.SnapshotLimited(at, &w.snapshot)
	r := w.meter.Measure(&w.snapshot)
	for _, e := range w.detector.Tick(&r) {
		if err := found(&e); err != nil {
			return err
		}
	}
	return nil
}

// SetStorms changes what a storm is, within a second, for those that last too. Any
// goroutine may call it. It does nothing in a session that looks for no storms.
func (s *Session) SetStorms(o storm.Options) {
	if s.storms != nil {
		s.storms.next.Store(&o)
	}
}
