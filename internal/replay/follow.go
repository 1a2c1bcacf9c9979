package replay

import (
	"context"
	"io"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/record"
)

// Follow opens a recording that is still being written, as a stream: that of a tracer, or
// of an agent, by the name that errors have. Its time is that of the last record, or of the
// last block without one, and Next returns session.ErrIdle where there is no record yet. It
// waits for the first block. Who calls Close closes in as well.
//
// The records before Between's from are those of the past: Early reports whether they are
// all read.
func Follow(o Options, name string, in io.Reader) (*Files, error) {
	f := &Files{opt: o, stream: true, total: event.EndInfo{Ends: make(map[string]uint64), Lost: make(map[string]uint64)}}
	if o.Filter != nil {
		f.traced = *o.Filter.Spaces()
	}
	var err error
	if f.reader, err = record.Follow(name, in); err != nil {
		return nil, err
	}
	if limits, err := kernel.ParseLimits(f.Header().Limits); err == nil {
		f.start = &limits
	}
	f.reader.OnLimits, f.reader.OnBlock = f.learn, o.OnBlock
	f.reader.OnVitals = func(v *event.Vitals) { f.vitals = *v }
	f.readAhead()
	return f, nil
}

// awaitStep is how long a source waits for events at most, as the tracer does.
const awaitStep = 50 * time.Millisecond

// await lets time go on to where the stream says that the recording is, or waits for the
// next block.
func (f *Files) await(ctx context.Context) {
	if at := f.heard(); at > f.now {
		f.step(ctx, f.until(at))
		return
	}
	f.reader.Wait(awaitStep, ctx.Done())
}

// heard is how far the recording has come, as the stream says; ns since the epoch.
func (f *Files) heard() int64 {
	if at := f.reader.Heard(); !at.IsZero() {
		return at.UnixNano()
	}
	return 0
}

// left is the end record of a reader that leaves a stream before it ends: what it has read.
func (f *Files) left(why string) event.Event {
	end := f.total
	end.Why = why
	return event.Event{Time: f.now, Kind: event.End, End: &end}
}
