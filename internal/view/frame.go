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
)

// The smallest screen that a frame is laid out for.
const (
	minWidth  = 60
	minHeight = 12
)

// barWidth is how many cells the bars take.
const barWidth = 30

// Frame lays s out as lines for a screen, each at most width cells wide and
// exactly height of them; below 60x12 it is one sentence. It is pure: the same
// arguments give the same lines.
func Frame(s *State, look Look, width, height int, c Caps) []string {
	if width < minWidth || height < minHeight {
		return []string{c.cut(sentence(s, c), width)}
	}
	lines := make([]string, 0, height)
	switch look.Page {
	case NoPage:
		lines = append(lines, header(s, &look, width, c)...)
		lines = append(lines, body(s, &look, width, height-len(lines)-1, c)...)
	default:
		title, text := page(s, &look, width, c)
		lines = append(lines, title)
		room := height - 2
		from, to := window(len(text), room, look.Top, -1)
		lines = append(lines, text[from:to]...)
		look.Top = len(text) - room // for the footer: there is more
	}
	for len(lines) < height-1 {
		lines = append(lines, "")
	}
	return append(lines, footer(&look, width, c))
}

// header is what every tab has above it: who looks, and how near to which limit
// the host is.
func header(s *State, look *Look, width int, c Caps) []string {
	gauges := limits(s, width, c)
	return []string{
		title(s, look, width, c),
		c.cut(flow(s, width, c), width),
		c.paintBy(gauges[0], s.Buckets.Severity),
		c.paintBy(gauges[1], worstSeverity(s)),
		finding(s, width, c),
	}
}

// body is the graphs, where there is room for them, and the tab.
func body(s *State, look *Look, width, room int, c Caps) []string {
	lines := graphs(s, width, room, c)
	room -= len(lines)
	if look.Tab == TabEvents {
		return append(lines, events(s, look, width, room, c)...)
	}
	return append(lines, table(s, look, width, room, c)...)
}

// tableRoom is how many rows a frame of that size has room for.
func tableRoom(look *Look, width, height int) int {
	room := height - len("tfbpf") - 1 // the header and the footer
	room -= graphHeight(width, room) + 1
	if look.Tab != TabEvents {
		room-- // the heading
	}
	return max(room, 0)
}

// sentence is all that fits a tiny screen.
func sentence(s *State, c Caps) string {
	text := "TIME_WAIT " + output.Count(s.TimeWait)
	if w := s.Worst; w != nil && w.Limit > 0 {
		text += ", ports " + output.Percent(uint64(w.Used), uint64(w.Limit)) + " " + worstTo(w, c)
	}
	if n := lost(&s.Lost); n > 0 {
		text += ", lost " + output.Count(n)
	}
	return fmt.Sprintf("%s (more at %dx%d)", text, minWidth, minHeight)
}

// title is who is looking at what since when, and what it misses and costs.
func title(s *State, look *Look, width int, c Caps) string {
	loss := "lost " + output.Count(lost(&s.Lost))
	if width >= 100 {
		loss += stages(&s.Lost)
	}
	self := "  self"
	if s.SelfCPU >= 0 {
		self += fmt.Sprintf(" %.1f%% cpu", s.SelfCPU*100)
	}
	if s.SelfRSS > 0 {
		self += " " + output.Bytes(s.SelfRSS)
	}
	if self == "  self" {
		self = ""
	}
	since := "  up " + seconds(s.Uptime)
	if s.Interval > 0 {
		since += "  " + interval(s.Interval)
	}
	since += " [" + c.safe(cmp.Or(look.Mode, s.Mode)) + "]" + look.recording()
	right := c.cut(loss+self, width-1)
	// The host gives way first, then the rest: honesty before identity.
	left := "twtrace"
	if room := width - ansi.StringWidth(left+since+right) - len("   "); s.Host != "" && room >= 4 {
		left += "  " + c.cut(c.safe(s.Host), min(room, 24))
	}
	left = c.cut(left+since, width-1-ansi.StringWidth(right))
	gap := max(width-ansi.StringWidth(left)-ansi.StringWidth(right), 0)
	severity := Fine
	if lost(&s.Lost) > 0 {
		severity = Crit
	}
	rest, whole := strings.CutPrefix(right, loss)
	if !whole {
		loss, rest = right, ""
	}
	return left + strings.Repeat(" ", gap) + c.paintBy(loss, severity) + rest
}

// recording says that the trace goes to a file, and how much did.
func (k *Look) recording() string {
	switch {
	case k.Writing == "":
		return ""
	case k.Recorded.Path != k.Writing || k.Recorded.Bytes == 0:
		return " [REC]"
	}
	return " [REC " + output.Bytes(uint64(k.Recorded.Bytes)) + "]"
}

