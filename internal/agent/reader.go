package agent

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/record"
)

// Headers of the answer to /v1/stream, for who reads them before the stream.
const (
	HeaderFrom    = "Twtrace-From"    // the time of the cut that the stream starts with
	HeaderNow     = "Twtrace-Now"     // how far the recording had come
	HeaderFilter  = "Twtrace-Filter"  // that of the agent, "" if it traces all
	HeaderDropped = "Twtrace-Dropped" // records that were asked for, and that the past does not have any more; absent if none
	HeaderVersion = "Twtrace-Version"
)

// How long one write to a reader may take, and how long a reader that is cut off has to take
// the rest of a block.
const (
	writePatience = 30 * time.Second
	cutPatience   = 2 * time.Second
)

// reader is one that reads /v1/stream.
type reader struct {
	out     *http.ResponseController
	at      place
	start   uint64        // records of the recording before its first one
	passed  atomic.Uint64 // records that it got since, or that its filter left out
	end     atomic.Int64  // bytes of the past that it got
	caught  atomic.Bool   // it has had all there was
	behind  atomic.Bool   // and is too far behind now
	records *record.Selector
}

// wish is what a request asks for.
type wish struct {
	past   time.Duration
	live   bool
	filter *filter.Filter // nil for everything
}

// parseWish parses the parameters of /v1/stream.
func (a *agent) parseWish(q url.Values) (w wish, err error) {
	w.live = true
	for name, values := range q {
		value := values[len(values)-1]
		switch {
		case len(values) > 1:
			return w, fmt.Errorf("%q is given %d times", name, len(values))
		case name == "past" && value == "0":
		case name == "past":
			if w.past, err = time.ParseDuration(value); err != nil || w.past < 0 {
				return w, fmt.Errorf("past: bad time %q: use one such as 15m, or 0", value)
			}
		case name == "live":
			if w.live, err = strconv.ParseBool(value); err != nil {
				return w, fmt.Errorf("live: bad value %q: use 0 or 1", value)
			}
		case name == "filter" && a.opt.ParseFilter == nil:
			return w, errors.New("filter: this agent takes none")
		case name == "filter":
			if w.filter, err = a.opt.ParseFilter(value); err != nil {
				return w, fmt.Errorf("filter: %s", output.Escape(nil, err.Error())) // it quotes the filter as it came
			}
		default:
			return w, fmt.Errorf("no parameter %q: use past, live or filter", name)
		}
	}
	return w, nil
}

// stream answers /v1/stream.
func (a *agent) stream(w http.ResponseWriter, q *http.Request) {
	wish, err := a.parseWish(q.URL.Query())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	r := &reader{out: http.NewResponseController(w)}
	if !a.enter(r) {
		w.Header().Set("Retry-After", "1")
		http.Error(w, fmt.Sprintf("%d readers already: --max-readers", a.maxReaders.Load()), http.StatusServiceUnavailable)
		return
	}
	defer a.leave(r)
	_ = r.out.SetReadDeadline(time.Time{}) // the time for the request: the reader stays
	if wish.filter != nil {
		if r.records, err = record.NewSelector(wish.filter.Match); err != nil {
			http.Error(w, err.Error(), http.StatusInternalServerError)
			return
		}
		defer r.records.Close()
	}
	c, err := a.chooseCut(q, wish.past)
	if err != nil {
		http.Error(w, err.Error(), http.StatusServiceUnavailable)
		return
	}
	r.at, r.start = c.first, c.before
	if wish.past == 0 { // it starts now, so it is not behind
		r.caught.Store(true)
	}
	b, now := a.past.next(&place{c.first.segment, c.first.index})
	if r.end.Store(now.end); b == nil {
		r.end.Store(now.total)
	}
	a.introduce(w.Header(), c, now.heard, wish.past)
	relay := record.NewRelay(w, &c.known, c.limits, c.before)
	_ = a.write(q, r, relay, c, wish) // an error is that of the reader, who is gone or was cut off
}

// introduce sets the headers of an answer.
func (a *agent) introduce(h http.Header, c *cut, now time.Time, past time.Duration) {
	h.Set("Content-Type", "application/x-ndjson+zstd")
	h.Set("Cache-Control", "no-store")
	h.Set("Connection", "close") // its deadlines are those of this answer
	h.Set(HeaderFrom, jsonTime(c.at))
	h.Set(HeaderNow, jsonTime(now))
	h.Set(HeaderVersion, a.opt.Version)
	if s := a.started.Load(); s != nil {
		h.Set(HeaderFilter, s.Filter)
	}
	if d := a.past.status().Dropped.Records; d > 0 && past > 0 && c.at.After(now.Add(-past)) {
		h.Set(HeaderDropped, strconv.FormatUint(d, 10))
	}
}

