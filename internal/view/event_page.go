package view

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/rows"
)

// eventPage is an event in full, and its connections as they are now.
func eventPage(s *State, d *Display, width int, c Caps) (title string, p paper) {
	i := d.eventIndex(s.Events)
	if i < 0 || s.Events[i].Event == nil {
		return " event", paper{lines: []string{"", "  this event is no longer kept"}}
	}
	v := &s.Events[i]
	e := v.Event
	add := func(name, text string) {
		for _, l := range c.wrap(text, width-12) {
			p.add("  " + c.fit(name, 10, false) + l)
			name = ""
		}
	}
	add("time", eventTimes(s, v))
	if e.Process.Known() {
		add("process", processWords(e))
	}
	if e.Local.Addr().IsValid() {
		add("local", strings.TrimSuffix(e.Local.String(), ":0"))
	}
	if e.Remote.IsValid() {
		add("remote", e.Remote.String())
	}
	if e.NetNS != 0 {
		add("netns", c.safe(spaceWord(e)))
	}
	if e.Kind == event.Fail {
		add("error", fmt.Sprintf("%s (%d): %s", errnoName(e), e.Errno, unix.Errno(e.Errno)))
	}
	if e.Storm != nil {
		for _, f := range stormFacts(e) {
			add(f[0], f[1])
		}
	}
	p.add("")
	r := rowOf(s, e)
	if r == nil {
		p.add("its connections: no row has them now")
		return " event: " + eventWhat(e), p
	}
	p.add("its connections now: " + c.word(r.Name()) + "[" + pidCell(r, c) + "] " + peerCell(r, c, max(width/2, 24)))
	p.put(rowPaper(s, d, r, width, c))
	return " event: " + eventWhat(e), p
}

// eventTimes says when it happened, and how often.
func eventTimes(s *State, v *Entry) string {
	at := func(t int64) string { return s.Clock.Millis(time.Unix(0, t)) + " " + s.Clock.Zone(s.Time) }
	if v.Count <= 1 {
		return at(v.Time)
	}
	return at(v.Time) + ", " + output.Count(v.Count) + " times since " + at(v.First)
}

// stormFacts are the numbers of a storm that are known, with their names.
func stormFacts(e *event.Event) (out [][2]string) {
	s := e.Storm
	add := func(yes bool, name, text string) {
		if yes {
			out = append(out, [2]string{name, text})
		}
	}
	span := func(seconds float64) string {
		return output.Seconds(max(time.Duration(seconds*float64(time.Second)), time.Second))
	}
	add(s.Severity != event.SeverityNone, "severity", s.Severity.String())
	used := output.Count(s.Used)
	if s.Usable > 0 {
		used += " of " + output.Count(s.Usable) + " (" + output.Percent(s.Used, s.Usable) + ")"
	}
	add(s.Used > 0, "in use", used)
	rate := output.Rate(s.Rate) + " opened"
	if e.Reason == event.Buckets {
		rate = output.Rate(s.Rate) + " enter TIME_WAIT"
	}
	if s.Demand > s.Rate {
		rate += ", " + output.Rate(s.Demand) + " wanted"
	}
	add(s.Rate > 0 || s.Demand > 0, "rate", rate)
	add(s.ShortShare >= 0, "short", fmt.Sprintf("%.0f%% of its connections are short-lived", 100*s.ShortShare))
	add(s.LifeP50 > 0, "lifetime", output.Duration(s.LifeP50)+" (median)")
	add(s.ExhaustsIn >= 0, "full in", span(s.ExhaustsIn))
	outage := output.Count(s.Fails) + " refused"
	if s.Outage >= 0 {
		outage += ", for " + span(s.Outage)
	}
	if s.Resolved {
		outage += "; resolved"
	}
	add(s.Fails > 0, "outage", outage)
	add(s.PIDs > 1, "processes", "about "+output.Count(uint64(s.PIDs)))
	add(s.Held > 0, "held", output.Count(s.Held)+" by the owner")
	return out
}

// rowOf is the flow that an event belongs to, nil if there is none: the one of its
// process, or else another one to the same place.
func rowOf(s *State, e *event.Event) *rows.Row {
	if !e.Remote.IsValid() && !e.Local.IsValid() {
		return nil
	}
	var other *rows.Row
	for i := range s.Rows {
		r := &s.Rows[i]
		if r.NetNS != e.NetNS || !samePlace(r, e) {
			continue
		}
		if e.Process.Known() && (r.Owner.PID == e.Process.PID && e.Process.PID != 0 || r.Owner.PID == 0 && r.Owner.Comm == e.Process.Comm) {
			return r
		}
		if other == nil && (!e.Process.Known() || e.Storm != nil) {
			other = r
		}
	}
	return other
}

// samePlace reports whether a row's sockets go to, or listen, where an event happened.
func samePlace(r *rows.Row, e *event.Event) bool {
	if e.Role == event.Server || !e.Remote.IsValid() {
		return r.Role == event.Server && r.Local.Port() == e.Local.Port()
	}
	return r.Role != event.Server && r.Remote == e.Remote
}
