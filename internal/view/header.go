package view

import (
	"cmp"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/rows"
)

// The numbers of the header never change place: each has a fixed width, whatever it is.

// barWidth is how many cells the bars take at most.
const barWidth = 30

// title is what is traced since when, what was lost, and what twtrace costs.
func title(s *State, d *Display, width int, c Caps) string {
	loss := "lost " + output.Count(lost(&s.Lost))
	if width >= 100 {
		loss += stages(&s.Lost)
	}
	since, every := "  up "+c.fit(seconds(s.Uptime), len("59m59s"), false), ""
	if s.Interval > 0 {
		every = "  every " + interval(s.Interval)
	}
	mode := "  [" + c.safe(cmp.Or(d.Mode, s.Mode)) + "]" + d.recording()
	if width >= 100 && d.Mode == "" && s.Mode == live {
		mode += "  " + s.timeOfDay()
	}
	// The host gives way first, then what twtrace takes, the interval, and how long the trace
	// has run: honesty before identity.
	left, right := "twtrace", loss+self(s, width)
	lacks := func() int { return ansi.StringWidth(left+since+every+mode+right) + len("  ") - width }
	if lacks() > 0 {
		right = loss
	}
	if lacks() > 0 {
		every = ""
	}
	if lacks() > 1 { // a cell between the two is enough
		since = ""
	}
	right = c.cut(right, width-1)
	if room := -lacks() - len("  "); s.Host != "" && room >= 4 {
		left += "  " + c.cut(c.safe(s.Host), min(room, 24))
	}
	left = c.cut(left+since+every+mode, width-1-ansi.StringWidth(right))
	gap := max(width-ansi.StringWidth(left)-ansi.StringWidth(right), 0)
	severity := event.SeverityNone
	if lost(&s.Lost) > 0 {
		severity = event.Crit
	}
	rest, whole := strings.CutPrefix(right, loss)
	if !whole {
		loss, rest = right, ""
	}
	return left + strings.Repeat(" ", gap) + c.paintBy(loss, severity) + rest
}

// timeOfDay is the time of the state with its zone.
func (s *State) timeOfDay() string { return s.Clock.Time(s.Time) + " " + s.Clock.Zone(s.Time) }

// live is the mode of a trace that runs.
const live = "LIVE"

// self is what twtrace itself takes, "" if nobody knows.
func self(s *State, width int) string {
	text := ""
	if s.SelfCPU >= 0 {
		text += fmt.Sprintf(" %4.1f%%", s.SelfCPU*100)
		if width >= 100 {
			text += " cpu"
		}
	}
	if s.SelfRSS > 0 {
		text += fmt.Sprintf(" %4s", output.Bytes(s.SelfRSS))
	}
	if text == "" {
		return ""
	}
	return "  self" + text
}

// recording says that the trace goes to a file, and how much did.
func (d *Display) recording() string {
	switch {
	case d.Writing == "":
		return ""
	case d.Recorded.Path != d.Writing || d.Recorded.Bytes == 0:
		return " [REC]"
	}
	return " [REC " + output.Bytes(uint64(d.Recorded.Bytes)) + "]"
}

// stages words where losses were, " (ring 12, map 3)".
func stages(l *[event.Stages]uint64) string {
	var parts []string
	for i, n := range l {
		if n > 0 {
			parts = append(parts, stageName(event.Stage(i))+" "+output.Count(n))
		}
	}
	if len(parts) == 0 {
		return ""
	}
	return " (" + strings.Join(parts, ", ") + ")"
}

func stageName(s event.Stage) string { return cmp.Or(s.String(), "other") }

// seconds words how long something has lasted, in one form: 41s, 1m05s, 2h07m, 3d04h.
func seconds(d time.Duration) string {
	n := int(d / time.Second)
	switch {
	case n < 60:
		return fmt.Sprintf("%ds", max(n, 0))
	case n < 3600:
		return fmt.Sprintf("%dm%02ds", n/60, n%60)
	case n < 24*3600:
		return fmt.Sprintf("%dh%02dm", n/3600, n%3600/60)
	}
	return fmt.Sprintf("%dd%02dh", n/(24*3600), n%(24*3600)/3600)
}

// interval words the time between frames, as it was meant: timers are never exact.
func interval(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%gs", d.Round(100*time.Millisecond).Seconds())
	}
	return fmt.Sprintf("%dms", d.Round(10*time.Millisecond).Milliseconds())
}

// sparkWidth is how many intervals the small chart in the header has.
func sparkWidth(width int) int {
	switch {
	case width >= 100:
		return 12
	case width >= 80:
		return 6
	}
	return 0
}

