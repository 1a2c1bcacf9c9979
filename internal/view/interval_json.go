package view

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/rows"
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
	name  string // of a term
	typ   fieldType
	doc   string                         // "" for the term's
	value func(s *State, d *Display) any // nil if it is not known
}

// stateFields are those of an interval.
var stateFields = []stateField{
	{"time", timeField, "end of the interval", func(s *State, _ *Display) any { return s.Time.UTC().Format(time.RFC3339Nano) }},
	{"host", textField, "", func(s *State, _ *Display) any { return text(s.Host) }},
	{"uptime_s", rateField, "", func(s *State, _ *Display) any { return s.Uptime.Seconds() }},
	{"interval_s", rateField, "", func(s *State, _ *Display) any { return s.Interval.Seconds() }},
	{"filter", textField, "", func(s *State, _ *Display) any { return text(s.Filter) }},
	{"time_wait", countField, "", func(s *State, _ *Display) any { return s.TimeWait }},
	{"parked", countField, "", func(s *State, _ *Display) any { return s.Parked }},
	{"established", countField, "", func(s *State, _ *Display) any { return s.Established }},
	{"close_wait", countField, "", func(s *State, _ *Display) any { return ifPolled(s.Polled, s.CloseWait) }},
	{"time_wait_enters_per_s", rateField, "", func(s *State, _ *Display) any { return rate(s.Rates.In) }},
	{"time_wait_exits_per_s", rateField, "", func(s *State, _ *Display) any { return rate(s.Rates.Out) }},
	{"opens_per_s", rateField, "", func(s *State, _ *Display) any { return rate(s.Rates.Open) }},
	{"ended_per_s", rateField, "", func(s *State, _ *Display) any { return rate(s.Rates.Close) }},
	{"fails_per_s", rateField, "", func(s *State, _ *Display) any { return rate(s.Rates.Fail) }},
	{"lost_total", countField, "", func(s *State, _ *Display) any { return lost(&s.Lost) }},
	{"lost_by_stage", stagesField, "the same by stage; absent if nothing was lost", lostStages},
	{"self_cpu_share", rateField, "", func(s *State, _ *Display) any { return atLeastZero(s.SelfCPU) }},
	{"self_rss_bytes", countField, "", func(s *State, _ *Display) any { return above(s.SelfRSS) }},
	{"buckets", bucketsField, "the network namespace nearest to its TIME_WAIT bucket limit (tcp_max_tw_buckets); parked sockets count too", bucketsObject},
	{"ports", portsField, "the destination, or the bound address, with the highest share of its local ports in use; ports.md explains the fields; absent if nothing connects", portsObject},
	{"findings", findingsField, "findings, the worst first; `twtrace explain ID` explains each", findingObjects},
	{"remarks", listField, "notes about the trace itself", remarksList},
	{"rows", rowsField, "rows of the table, in its order; see below", func(s *State, d *Display) any { return rowObjects(d.Arrange(s.Rows)) }},
}

func (f *stateField) sentence() string { return cmp.Or(f.doc, termOf(f.name).Doc) }

// rowField is one column of the tables for scripts, and one field of the objects.
type rowField struct {
	name string // of a term
	typ  fieldType
	doc  string                   // "" for the term's
	cell func(r *rows.Row) string // "" if it is not known
}