// stages words where losses were, " (ring 12, map 3)".
func stages(l *[event.StageQueue + 1]uint64) string {
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

// seconds words a duration in whole seconds.
func seconds(d time.Duration) string {
	switch {
	case d < time.Second:
		return "0s"
	case d <= time.Minute:
		return fmt.Sprintf("%ds", d/time.Second)
	}
	return output.Duration(int64(d.Truncate(time.Second)))
}

// interval words the time between frames, as it was meant: timers are never exact.
func interval(d time.Duration) string {
	if d >= time.Second {
		return fmt.Sprintf("%gs", d.Round(100*time.Millisecond).Seconds())
	}
	return fmt.Sprintf("%dms", d.Round(10*time.Millisecond).Milliseconds())
}

// flow is how many there are, and how fast that changes. What does not fit is
// left out from the end.
func flow(s *State, width int, c Caps) string {
	text := "TIME_WAIT " + output.Count(s.TimeWait)
	if len(s.History) > 1 {
		text += " " + c.sparkline(s.History, 12)
	}
	if v := s.Rates.In - s.Rates.Out; known(v) {
		text += " " + output.Trend(v)
	}
	parts := []string{
		"   in " + output.Rate(s.Rates.In), "  out " + output.Rate(s.Rates.Out),
		"   open " + output.Rate(s.Rates.Open), "  fail " + output.Rate(s.Rates.Fail),
		"  close " + output.Rate(s.Rates.Close),
		"   established " + output.Count(s.Established), "  parked " + output.Count(s.Parked),
	}
	if s.Rates.Fail > 0 {
		parts[2], parts[3] = parts[3], parts[2]
	}
	for _, p := range parts {
		if ansi.StringWidth(text)+len(p) > width {
			break
		}
		text += p
	}
	return text
}

// limits are the lines of the two limits that TIME_WAIT runs into. Their bars
// are of one length, and give way where the words behind them need the room.
func limits(s *State, width int, c Caps) [2]string {
	var lines [2]string
	mark := [...]string{"buckets " + s.Buckets.Severity.mark() + " [", "ports   " + worstSeverity(s).mark() + " ["}
	text := [...]string{buckets(s, c), ports(s, width, c)}
	share := [...]float64{0, 0}
	if s.Buckets.Max > 0 {
		share[0] = float64(s.Buckets.Used) / float64(s.Buckets.Max)
	}
	if s.Worst != nil {
		share[1] = s.Worst.Share()
	}
	bar := barWidth
	for i := range lines {
		bar = min(bar, width-len(mark[i])-ansi.StringWidth(text[i]))
	}
	bar = max(bar, barWidth/3)
	for i := range lines {
		lines[i] = c.cut(mark[i]+c.bar(share[i], bar)+text[i], width)
	}
	return lines
}

// buckets says how many mini-sockets there are of tcp_max_tw_buckets.
func buckets(s *State, c Caps) string {
	b := &s.Buckets
	text := "] "
	if b.Max == 0 {
		text += " " + output.Count(b.Used) + ", limit unknown"
	} else {
		text += output.Percent(b.Used, b.Max) + "  " + output.Count(b.Used) + " of " + output.Count(b.Max)
	}
	if b.Used > 0 && !b.Only {
		text += "  netns " + cmp.Or(c.safe(b.Name), strconv.FormatUint(uint64(b.NetNS), 10))
	}
	if b.Refusing {
		text += "  refusing"
	}
	return text
}

// worstSeverity is how bad the worst use of ports is.
func worstSeverity(s *State) Severity {
	if s.Worst == nil {
		return Fine
	}
	return Severity(s.Worst.Severity)
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
	text := "]  " + output.Count(uint64(w.Used)) + " used  "
	if w.Limit > 0 {
		text = "] " + output.Percent(uint64(w.Used), uint64(w.Limit)) + "  "
		if width >= 100 {
			text += output.Count(uint64(w.Used)) + " of " + output.Count(uint64(w.Limit)) + "  "
		}
	}
	if w.What == pressure.LocalPorts {
		return text + worstTo(w, c)
	}
	return text + c.between(w, width-len("ports   ! [")-barWidth/3-ansi.StringWidth(text))
}

// finding is the top finding, or what to know of the trace where there is none;
// the line stays without either, so that rows never jump.
func finding(s *State, width int, c Caps) string {
	if s.Finding == "" && len(s.Remarks) > 0 {
		return c.cut("  "+c.safe(strings.Join(s.Remarks, "; ")), width)
	}
	if s.Finding == "" {
		return ""
	}
	text := s.Severity.mark()
	if word := s.Severity.String(); word != "" {
		text += " " + word
	}
	text += " " + c.safe(s.Finding)
	const more = "Enter=why  D=doctor"
	if gap := width - ansi.StringWidth(text) - len(more); gap >= 2 && len(s.Findings) > 0 {
		text += strings.Repeat(" ", gap) + more
	}
	return c.paintBy(c.cut(text, width), s.Severity)
}

// Conclude sets the finding line from the findings, the worst of which come first:
// notes are no finding to show over the table.
func (s *State) Conclude() {
	for i := range s.Findings {
		if v := severityOf(s.Findings[i].Severity); v > Fine {
			s.Severity, s.Finding = v, s.Findings[i].Line()
			return
		}
	}
}
