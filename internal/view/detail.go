package view

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/rows"
)

// detail is all that is known of the row under the cursor.
func detail(s *State, d *Display, width int, c Caps) (title string, p paper) {
	list := d.Arrange(s.list(d))
	i := d.index(list)
	if i < 0 {
		return " detail", paper{lines: []string{"", "  this row is gone: it has no sockets left, and nothing happened in the last seconds"}}
	}
	r := list[i]
	title = " " + c.word(r.Name()) + "[" + pidCell(r, c) + "] " + peerCell(r, c, max(width/2, 24))
	return title, rowPaper(s, d, r, width, c)
}

// rowPaper is all that is known of a row.
func rowPaper(s *State, d *Display, r *rows.Row, width int, c Caps) (p paper) {
	p.add(identityLines(s, r, width, c)...)
	for j := range s.Findings {
		if f := &s.Findings[j]; concerns(f, r) {
			p.add("")
			p.put(diagnosis(f, width, c))
		}
	}
	p.add("")
	p.add(c.wrap(counts(r), width)...)
	p.add(behind(s, d, r, width, c)...)
	p.add("")
	p.add(beside(c, width, lifetimes(r, c), closing(r))...)
	p.add("")
	p.add(lastCloses(s, r, c)...)
	p.add("", "its sockets, and its packets")
	for _, text := range d.commandsOf(r) {
		p.command(command{text: text}, width, c)
	}
	return p
}

// identityLines say who and where the row is.
func identityLines(s *State, r *rows.Row, width int, c Caps) []string {
	var parts []string
	add := func(name, value string) {
		if value != "" {
			parts = append(parts, name+" "+value)
		}
	}
	if w := r.Owner.Who; w != nil {
		if w.HasUID {
			add("uid", fmt.Sprint(w.UID))
		}
		if w.PPID != 0 {
			add("parent", c.word(w.PComm)+"["+fmt.Sprint(w.PPID)+"]")
		}
		for _, v := range []struct{ name, value string }{{"exe", w.Exe}, {"unit", w.Unit},
			{"container", cmp.Or(w.ContainerName, w.Container)}, {"pod", cmp.Or(w.PodName, w.Pod)}} {
			if v.value != "" {
				add(v.name, c.safe(v.value))
			}
		}
	}
	if r.Local.Addr().IsValid() {
		add("local", c.endpoint(r.Local, 48))
	}
	add("netns", cmp.Or(c.safe(r.Space), fmt.Sprint(r.NetNS)))
	if r.First > 0 {
		add("first seen", seconds(s.Time.Sub(time.Unix(0, r.First)))+" ago")
	}
	lines := strings.Split(ansi.Wrap(strings.Join(parts, "   "), width, ""), "\n")
	if r.PreStart {
		lines = append(lines, c.wrap("these sockets are older than the trace: their owners are unknown", width)...)
	}
	return lines
}

// concerns reports whether a finding, or what comes of it, is about the sockets of r.
func concerns(f *advice.Finding, r *rows.Row) bool {
	return isAbout(f, r) || slices.ContainsFunc(f.Under, func(u advice.Finding) bool { return isAbout(&u, r) })
}

func isAbout(f *advice.Finding, r *rows.Row) bool {
	s := &f.Scope
	if f.Severity < event.Info || s.NetNS != 0 && s.NetNS != r.NetNS || f.General() {
		return false
	}
	switch {
	case s.Raddr != "":
		return r.Role != event.Server && r.Remote.IsValid() && s.Raddr == r.Remote.Addr().String() && s.Rport == r.Remote.Port() &&
			(s.Laddr == "" || s.Laddr == r.Local.Addr().String())
	case s.Lport != 0:
		return r.Local.Port() == s.Lport
	case s.PID != 0:
		return s.PID == r.Owner.PID
	case s.Comm != "":
		return s.Comm == r.Owner.Comm || slices.ContainsFunc(f.Contributors, func(o advice.Share) bool { return o.Comm == r.Owner.Comm })
	}
	return true
}

// counts are the numbers of the table's row, with nothing cut.
func counts(r *rows.Row) string {
	text := fmt.Sprintf("TIME_WAIT %s   parked %s   established %s   open %s  close %s  fail %s", output.Count(r.TimeWait),
		output.Count(r.Parked), output.Count(r.Established), output.Rate(r.Open), output.Rate(r.Rates.Close), output.Rate(r.Fail))
	if r.Usable > 0 {
		text += fmt.Sprintf("   ports %s of %s (%s)", output.Count(uint64(r.Ports)), output.Count(uint64(r.Usable)), output.Percent(uint64(r.Ports), uint64(r.Usable)))
	}
	return text
}

// behindRows is how many rows behind a merged one are shown.
const behindRows = 6

// behind are the flows that a merged row is made of: the destinations of a process,
// or the processes at a peer.
func behind(s *State, d *Display, r *rows.Row, width int, c Caps) []string {
	if d.Grouping == rows.ByFlow {
		return nil
	}
	var parts []*rows.Row
	for _, part := range d.matching(s.list(d)) {
		if part.KeyBy(d.Grouping) == r.ID {
			parts = append(parts, part)
		}
	}
	parts = rows.Sorted(parts, d.Sort, false)
	cols := d.place(s, parts, width, c)
	lines := []string{"", heading(cols, d, c)}
	for _, part := range parts[:min(len(parts), behindRows)] {
		lines = append(lines, paintedRow(part, cols, false, width, c))
	}
	if n := len(parts) - behindRows; n > 0 {
		lines = append(lines, fmt.Sprintf("  and %s more", plural(n, "flow")))
	}
	return lines
}

