// Package advice finds what is wrong with the ports and the TIME_WAIT sockets
// of a network namespace, and says what to do about it. Rules are pure
// functions of Facts, one file each; ReadFacts reads facts from /proc and
// sock_diag, as any user. It never runs a command that it advises.
package advice

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Finding is one thing that a rule found. Its texts are sentences or parts of
// one, without a full stop, for people; Evidence is the same for machines.
type Finding struct {
	ID       string // never reused for another rule: TW101
	Group    string // "trace" or "host"
	Severity event.Severity
	Title    string
	Short    string    // the main point in a few words, "" if Title says it
	What     string    // numbers and their limit
	Who      Who       // who is behind it, or why that is not known
	When     string    // the forecast
	Since    time.Time // when calls started to fail; zero if none do, or nobody saw the start
	Over     bool      // calls failed, and no longer do
	Why      string    // the evidence in words
	Now      []Remedy
	Fix      []Remedy
	Scope    Scope
	Space    string // its network namespace by name; "" if it has none and is the shell's, or the finding is about several

	Contributors []Share // the programs that Who names, and all others: by what they did, the largest part first
	Likely       *Likely // who holds the ports by a guess, which nothing but Who rests on; nil if there is none
	Evidence     []Evidence
	Forecast     *Forecast
	Under        []Finding // its consequences, and what adds nothing to it; none of these has any

	lingering *Lingering // of TW207, what it is about
	waitsFor  *Lingering // of TW207, what a process waits for that passes a close on
}

// General reports whether x is about the whole diagnosis, not one namespace.
func (f *Finding) General() bool {
	r, ok := ruleOf(f.ID)
	return ok && r.whole
}

// Line is the finding in one line: its ID, the main point, and who.
func (f *Finding) Line() string {
	line := f.ID + "  " + cmp.Or(f.Short, f.Title)
	if who := f.whose(); who != "" {
		line += "  (" + who + ")"
	}
	if len(f.Under) > 0 {
		line += "  also " + strings.Join(f.also(), ", ")
	}
	return line
}

// also is the rules of its consequences, each once.
func (f *Finding) also() []string {
	var ids []string
	for i := range f.Under {
		if id := f.Under[i].ID; !slices.Contains(ids, id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Also is what a consequence comes to, in a line: its ID and the main point.
func (f *Finding) Also() string { return f.ID + " " + cmp.Or(f.Short, f.Title) }

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
	InS   float64 `json:"in_s"`  // seconds from Facts.Time; 0 is now
}
