package advice

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// Verdict is what a diagnosis comes to: its worst finding, who is behind it, and what to
// do, short enough to be read at a glance. Its texts are as the finding has them: not
// wrapped and not escaped. Lines makes a block of it for a terminal.
type Verdict struct {
	Severity event.Severity // Crit, Warn, OK, or Skip: nothing was found, and not everything seen
	ID       string         // of the finding; "" if there is none
	Where    string         // the network namespace by name; "" if that needs no word
	What     string
	Who      string   // with shares
	Likely   string   // Who in fewer words, where it is a guess; "" if it is none
	Briefly  string   // Who in fewer words; "" if there are none
	Since    string   // since when calls fail, and for how long; "" if none do, or nobody saw the start
	When     string   // the forecast
	Do       string   // what to do by hand, before Now; "" if Now comes first
	Now      string   // the command that helps in this minute, whole for its namespace; "" if there is none
	Does     string   // what Now does
	Undo     string   // takes Now back; "" if there is nothing to take back
	Fix      string   // mends the cause
	More     [3]int   // how many other findings there are: critical, warnings, notes
	Hint     string   // how to see the notes; "" if there are none, or they are there
	NotSeen  string   // what was not read, though there may be trouble
	Closing  []string // further sentences on the last line, the most important one last
}

// About is what a verdict says beside the findings.
type About struct {
	Now     time.Time      // when the findings were made
	Clock   clock.Clock    // prints the times of day
	FailOn  event.Severity // the lowest severity that is trouble; the zero value is Warn
	Fine    string         // what to say if there is none and nothing else says so; "" is "no trouble found"
	NotSeen string         // what was not read, though there may be trouble; "" if nothing
	SeeMore string         // the command that reads it, "" if there is none
	SeeHow  string         // without that, what to do; "" if nothing helps
	Hint    string         // how to see the notes, such as "notes: --all"; "" if they are there
	Closing []string       // further sentences on the last line, the most important one last, such as the exit status
}

// Judge makes the verdict of findings, of which the worst comes first.
func Judge(found []Finding, a About) Verdict {
	v := Verdict{Severity: event.Skip, NotSeen: a.NotSeen, Closing: a.Closing}
	if a.FailOn == event.SeverityNone {
		a.FailOn = event.Warn
	}
	trouble := slices.IndexFunc(found, func(x Finding) bool { return x.Severity >= min(a.FailOn, event.Warn) })
	for i := range found {
		if at := found[i].Severity - event.Info; found[i].Severity >= event.Info && i != trouble {
			v.More[len(v.More)-1-int(at)]++
		}
	}
	if v.More[2] > 0 {
		v.Hint = a.Hint
	}
	fine := slices.IndexFunc(found, func(x Finding) bool { return x.ID == tw000.id })
	switch {
	case trouble >= 0:
		v.of(&found[trouble], a)
		return v
	case fine >= 0:
		v.What = found[fine].Title + ": " + found[fine].What
	case slices.ContainsFunc(found, func(x Finding) bool { return x.Severity > event.Skip }):
		v.What = cmp.Or(a.Fine, "no trouble found")
	default:
		v.What = "nothing could be checked"
		return v
	}
	if v.Severity = event.OK; a.NotSeen != "" {
		v.Severity, v.Now, v.Do = event.Skip, a.SeeMore, a.SeeHow
	}
	return v
}

// of fills v from its finding.
func (v *Verdict) of(x *Finding, a About) {
	v.Severity, v.ID, v.Where = max(x.Severity, event.Warn), x.ID, x.Space
	v.What = cmp.Or(x.Short, x.Title)
	v.Who, v.Briefly, v.When = string(x.Who), x.shares(), x.When
	if x.Likely != nil {
		v.Likely = "not known; likely " + x.Likely.name() + " (a guess)"
		if v.Briefly != "" {
			v.Likely = v.Briefly + "; likely " + x.Likely.name() + " holds the ports (a guess)"
		}
	}
	if !x.Since.IsZero() {
		v.Since = a.Clock.TimeZone(x.Since)
		if long := a.Now.Sub(x.Since); !a.Now.IsZero() && long >= time.Second {
			v.Since += " (" + output.Seconds(long) + ")"
		}
	}
	at := slices.IndexFunc(x.Now, func(r Remedy) bool { return r.Command() != "" })
	if at >= 0 {
		v.Does, v.Now, v.Undo = x.Now[at].Text, x.Now[at].Command(), x.Now[at].Undo()
	}
	if at != 0 && len(x.Now) > 0 {
		v.Do = x.Now[0].Text
	}
	if len(x.Fix) > 0 {
		v.Fix = cmp.Or(x.Fix[0].Short, x.Fix[0].Text)
		if x.Fix[0].Command() != "" {
			v.Fix += ": " + x.Fix[0].Command()
		}
	}
}

// shares names the programs that have the first part in x, with their shares, if it is not
// one that has all: "orders[11] 42%, billing[12] 31%, +2 more". "" if no program is known.
func (x *Finding) shares() string {
	var names []string
	more := 0
	for _, s := range x.Contributors {
		switch {
		case s.Part != x.Contributors[0].Part:
		case len(names) == maxNamed:
			more++
		default:
			name := nameWithPID(s.Comm, s.PID)
			if s.PID == 0 && s.Processes > 1 {
				name += " (" + output.Count(uint64(s.Processes)) + " processes)"
			}
			if s.Share < 1 {
				name += fmt.Sprintf(" %.0f%%", 100*s.Share)
			}
			names = append(names, name)
		}
	}
	if more > 0 {
		names = append(names, fmt.Sprintf("+%d more", more))
	}
	return strings.Join(names, ", ")
}

// Word is the severity as a monitoring system has it: CRITICAL, WARNING, OK, UNKNOWN.
func (v *Verdict) Word() string {
	switch v.Severity {
	case event.Crit:
		return "CRITICAL"
	case event.Warn:
		return "WARNING"
	case event.OK, event.Info:
		return "OK"
	}
	return "UNKNOWN"
}

// Others is how many findings there are beside the one of the verdict: "1 critical, 2
// warnings, 3 notes", or "" if none.
func (v *Verdict) Others() string {
	var parts []string
	for i, name := range []string{"critical", "warning", "note"} {
		switch n := v.More[i]; {
		case n == 0:
		case n == 1 || i == 0:
			parts = append(parts, fmt.Sprintf("%d %s", n, name))
		default:
			parts = append(parts, fmt.Sprintf("%d %ss", n, name))
		}
	}
	return strings.Join(parts, ", ")
}
