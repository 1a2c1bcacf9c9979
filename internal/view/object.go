package view

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// fieldType is what a field of an object is.
type fieldType uint8

const (
	textField fieldType = iota
	severityField
	countField
	rateField
	timeField
	listField // of texts
	stagesField
	bucketsField
	portsField
	findingsField
	rowsField
)

// stateField is one field of the object of an interval.
type stateField struct {
	name  string
	typ   fieldType
	doc   string
	value func(s *State, look *Look) any // nil if it is not known
}

// stateFields are those of an interval.
var stateFields = []stateField{
	{"time", timeField, "the end of the interval", func(s *State, _ *Look) any { return s.Time.UTC().Format(time.RFC3339Nano) }},
	{"host", textField, "", func(s *State, _ *Look) any { return text(s.Host) }},
	{"uptime_s", rateField, "how long the trace has run", func(s *State, _ *Look) any { return s.Uptime.Seconds() }},
	{"interval_s", rateField, "over which the rates were taken", func(s *State, _ *Look) any { return s.Interval.Seconds() }},
	{"filter", textField, "of the trace, absent if all is traced", func(s *State, _ *Look) any { return text(s.Filter) }},
	{"tw", countField, "sockets in TIME_WAIT", func(s *State, _ *Look) any { return s.TimeWait }},
	{"parked", countField, "sockets in FIN_WAIT2 without a process", func(s *State, _ *Look) any { return s.Parked }},
	{"est", countField, "open connections", func(s *State, _ *Look) any { return s.Established }},
	{"in_s", rateField, "begins of TIME_WAIT", func(s *State, _ *Look) any { return rate(s.Rates.In) }},
	{"out_s", rateField, "ends of TIME_WAIT", func(s *State, _ *Look) any { return rate(s.Rates.Out) }},
	{"open_s", rateField, "connections established", func(s *State, _ *Look) any { return rate(s.Rates.Open) }},
	{"close_s", rateField, "connections ended", func(s *State, _ *Look) any { return rate(s.Rates.Close) }},
	{"fail_s", rateField, "calls failed", func(s *State, _ *Look) any { return rate(s.Rates.Fail) }},
	{"lost", countField, "what the trace has not seen, since its begin", func(s *State, _ *Look) any { return lost(&s.Lost) }},
	{"lost_stages", stagesField, "the same by where, absent if nothing was lost", lostStages},
	{"self_cpu", rateField, "twtrace's own use of CPU in the interval; 1 is a whole one", func(s *State, _ *Look) any { return atLeastZero(s.SelfCPU) }},
	{"self_rss_bytes", countField, "twtrace's own memory", func(s *State, _ *Look) any { return above(s.SelfRSS) }},
	{"buckets", bucketsField, "TIME_WAIT and parked sockets of the fullest network namespace, and its tcp_max_tw_buckets", bucketsObject},
	{"ports", portsField, "where most local ports are in use: see ports.md for the fields; absent if nothing connects", portsObject},
	{"findings", findingsField, "what is wrong, the worst first; the IDs are those of `twtrace explain`", findingObjects},
	{"remarks", listField, "what to know of the trace itself", remarksList},
	{"rows", rowsField, "what the table has, in its order; see below", func(s *State, look *Look) any { return rowObjects(look.Arrange(s.Rows)) }},
}

// field is one of an object, in its order.
type field struct {
	name  string
	value any
}

// object is encoded in the order of its fields, without those that are nil.
type object []field

// MarshalJSON is for package json.
func (o object) MarshalJSON() ([]byte, error) {
	out := []byte{'{'}
	for _, f := range o {
		if f.value == nil {
			continue
		}
		var value bytes.Buffer
		if err := encode(&value, f.value); err != nil {
			return nil, fmt.Errorf("%s: %w", f.name, err)
		}
		if len(out) > 1 {
			out = append(out, ',')
		}
		out = append(append(append(out, '"'), f.name...), '"', ':')
		out = append(out, bytes.TrimSpace(value.Bytes())...)
	}
	return append(out, '}'), nil
}

// Object writes s as one JSON object on one line, with the rows that look shows.
func Object(w io.Writer, s *State, look Look) error {
	var o object
	for _, f := range stateFields {
		o = append(o, field{f.name, f.value(s, &look)})
	}
	return encode(w, o)
}

// encode writes a line of JSON with no HTML escapes: commands and arrows stay as they
// are.
func encode(w io.Writer, value any) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(value); err != nil {
		return fmt.Errorf("write JSON: %w", err)
	}
	return nil
}

// text escapes what others chose, as records have it.
func text(s string) any {
	if s == "" {
		return nil
	}
	return string(output.Escape(nil, s))
}

func rate(v float64) any {
	if !known(v) {
		return nil
	}
	return math.Round(v*1000) / 1000
}

func atLeastZero(v float64) any {
	if v < 0 {
		return nil
	}
	return rate(v)
}

func above(n uint64) any {
	if n == 0 {
		return nil
	}
	return n
}

func lostStages(s *State, _ *Look) any {
	var o object
	for i, n := range s.Lost {
		if n > 0 {
			o = append(o, field{stageName(event.Stage(i)), n})
		}
	}
	if o == nil {
		return nil
	}
	return o
}

func (s Severity) object() any { return [...]any{nil, "warn", "crit"}[min(s, Crit)] }

func remarksList(s *State, _ *Look) any {
	if len(s.Remarks) == 0 {
		return nil
	}
	return s.Remarks
}

func bucketsObject(s *State, _ *Look) any {
	b := &s.Buckets
	return object{{"severity", b.Severity.object()}, {"netns", b.NetNS}, {"used", b.Used}, {"usable", above(b.Max)}, {"refusing", b.Refusing}}
}

func portsObject(s *State, _ *Look) any {
	w := s.Worst
	if w == nil {
		return nil
	}
	o := object{{"severity", Severity(w.Severity).object()}, {"what", w.What.String()}, {"netns", w.NetNS}, {"laddr", text(w.Local.String())}}
	if w.What == pressure.Ports {
		o = append(o, field{"raddr", text(w.Remote.Addr().String())}, field{"rport", w.Remote.Port()})
	}
	return append(o, field{"used", w.Used}, field{"usable", above(uint64(max(w.Limit, 0)))})
}

func findingObjects(s *State, _ *Look) any {
	list := []object{}
	for i := range s.Findings {
		f := &s.Findings[i]
		list = append(list, object{{"id", f.ID}, {"severity", f.Severity.String()}, {"title", text(f.Title)}, {"what", text(f.What)},
			{"who", text(f.Who)}, {"when", text(f.When)}, {"why", text(f.Why)}, {"remedies", remedies(f)}})
	}
	return list
}

// remedies are in the order of the screen.
func remedies(f *advice.Finding) []object {
	list := []object{}
	for _, r := range append(append([]advice.Remedy(nil), f.Now...), f.Fix...) {
		list = append(list, object{{"kind", r.Kind}, {"text", text(r.Text)}, {"command", text(r.Command)}, {"undo", text(r.Undo)}, {"risk", text(r.Risk)}})
	}
	return list
}

func rowObjects(rows []*Row) []object {
	list := make([]object, len(rows))
	for i, r := range rows {
		list[i] = rowObject(r)
	}
	return list
}

func rowObject(r *Row) object {
	var o object
	for _, f := range rowFields {
		cell := f.cell(r)
		switch {
		case cell == "":
		case f.typ == severityField:
			o = append(o, field{f.name, r.Severity.object()})
		case f.typ == textField:
			o = append(o, field{f.name, text(cell)})
		default:
			o = append(o, field{f.name, json.Number(cell)})
		}
	}
	return o
}
