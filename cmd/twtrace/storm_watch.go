package main

import (
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/storm"
)

// stormWatch looks for storms in a table, once a second.
type stormWatch struct {
	table    *conn.Table
	limits   *limitsCache
	meter    *pressure.Meter
	detector *storm.Detector
	snapshot conn.Snapshot
	due      int64 // ns since the epoch
}

// stormInterval is how often storms are looked for.
const stormInterval = time.Second

func newStormWatch(s *session, o storm.Options) *stormWatch {
	return &stormWatch{table: s.table, limits: s.limits, meter: pressure.NewMeter(s.limits.of), detector: storm.New(o)}
}

// observe takes an event into account that the table has completed.
func (w *stormWatch) observe(e *event.Event) {
	if w != nil {
		w.detector.Observe(e)
	}
}

// tick looks for storms at now if it is due, and hands what is to be told to handle.
func (w *stormWatch) tick(now time.Time, handle func(*event.Event) error) error {
	at := now.UnixNano()
	if w == nil || at < w.due {
		return nil
	}
	w.due = at + int64(stormInterval)
	w.limits.refresh()
	w.table.Limited(at, &w.snapshot)
	r := w.meter.Measure(&w.snapshot)
	for _, e := range w.detector.Tick(&r) {
		if err := handle(&e); err != nil {
			return err
		}
	}
	return nil
}