// rowFields are those of a row. Scripts count the columns: none is ever moved or
// removed, and new ones come last.
var rowFields = []rowField{
	{"severity", severityField, "`!` (in JSON `crit`): ports have run out, or will within five minutes; `~` (`warn`): they are running low; or a finding is about the row",
		func(r *rows.Row) string { return strings.TrimSpace(mark(r.Severity)) }},
	{"group", textField, "", func(r *rows.Row) string { return r.Name() }},
	{"pid", countField, "pid of the owner, if it is one process", batchPID},
	{"role", textField, "", func(r *rows.Row) string { return r.Role.String() }},
	{"raddr", textField, "remote address; absent if there are several, and `peers` says how many", func(r *rows.Row) string { return batchAddr(r.Remote) }},
	{"rport", countField, "", func(r *rows.Row) string { return batchNumber(uint64(r.Remote.Port())) }},
	{"time_wait", countField, "", func(r *rows.Row) string { return strconv.FormatUint(r.TimeWait, 10) }},
	{"time_wait_growth_per_s", rateField, "", func(r *rows.Row) string { return batchRate(r.In - r.Out) }},
	{"used_pct", countField, "percent of the local ports to that destination in use, by any process; of several destinations the fullest", batchPorts},
	{"opens_per_s", rateField, "", func(r *rows.Row) string { return batchRate(r.Open) }},
	{"ended_per_s", rateField, "", func(r *rows.Row) string { return batchRate(r.Close) }},
	{"fails_per_s", rateField, "", func(r *rows.Row) string { return batchRate(r.Fail) }},
	{"life_p50_ns", countField, "median lifetime of the connections", func(r *rows.Row) string { return batchLife(r, 0.5) }},
	{"closed_by", textField, "the side that sends the first FIN most often: `local`, `remote` or `both`",
		func(r *rows.Row) string { side, _, _ := r.ClosedBy(); return side.String() }},
	{"closed_by_pct", countField, "", batchClosedBy},
	{"time_wait_enters_per_s", rateField, "", func(r *rows.Row) string { return batchRate(r.In) }},
	{"time_wait_exits_per_s", rateField, "", func(r *rows.Row) string { return batchRate(r.Out) }},
	{"parked", countField, "", func(r *rows.Row) string { return strconv.FormatUint(r.Parked, 10) }},
	{"established", countField, "", func(r *rows.Row) string { return strconv.FormatUint(r.Established, 10) }},
	{"life_p99_ns", countField, "", func(r *rows.Row) string { return batchLife(r, 0.99) }},
	{"laddr", textField, "", func(r *rows.Row) string { return batchAddr(r.Local) }},
	{"lport", countField, "local port; of servers alone", func(r *rows.Row) string { return batchNumber(uint64(r.Local.Port())) }},
	{"netns", countField, "", func(r *rows.Row) string { return batchNumber(uint64(r.NetNS)) }},
	{"processes", countField, "how many processes", func(r *rows.Row) string { return batchNumber(uint64(r.PIDs)) }},
	{"peers", countField, "", batchPeers},
	{"ppid", countField, "pid of the owner's parent", batchParent},
	{"pcomm", textField, "", func(r *rows.Row) string { return who(r).PComm }},
	{"uid", countField, "", batchUID},
	{"exe", textField, "executable of the owner", func(r *rows.Row) string { return who(r).Exe }},
	{"unit", textField, "", func(r *rows.Row) string { return who(r).Unit }},
	{"container", textField, "", func(r *rows.Row) string { return who(r).Container }},
	{"pod", textField, "", func(r *rows.Row) string { return who(r).Pod }},
	{"container_name", textField, "", func(r *rows.Row) string { return who(r).ContainerName }},
	{"pod_name", textField, "", func(r *rows.Row) string { return who(r).PodName }},
	{"close_wait", countField, "", batchCloseWait},
	{"netns_name", textField, "", func(r *rows.Row) string { return cmp.Or(r.Space, batchNumber(uint64(r.NetNS))) }},
}

func (f *rowField) sentence() string { return cmp.Or(f.doc, termOf(f.name).Doc) }

// heading is that of the term, with the unit of a lifetime: scripts read it as a number.
func (f *rowField) heading() string {
	if name, ok := strings.CutSuffix(f.name, "_ns"); ok {
		return strings.ToUpper(name) + "_NS"
	}
	if f.name == "netns_name" { // NETNS is the number
		return "NETNS_NAME"
	}
	return termOf(f.name).Heading()
}