// chooseCut returns where a stream starts that is to have so much of the past.
func (a *agent) chooseCut(q *http.Request, past time.Duration) (*cut, error) {
	var c *cut
	if past > 0 {
		c = a.past.since(past)
	}
	if c == nil {
		want := make(chan *cut, 1)
		select {
		case a.cuts <- want:
		case <-q.Context().Done():
			return nil, q.Context().Err()
		case <-a.ended:
			return nil, errors.New("the agent ends")
		}
		select {
		case c = <-want:
		case <-q.Context().Done():
			return nil, q.Context().Err()
		case <-a.ended:
			return nil, errors.New("the agent ends")
		}
	}
	select {
	case <-c.packed:
		return c, c.err
	case <-q.Context().Done():
		return nil, q.Context().Err()
	}
}

// write writes the cut, the past, and what comes then.
func (a *agent) write(q *http.Request, r *reader, relay *record.Relay, c *cut, w wish) error {
	sent := 0
	for _, b := range c.blocks {
		if err := r.put(relay, b); err != nil {
			return a.failed(r, err)
		}
		sent++
	}
	pulse := c.at
	if sent == 0 {
		if err := r.pulse(relay, c.at); err != nil {
			return a.failed(r, err)
		}
	}
	for {
		b, n := a.past.next(&r.at)
		switch {
		case r.behind.Load() || n.gone:
			return a.sayCutOff(r, relay, n)
		case b != nil:
			if err := r.put(relay, b); err != nil {
				return a.failed(r, err)
			}
			r.passed.Add(b.Records)
			r.end.Store(n.end)
			if b.Close != "" {
				return r.out.Flush()
			}
			continue
		}
		r.end.Store(n.total)
		r.caught.Store(true)
		if n.over {
			return r.last(relay, "the tracer ended", n.heard)
		}
		if !w.live {
			return r.last(relay, "past", n.heard)
		}
		if n.heard.After(pulse) {
			pulse = n.heard
			if err := r.pulse(relay, pulse); err != nil {
				return a.failed(r, err)
			}
		}
		if err := r.out.Flush(); err != nil {
			return a.failed(r, err)
		}
		select {
		case <-n.grown:
		case <-q.Context().Done():
			return q.Context().Err()
		}
	}
}

func (r *reader) deadline(d time.Duration) { _ = r.out.SetWriteDeadline(time.Now().Add(d)) }

// put writes a block, or what the filter accepts of it.
func (r *reader) put(relay *record.Relay, b *record.Block) error {
	if r.records != nil {
		selected, err := r.records.Select(b)
		if err != nil {
			return err
		}
		if b = selected; b.Records == 0 && len(b.Limits) == 0 && b.Close == "" {
			return nil
		}
	}
	if !r.behind.Load() {
		r.deadline(writePatience)
	}
	return relay.Put(b)
}

func (r *reader) pulse(relay *record.Relay, at time.Time) error {
	if !r.behind.Load() {
		r.deadline(writePatience)
	}
	return relay.Pulse(at)
}

// last ends a stream.
func (r *reader) last(relay *record.Relay, why string, at time.Time) error {
	r.deadline(cutPatience)
	if err := relay.End(why, at, 0, nil); err != nil {
		return err
	}
	return r.out.Flush()
}

// sayCutOff ends the stream of a reader that is too slow: its last record says what it did
// not get.
func (a *agent) sayCutOff(r *reader, relay *record.Relay, n next) error {
	lost := a.countCutOff(r)
	r.deadline(cutPatience)
	if err := relay.End(record.CutOff, n.heard, lost, nil); err != nil {
		return err
	}
	return r.out.Flush()
}

// failed is the end of a reader that takes nothing any more, or has gone.
func (a *agent) failed(r *reader, err error) error {
	if r.behind.Load() || errors.Is(err, os.ErrDeadlineExceeded) {
		a.countCutOff(r)
	}
	return err
}

func (a *agent) countCutOff(r *reader) (lost uint64) {
	_, n := a.past.next(&place{r.at.segment, r.at.index}) // what has come since counts too
	lost = n.records - min(n.records, r.start+r.passed.Load())
	a.opt.Talk("a reader was too slow, and is cut off: it does not get %d records", lost)
	a.mu.Lock()
	defer a.mu.Unlock()
	a.cutOff++
	a.missed += lost
	return lost
}

// enter admits a reader, unless there are too many.
func (a *agent) enter(r *reader) bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	if int64(len(a.readers)) >= a.maxReaders.Load() {
		a.refused++
		return false
	}
	a.readers[r] = struct{}{}
	return true
}

func (a *agent) leave(r *reader) {
	a.mu.Lock()
	defer a.mu.Unlock()
	delete(a.readers, r)
}

// checkReaders gives those who are too far behind a last moment: the write that holds them
// up fails then.
func (a *agent) checkReaders() {
	_, n := a.past.next(&place{&segment{}, 0})
	a.mu.Lock()
	defer a.mu.Unlock()
	for r := range a.readers {
		if r.caught.Load() && n.total-r.end.Load() > a.opt.Queue && !r.behind.Swap(true) {
			r.deadline(cutPatience)
		}
	}
}

func jsonTime(t time.Time) string { return t.UTC().Format(time.RFC3339Nano) }