// flow is how many there are, and how fast that changes. Each number has its place, whatever
// the others are; what does not fit is left out from the end.
func flow(s *State, width int, c Caps) string {
	text := "TIME_WAIT " + c.fit(count(s.TimeWait, 7), 7, true)
	if n := sparkWidth(width); n > 0 {
		values := s.Past.TimeWait[max(len(s.Past.TimeWait)-n, 0):]
		text += " " + c.fit(c.sparkline(values, n), n, true)
	}
	text += " " + c.fit(perSecondTrend(s.Rates.In-s.Rates.Out), 8, true)
	closeWait := unknown
	if s.Polled {
		closeWait = count(s.CloseWait, 6)
	}
	rate := func(v float64) string {
		if !rows.Known(v) {
			return unknown
		}
		return perSecond(v, 5) + "/s"
	}
	for _, p := range []struct {
		name, value string
		width       int
	}{
		{"open", rate(s.Rates.Open), 7}, {"fail", rate(s.Rates.Fail), 7}, {"CLOSE_WAIT", closeWait, 6},
		{"ESTABLISHED", count(s.Established, 7), 7}, {"close", rate(s.Rates.Close), 7}, {"parked", count(s.Parked, 6), 6},
		{"in", rate(s.Rates.In), 7}, {"out", rate(s.Rates.Out), 7},
	} {
		if ansi.StringWidth(text)+len("  "+p.name+" ")+p.width > width {
			break
		}
		text += "  " + p.name + " " + c.fit(p.value, p.width, true)
	}
	return text
}

// bars is how long the bars are: the words behind them never move.
func bars(width int) int {
	switch {
	case width >= 100:
		return barWidth
	case width >= 80:
		return barWidth * 2 / 3
	}
	return barWidth / 3
}

// limits are the lines of the two limits that TIME_WAIT runs into.
func limits(s *State, width int, c Caps) [2]string {
	var lines [2]string
	name := [...]string{"buckets " + mark(s.Buckets.Severity) + " [", "ports   " + mark(worstSeverity(s)) + " ["}
	text := [...]string{buckets(s, c), ports(s, width, c)}
	share := [...]float64{0, 0}
	if s.Buckets.Max > 0 {
		share[0] = float64(s.Buckets.Used) / float64(s.Buckets.Max)
	}
	if s.Worst != nil {
		share[1] = s.Worst.InUseShare()
	}
	for i := range lines {
		lines[i] = c.cut(name[i]+c.bar(share[i], bars(width))+text[i], width)
	}
	return lines
}

// percentCell is a percentage in a fixed width.
func percentCell(part, whole uint64) string { return fmt.Sprintf("%4s", output.Percent(part, whole)) }

// buckets says how many mini-sockets there are of tcp_max_tw_buckets.
func buckets(s *State, c Caps) string {
	b := &s.Buckets
	text := "] "
	switch {
	case b.NoLimit:
		text += " " + output.Count(b.Used) + ", no limit"
	case b.None:
		text += " " + output.Count(b.Used) + ", none allowed"
	case b.Max == 0:
		text += " " + output.Count(b.Used) + ", limit unknown"
	default:
		text += percentCell(b.Used, b.Max) + "  " + output.Count(b.Used) + " of " + output.Count(b.Max)
	}
	if b.NetNS != 0 && (b.Name != "" || b.Used > 0 && !b.Only) {
		text += "  netns " + cmp.Or(c.safe(b.Name), strconv.FormatUint(uint64(b.NetNS), 10))
	}
	if b.Refusing {
		text += "  refusing"
	}
	return text
}

// worstSeverity is how bad the worst use of ports is.
func worstSeverity(s *State) event.Severity {
	if s.Worst == nil {
		return event.SeverityNone
	}
	return s.Worst.Severity
}

// worstTo says in words where ports are in use.
func worstTo(w *pressure.Gauge, c Caps) string {
	if w.What == pressure.LocalPorts {
		return "bound at " + c.safe(w.Local.String())
	}
	return "to " + c.safe(w.Remote.String())
}

// ports says how many ports are in use towards the worst destination, never an
// average: a port in use towards one destination is free towards another.
func ports(s *State, width int, c Caps) string {
	w := s.Worst
	if w == nil {
		return "]  no client connections"
	}
	text := "]  " + output.Count(uint64(w.InUse())) + " used  "
	if w.Limit > 0 {
		text = "] " + percentCell(uint64(w.InUse()), uint64(w.Limit)) + reusable(w) + "  "
		if width >= 100 {
			text += output.Count(uint64(w.InUse())) + " of " + output.Count(uint64(w.Limit)) + "  "
		}
	}
	if w.What == pressure.LocalPorts {
		return text + worstTo(w, c)
	}
	return text + c.between(w, width-len("ports   ! [")-bars(width)-ansi.StringWidth(text))
}

// reusable says which share of the limit connect() would reuse, of what is in use; "" if
// that is next to nothing.
func reusable(w *pressure.Gauge) string {
	n := w.InUse() - int(w.Used)
	if w.Limit <= 0 || 100*n < w.Limit {
		return ""
	}
	return ", " + output.Percent(uint64(n), uint64(w.Limit)) + " reusable"
}

// perSecondTrend words a rate of change in 8 cells.
func perSecondTrend(v float64) string {
	if !rows.Known(v) {
		return unknown
	}
	return growth(v, 6) + "/s"
}
