package output

import (
	"slices"
	"strings"
)

// Term is a name that users see: a key of JSON, a header of CSV, a column of
// Parquet and, as [Term.Heading] words it, of text. One name means one thing in all
// that twtrace prints, and one thing has one name.
//
// Names say their unit: _ns, _s (seconds), _bytes, _pct (of 100), _share (of 1),
// _per_s; a count that only grows ends in _total, and the same by something in
// _by_it. What has no such ending is a count of what is there now, or a word.
type Term struct {
	Name  string
	Doc   string // one sentence for the documentation, in Markdown
	Type  Type
	Was   []Old
	short string // the heading, if it is not made of the name
}

// Old is a name that a term had in an earlier schema. It is read for ever, and
// written never.
type Old struct{ Name, In string }

// Where old names were.
const (
	inRecords = "records"
	inPorts   = "ports"
	inSummary = "trace --summary"
	inTop     = "top"
	inReport  = "report"
)

// was makes the old names of a term that had the same one in all of these places.
func was(name string, in ...string) []Old {
	out := make([]Old, len(in))
	for i, place := range in {
		out[i] = Old{name, place}
	}
	return out
}

// tableTerms are the terms that are in no record: those of tables, of the live view
// for scripts and of reports.
var tableTerms = []Term{
	// What a row is of.
	{Name: "group", Type: TypeString, Was: was("comm", inTop),
		Doc: "name of the row: the owner's comm, or what `--by` groups by"},
	{Name: "peers", Type: TypeUint, Doc: "destinations of a client, remote addresses of a server"},
	{Name: "closed_by_pct", Type: TypeUint, Was: was("closer_pct", inTop),
		Doc: "how often it is that side, in percent of the connections where it is known"},

	// How many sockets there are now.
	{Name: "time_wait", Type: TypeUint, short: "TW", Was: was("tw", inTop), Doc: "sockets in TIME_WAIT"},
	{Name: "parked", Type: TypeUint, Doc: "sockets in the FIN_WAIT2 substate, which no process owns"},
	{Name: "established", Type: TypeUint, short: "EST", Was: was("est", inTop), Doc: "established connections, including those that are closing and not yet in TIME_WAIT; not `close_wait`, where that is known"},
	{Name: "close_wait", Type: TypeUint, short: "CLWAIT", Doc: "connections in CLOSE_WAIT: the peer has closed and the process has not. twtrace reads them from the kernel every 1 to 5 s; in a recording they are not known, and count as `established`"},
	{Name: "syn_sent", Type: TypeUint, short: "SYN", Doc: "connects that wait for an answer"},
	{Name: "reusable", Type: TypeUint, Doc: "sockets in TIME_WAIT whose port `connect()` would take over now"},

	// What happened, since the trace started and per second.
	{Name: "opens_total", Type: TypeUint, Was: was("opened", inSummary, inReport), Doc: "connections established; one on loopback is two, a client's and a server's"},
	{Name: "opens_per_s", Type: TypeFloat, Was: slices.Concat(was("open_s", inTop), was("opened_per_s", inReport)), Doc: "connections established per second"},
	{Name: "ended_total", Type: TypeUint, Was: was("ended", inReport), Doc: "connections that ended, with a TIME_WAIT, without one, or with a refused one"},
	{Name: "ended_per_s", Type: TypeFloat, Was: was("close_s", inTop), Doc: "connections that ended per second"},
	{Name: "closes_total", Type: TypeUint, Was: was("closed", inSummary, inReport), Doc: "connections that ended with no TIME_WAIT on this side"},
	{Name: "fails_total", Type: TypeUint, Was: slices.Concat(was("failed", inSummary, inReport), was("fails", inPorts)), Doc: "failed calls"},
	{Name: "fails_per_s", Type: TypeFloat, Was: slices.Concat(was("fail_s", inTop), was("failed_per_s", inReport)), Doc: "failed calls per second"},
	{Name: "time_wait_enters_per_s", Type: TypeFloat, short: "ENTER/s", Was: was("in_s", inTop), Doc: "sockets that entered TIME_WAIT per second"},
	{Name: "time_wait_exits_total", Type: TypeUint, short: "EXITS", Was: slices.Concat(was("ends", inSummary), was("time_wait_ends", inReport)), Doc: "sockets that left TIME_WAIT"},
	{Name: "time_wait_exits_per_s", Type: TypeFloat, short: "EXIT/s", Was: was("out_s", inTop), Doc: "sockets that left TIME_WAIT per second"},
	{Name: "time_wait_growth_per_s", Type: TypeFloat, short: "GROWTH/s", Was: was("tw_s", inTop), Doc: "change of `time_wait` per second: `time_wait_enters_per_s` minus `time_wait_exits_per_s`"},
	{Name: "lost_total", Type: TypeUint, Was: was("lost", inTop, inReport), Doc: "events lost since the trace started"},

	// How long connections lived.
	{Name: "life_p90_ns", Type: TypeDuration, Was: was("p90_ns", inReport), Doc: "90th percentile of the lifetime of the connections"},
	{Name: "life_p99_ns", Type: TypeDuration, Was: slices.Concat(was("life99_ms", inTop), was("p99_ns", inReport)), Doc: "99th percentile of the lifetime of the connections"},

	// What can run out.
	{Name: "resource", Type: TypeWord, Was: was("what", inPorts, inTop), Doc: "what can run out: `ports`, `local_ports` or `buckets`"},
	{Name: "used_share", Type: TypeFloat, Was: was("ports_share", inReport), Doc: "share of the local ports in use towards one destination"},
	{Name: "freed_per_s", Type: TypeFloat, Was: was("free_rate", inPorts), Doc: "given back per second, over the last ten seconds"},
	{Name: "max_taken_per_s", Type: TypeFloat, short: "MAX/s", Was: was("max_rate", inPorts), Doc: "the highest `demand_per_s` that the limit allows, at the present lifetimes"},
	{Name: "free_in_s", Type: TypeFloat, Doc: "seconds until the last of `time_wait` is over, at the latest, if no more enter"},
	{Name: "refused", Type: TypeUint, Doc: "calls, or TIME_WAIT sockets, that were refused since the previous table because the limit was reached"},
	{Name: "reuse", Type: TypeWord, Doc: "whether `connect()` takes over ports in TIME_WAIT: `off` (by `tcp_tw_reuse` or `tcp_timestamps`), `none` (allowed, and the peers have no timestamps), `some`, `all` (of those older than `tcp_tw_reuse_delay`)"},
	{Name: "blocked", Type: TypeUint, Doc: "of `used`, those that `connect()` would not reuse"},
	{Name: "bound_ports", Type: TypeUint, Was: was("bound", inPorts), Doc: "ports that programs have bound, so that `connect()` cannot have them"},
	{Name: "memory_bytes", Type: TypeUint, Doc: "of `buckets`: the kernel memory they take, about"},

	// What is said of the trace itself.
	{Name: "uptime_s", Type: TypeFloat, Doc: "seconds since the trace started"},
	{Name: "interval_s", Type: TypeFloat, Doc: "seconds that the rates cover"},
	{Name: "self_cpu_share", Type: TypeFloat, Was: was("self_cpu", inTop), Doc: "twtrace's own CPU use in the interval; 1 is one full CPU"},
	{Name: "self_rss_bytes", Type: TypeUint, Doc: "twtrace's own resident memory"},
}