// lifetimes is a histogram.
func lifetimes(r *rows.Row, c Caps) []string {
	bars := r.Life.Bars(8)
	lines := []string{"lifetime                      count"}
	var top uint64
	for _, b := range bars {
		top = max(top, b.N)
	}
	for _, b := range bars {
		name := "<" + output.Duration(int64(b.To))
		switch {
		case b.To == 0:
			name = output.Duration(int64(b.From)) + "+"
		case b.From > 0:
			name = output.Duration(int64(b.From)) + "-" + output.Duration(int64(b.To))
		}
		bar := ""
		if b.N > 0 {
			bar = strings.TrimRight(c.bar(float64(b.N)/float64(top), 12), c.signs().empty)
		}
		lines = append(lines, fmt.Sprintf("%s %s %s", c.fit(name, 15, true), c.fit(bar, 12, false), c.fit(output.Count(b.N), 6, true)))
	}
	if len(bars) == 0 {
		lines = append(lines, "  no connection opened and closed since the trace started")
	}
	return lines
}

// closing is who closed first, and how connections and TIME_WAIT ended.
func closing(r *rows.Row) []string {
	lines := []string{"first FIN          connections ended by     TIME_WAIT ended by"}
	var sides, ways, exits []string
	for side := event.LocalSide; side <= event.BothSides; side++ {
		if n := r.Closer[side]; n > 0 {
			sides = append(sides, fmt.Sprintf("%-8s %8s", side, output.Count(n)))
		}
	}
	for reason := event.ActiveClose; reason <= event.FinWait2Timeout; reason++ {
		if n := r.Total.Way(reason); n > 0 {
			ways = append(ways, fmt.Sprintf("%-17s %6s", reason, output.Count(n)))
		}
		if reason >= event.Expired && reason <= event.NetnsExit {
			if n := r.Total.Exited(reason); n > 0 {
				exits = append(exits, fmt.Sprintf("%-10s %6s", reason, output.Count(n)))
			}
		}
	}
	if n := r.Total.Exited(event.ReasonNone); n > 0 {
		exits = append(exits, fmt.Sprintf("%-10s %6s", "unknown", output.Count(n)))
	}
	at := func(list []string, i int) string {
		if i < len(list) {
			return list[i]
		}
		return ""
	}
	for i := range max(len(sides), len(ways), len(exits)) {
		lines = append(lines, fmt.Sprintf("%-18s %-24s %s", at(sides, i), at(ways, i), at(exits, i)))
	}
	return lines
}

// beside puts two blocks next to each other, or below where that is too narrow.
func beside(c Caps, width int, left, right []string) []string {
	const leftWidth = 36
	if width < leftWidth+2+60 {
		return append(append(left, ""), right...)
	}
	var lines []string
	for i := range max(len(left), len(right)) {
		l, r := "", ""
		if i < len(left) {
			l = left[i]
		}
		if i < len(right) {
			r = right[i]
		}
		lines = append(lines, c.fit(l, leftWidth, false)+"  "+r)
	}
	return lines
}

// lastCloses are the latest ends of connections, with the ends of the socket that
// the row leaves out.
func lastCloses(s *State, r *rows.Row, c Caps) []string {
	lines := []string{c.fit("closes, "+s.Clock.Zone(s.Time), 14, false) + "local port  remote end                    life    first FIN  close path"}
	for i := range r.Recent {
		v := &r.Recent[i]
		life := unknown
		if v.Life > 0 {
			life = output.Duration(v.Life)
		}
		lines = append(lines, fmt.Sprintf("%s  %10d  %s %s  %s  %s", s.Clock.Millis(time.Unix(0, v.Time)), v.LocalPort,
			c.fit(c.endpoint(v.Remote, 28), 28, false), c.fit(life, 7, true), c.fit(cmp.Or(v.Closer.String(), unknown), 9, false), closePath(v)))
	}
	if len(r.Recent) == 0 {
		lines = append(lines, "  none yet")
	}
	return lines
}

// closePath is the states that a close went through, as far as its reason says.
func closePath(v *conn.Closed) string {
	switch v.Reason {
	case event.ActiveClose:
		return "FIN_WAIT1 > FIN_WAIT2 > TIME_WAIT"
	case event.SimultaneousClose:
		return "FIN_WAIT1 > CLOSING > TIME_WAIT"
	case event.LateFin:
		return "FIN_WAIT1 > FIN_WAIT2 parked > TIME_WAIT"
	case event.PassiveClose:
		return "CLOSE_WAIT > LAST_ACK > CLOSE"
	case event.Buckets, event.Memory:
		return "TIME_WAIT refused: " + v.Reason.String()
	case event.FinWait2Timeout:
		return "FIN_WAIT1 > FIN_WAIT2 > CLOSE"
	case event.ReasonNone:
		return "CLOSE"
	}
	return "CLOSE: " + v.Reason.String()
}