// termOf returns the term of that name. What has none is a part of this form alone.
func termOf(name string) output.Term {
	t, _ := output.FindTerm(name)
	return t
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

// Object writes s as one JSON object on one line, with the rows that d shows.
func Object(w io.Writer, s *State, d Display) error {
	var o object
	for _, f := range stateFields {
		o = append(o, field{f.name, f.value(s, &d)})
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
	if !rows.Known(v) {
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

// ifPolled is n, if somebody has asked the kernel for it.
func ifPolled(polled bool, n uint64) any {
	if !polled {
		return nil
	}
	return n
}

func lostStages(s *State, _ *Display) any {
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

func severityName(v event.Severity) any {
	if v < event.Warn {
		return nil
	}
	return v.String()
}

func remarksList(s *State, _ *Display) any {
	if len(s.Remarks) == 0 {
		return nil
	}
	return s.Remarks
}

func bucketsObject(s *State, _ *Display) any {
	b := &s.Buckets
	return object{{"severity", severityName(b.Severity)}, {"netns", b.NetNS}, {"used", b.Used}, {"usable", above(b.Max)}, {"refusing", b.Refusing}}
}

func portsObject(s *State, _ *Display) any {
	w := s.Worst
	if w == nil {
		return nil
	}
	o := object{{"severity", severityName(w.Severity)}, {"resource", w.What.String()}, {"netns", w.NetNS}, {"laddr", text(w.Local.String())}}
	if w.What == pressure.Ports {
		o = append(o, field{"raddr", text(w.Remote.Addr().String())}, field{"rport", w.Remote.Port()})
	}
	return append(o, field{"used", w.InUse()}, field{"usable", above(uint64(max(w.Limit, 0)))})
}

func findingObjects(s *State, _ *Display) any {
	list := []object{}
	for i := range s.Findings {
		f := &s.Findings[i]
		o := findingObject(f)
		if len(f.Under) > 0 {
			var under []object
			for j := range f.Under {
				under = append(under, findingObject(&f.Under[j]))
			}
			o = append(o, field{"consequences", under})
		}
		list = append(list, o)
	}
	return list
}

// contributors are the programs that a finding names, and their parts.
func contributors(f *advice.Finding) []object {
	list := []object{}
	for _, s := range f.Contributors {
		list = append(list, object{{"role", string(s.Part)}, {"comm", text(s.Comm)}, {"pid", above(uint64(s.PID))}, {"processes", above(uint64(max(s.Processes, 0)))},
			{"n", s.N}, {"share", s.Share}, {"per_s", s.Rate}})
	}
	return list
}

func findingObject(f *advice.Finding) object {
	return object{{"id", f.ID}, {"severity", f.Severity.String()}, {"title", text(f.Title)}, {"what", text(f.What)},
		{"who", text(string(f.Who))}, {"contributors", contributors(f)}, {"when", text(f.When)}, {"why", text(f.Why)}, {"remedies", remedies(f)}}
}

// remedies are in the order of the screen.
func remedies(f *advice.Finding) []object {
	list := []object{}
	for _, r := range append(append([]advice.Remedy(nil), f.Now...), f.Fix...) {
		list = append(list, object{{"kind", r.Kind}, {"text", text(r.Text)}, {"command", text(r.Command())}, {"undo", text(r.Undo())}, {"risk", text(r.Risk)}})
	}
	return list
}

// exportedRow is a row beside its interval.
func exportedRow(s *State, r *rows.Row) object {
	return append(object{{"time", s.Time.UTC().Format(time.RFC3339Nano)}, {"host", text(s.Host)}}, rowObject(r)...)
}

// entryObject is one of the events.
func entryObject(e *Entry) object {
	return object{{"time", time.Unix(0, e.Time).UTC().Format(time.RFC3339Nano)}, {"severity", severityName(e.Severity)},
		{"count", e.Count}, {"text", text(e.Text)}}
}

func rowObjects(list []*rows.Row) []object {
	out := make([]object, len(list))
	for i, r := range list {
		out[i] = rowObject(r)
	}
	return out
}

func rowObject(r *rows.Row) object {
	var o object
	for _, f := range rowFields {
		cell := f.cell(r)
		switch {
		case cell == "":
		case f.typ == severityField:
			o = append(o, field{f.name, severityName(r.Severity)})
		case f.typ == textField:
			o = append(o, field{f.name, text(cell)})
		default:
			o = append(o, field{f.name, json.Number(cell)})
		}
	}
	return o
}