// Terms returns every term: those of records, in their order, and those of tables.
func Terms() []Term {
	var out []Term
	for _, f := range all {
		out = append(out, f.Term())
	}
	return append(out, tableTerms...)
}

// Term returns what is general of the field.
func (f *Field) Term() Term {
	return Term{Name: f.Name, Doc: f.sentence(), Type: f.Type, Was: f.Was, short: f.short}
}

// FindTerm returns the term of that name, and whether there is one.
func FindTerm(name string) (Term, bool) {
	if f := byName[name]; f != nil && f.Name == name {
		return f.Term(), true
	}
	i := slices.IndexFunc(tableTerms, func(t Term) bool { return t.Name == name })
	if i < 0 {
		return Term{}, false
	}
	return tableTerms[i], true
}

// WasIn reports whether t had that name there in an earlier schema; "" is anywhere.
func (t Term) WasIn(name, place string) bool {
	return slices.ContainsFunc(t.Was, func(o Old) bool { return o.Name == name && (place == "" || o.In == place) })
}

// Heading returns the heading of t in text: capitals, rates as X/s and shares as X%,
// and no unit where text prints the value for people.
func (t Term) Heading() string {
	if t.short != "" {
		return t.short
	}
	return heading(t.Name)
}

// heading makes a heading of a name.
func heading(name string) string {
	for _, suffix := range []struct{ name, text string }{
		{"_per_s", "/s"}, {"_pct", "%"}, {"_total", ""}, {"_bytes", ""}, {"_ns", ""},
	} {
		if rest, ok := strings.CutSuffix(name, suffix.name); ok {
			return strings.ToUpper(rest) + suffix.text
		}
	}
	return strings.ToUpper(name)
}
