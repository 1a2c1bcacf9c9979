// Package advice finds what is wrong with the ports and the TIME_WAIT sockets
// of a network namespace, and says what to do about it. Rules are pure
// functions of Facts; Look gathers facts from /proc and sock_diag, as any user.
// It prints commands and never runs one.
package advice

import (
	"cmp"
	"fmt"
	"slices"
)

// Severity says how much a finding matters.
type Severity uint8

// Severities. Crit: calls are refused now, or will be within five minutes. Warn:
// a limit's steady state is at or above 80 %, or its use at or above 50 % and
// rising, or data is at risk. Info: worth knowing, no harm.
const (
	Skip Severity = iota // could not be looked at
	OK
	Info
	Warn
	Crit
)

var severityNames = [...]string{Skip: "skip", OK: "ok", Info: "info", Warn: "warn", Crit: "crit"}

func (s Severity) String() string {
	if int(s) < len(severityNames) {
		return severityNames[s]
	}
	return "unknown"
}

// MarshalText makes a severity a word in JSON.
func (s Severity) MarshalText() ([]byte, error) { return []byte(s.String()), nil }

// Finding is one thing that a rule found. Its texts are sentences or parts of
// one, without a full stop, for people; Evidence is the same for machines.
type Finding struct {
	ID       string // never used again for something else: TW101
	Group    string // "trace" or "host"
	Severity Severity
	Title    string
	Short    string // the worst of it in a few words, "" if Title says it
	What     string // numbers and their limit
	Who      string // the owner, or why none is known
	When     string // the forecast
	Why      string // the evidence in words
	Now      []Remedy
	Fix      []Remedy
	Scope    Scope
	Evidence []Evidence
	Forecast *Forecast
}

// general tells whether x is about the whole diagnosis, not one namespace.
func (f *Finding) general() bool { return f.ID == limited.id || f.ID == nothing.id }

// Line is the finding in one line: its ID, the worst of it, and who.
func (f *Finding) Line() string {
	line := f.ID + "  " + cmp.Or(f.Short, f.Title)
	if f.Scope.Comm != "" {
		line += fmt.Sprintf("  (%s[%d])", f.Scope.Comm, f.Scope.PID)
	}
	return line
}

// Remedy is something to do. Commands are complete: they act on the namespace
// of the finding when they are pasted into the user's shell as root.
type Remedy struct {
	Kind    string `json:"kind"` // "now": helps in this minute; "fix": mends the cause
	Text    string `json:"text"`
	Command string `json:"command,omitempty"`
	Undo    string `json:"undo,omitempty"`
	Risk    string `json:"risk,omitempty"`
}

// Scope is what a finding is about. Zero fields do not narrow it.
type Scope struct {
	NetNS uint32 `json:"netns,omitempty"`
	Comm  string `json:"comm,omitempty"`
	PID   uint32 `json:"pid,omitempty"`
	Unit  string `json:"unit,omitempty"`
	Pod   string `json:"pod,omitempty"`
	Laddr string `json:"laddr,omitempty"`
	Lport uint16 `json:"lport,omitempty"`
	Raddr string `json:"raddr,omitempty"`
	Rport uint16 `json:"rport,omitempty"`
}

// Evidence is one number or setting that a finding rests on.
type Evidence struct {
	Name   string  `json:"name"`
	Value  float64 `json:"value"`
	Limit  float64 `json:"limit,omitempty"` // 0: it has none
	Unit   string  `json:"unit,omitempty"`
	Source string  `json:"source"` // where it was read: sock_diag, sockstat, a sysctl
}

// Forecast says when a limit will be reached.
type Forecast struct {
	Event string  `json:"event"` // "ports_exhausted", "buckets_exhausted"
	InS   float64 `json:"in_s"`  // seconds from the look; 0 is now
}

// rule is one row of the table that Diagnose runs.
type rule struct {
	id    string
	title string
	find  func(Facts) []Finding // sets neither ID, title, group nor netns
}

// rules is every diagnosis that can be made from Facts, but for the two that
// close a report.
var rules = []rule{
	{"TW101", "ports held by TIME_WAIT", portsHeldByTimeWait},
	{"TW102", "bind before connect", boundPorts},
	{"TW103", "connect() burns CPU", searching},
	{"TW104", "bind fails on restart", bindFails},
	{"TW105", "descriptors run out", descriptors},
	{"TW106", "ports held by live connections", portsHeldByLive},
	{"TW201", "a pool is missing", noPool},
	{"TW202", "one-shot swarm", swarm},
	{"TW203", "crawler", crawler},
	{"TW204", "server closes first", serverClosesFirst},
	{"TW205", "bucket limit", bucketLimit},
	{"TW206", "closed by reset", resets},
	{"TW207", "not TIME_WAIT", notTimeWait},
	{"TW208", "longer than 62 s", staysLonger},
	{"TW209", "SYNs answered by ACK", synsAnswered},
	{"TW210", "connects fail otherwise", connectsFail},
	{"TW211", "listen queue overflows", listenQueue},
	{"TW301", "conntrack", conntrackFull},
	{"TW302", "loopback and load tests", loadTest},
	{"TW303", "useless or harmful settings", uselessSettings},
	{"TW304", "namespaces come and go", namespacesGone},
	{"TW305", "NAT beyond the host", natBeyond},
}

// Rules that are always there: limited says what was not looked at, nothing
// that there is no trouble. They stand last.
var (
	limited = rule{"TW900", "twtrace itself is limited", whatIsNotSeen}
	nothing = rule{"TW000", "TIME_WAIT is not the problem here", nothingIsWrong}
)

// Diagnose returns what the rules find in f, the worst first. It is never
// empty: without a warning there is TW000, the verdict that nothing is wrong.
func Diagnose(f Facts) []Finding {
	var all []Finding
	for _, r := range rules {
		all = append(all, r.apply(f)...)
	}
	all = append(all, limited.apply(f)...)
	if !slices.ContainsFunc(all, func(x Finding) bool { return x.Severity >= Warn }) {
		all = append(all, nothing.apply(f)...)
	}
	sortFindings(all)
	return all
}

// sortFindings puts the worst first.
func sortFindings(all []Finding) {
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
}

func (r rule) apply(f Facts) []Finding {
	found := r.find(f)
	for i := range found {
		found[i].ID, found[i].Group = r.id, "host"
		found[i].Title = cmp.Or(found[i].Title, r.title)
		found[i].Scope.NetNS = f.NetNS.Inum
		for j := range found[i].Now {
			found[i].Now[j].Kind = "now"
		}
		for j := range found[i].Fix {
			found[i].Fix[j].Kind = "fix"
		}
	}
	return found
}
