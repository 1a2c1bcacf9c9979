package output

import (
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// tally is what a text has printed, and what its last line says of it: the records that
// were asked for, not what the host did beside them.
type tally struct {
	n       [event.End + 1]uint64
	exits   map[string]uint64 // by reason
	filter  string
	missing []string
	ended   bool // there was an end record
}

// add counts a record.
func (t *tally) add(e *event.Event) {
	if int(e.Kind) < len(t.n) {
		t.n[e.Kind]++
	}
	switch e.Kind {
	case event.Start:
		if e.Start != nil {
			t.filter, t.missing = e.Start.Filter, e.Start.Missing
		}
	case event.TimeWaitExit:
		if t.exits == nil {
			t.exits = make(map[string]uint64)
		}
		reason := e.Reason.String()
		if reason == "" {
			reason = "unknown"
		}
		t.exits[reason]++
	case event.End:
		t.ended = true
	}
}

// storms is how many records of storms there were.
func (t *tally) storms() uint64 {
	return t.n[event.StormStart] + t.n[event.StormUpdate] + t.n[event.StormEnd]
}

// What the kinds of records are called in the last line.
var tallied = []struct {
	kind event.Kind
	what string
}{
	{event.Open, " opened"},
	{event.TimeWaitEnter, " entered TIME_WAIT"},
	{event.TimeWaitExit, " left it"},
	{event.Close, " closed without it"},
	{event.TimeWaitRefused, " refused TIME_WAIT"},
	{event.Fail, " failed"},
	{event.StateChange, " other transitions"},
	{event.StormStart, " storms started"},
	{event.StormEnd, " storms ended"},
}

// appendCounts appends the last line up to the counts.
func (t *tally) appendCounts(dst []byte) []byte {
	dst = append(dst, "# end"...)
	if t.filter != "" {
		dst = Escape(append(dst, ", of "...), t.filter)
	}
	sep := ": "
	for _, x := range tallied {
		n := t.n[x.kind]
		if n == 0 {
			continue
		}
		dst = append(dst, sep...)
		what := x.what
		if n == 1 {
			what = strings.Replace(strings.Replace(what, "storms", "storm", 1), "transitions", "transition", 1)
		}
		if x.kind == event.TimeWaitExit {
			if t.n[event.TimeWaitEnter] == 0 {
				what = " left TIME_WAIT"
			}
			dst = appendParts(dst, t.exits, what)
		} else {
			dst = appendNumber(dst, n, what)
		}
		sep = ", "
	}
	if sep == ": " {
		return append(dst, ": no records"...)
	}
	return dst
}
