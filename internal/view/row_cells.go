package view

import (
	"cmp"
	"strconv"
	"strings"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/rows"
)

// lifeCell words a quantile of the row's lifetimes.
func lifeCell(r *rows.Row, q float64) string {
	d, ok := r.Life.Quantile(q)
	if !ok {
		return unknown
	}
	return output.Duration(int64(d))
}

// closerCell words who closes first, "local 100%".
func closerCell(r *rows.Row) string {
	side, n, of := r.ClosedBy()
	if side == event.SideNone {
		return unknown
	}
	return side.String() + " " + output.Percent(n, of)
}

// pidCell words the process, or how many there are.
func pidCell(r *rows.Row, c Caps) string {
	switch {
	case r.Owner.PID != 0:
		return strconv.FormatUint(uint64(r.Owner.PID), 10)
	case r.PIDs > 1:
		return c.signs().times + count(uint64(r.PIDs), 6-about(r)) + strings.Repeat("~", about(r))
	}
	return unknown
}

// about is 1 if it is an estimate how many processes there are.
func about(r *rows.Row) int {
	if r.About {
		return 1
	}
	return 0
}

// who is what is known of the row's owner.
func who(r *rows.Row) event.Who {
	if r.Owner.Who == nil {
		return event.Who{}
	}
	return *r.Owner.Who
}

// commCell is what the row is called on a screen: a swarm by its parent too.
func commCell(r *rows.Row, c Caps, width int) string {
	if r.Label != "" {
		return c.shorten(c.word(r.Label), width) // both ends of a path matter
	}
	if p := who(r).PComm; r.Kind == conn.GroupComm && p != "" {
		return c.safe(p) + "/" + c.word(r.Name())
	}
	return c.word(r.Name())
}

// arrow is the direction of the connections.
func arrow(r *rows.Row, c Caps) string {
	switch r.Role {
	case event.Client:
		return c.signs().out
	case event.Server:
		return c.signs().in
	}
	return c.signs().none
}

// peerCell words where the connections go to or come from, with the direction.
func peerCell(r *rows.Row, c Caps, width int) string {
	arrow, rest := arrow(r, c), width-2
	switch {
	case r.Peers > 1:
		return arrow + " " + c.cut("("+strconv.Itoa(r.Peers)+" peers)", rest)
	case r.Remote.IsValid():
		return arrow + " " + c.endpoint(r.Remote, rest)
	case r.Role == event.Server:
		s := ":" + strconv.Itoa(int(r.Local.Port()))
		if r.Clients > 0 {
			s += " (" + clientsCell(r) + ")"
		}
		return arrow + " " + c.cut(s, rest)
	case r.Local.Addr().IsValid():
		return arrow + " " + c.endpoint(r.Local, rest)
	}
	return arrow + " " + unknown
}

// listenerCell words where a server listens, and for whom.
func listenerCell(r *rows.Row, c Caps, width int) string {
	if r.Role != event.Server || !r.Local.Addr().IsValid() {
		return peerCell(r, c, width)
	}
	text := ""
	if r.Clients > 0 {
		text = " (" + clientsCell(r) + ")"
	}
	return arrow(r, c) + " " + c.cut(c.endpoint(r.Local, max(width-2-len(text), leastPeer))+text, width-2)
}

// clientsCell says how many remote addresses a server has.
func clientsCell(r *rows.Row) string {
	if r.AtLeast {
		return output.Count(uint64(r.Clients)) + "+ clients"
	}
	return plural(r.Clients, "client")
}

// portCell is the use of the ephemeral range towards the row's destination.
func portCell(r *rows.Row) string {
	if r.Usable <= 0 {
		return unknown
	}
	return output.Percent(uint64(r.Ports), uint64(r.Usable))
}

// closeWaitCell is how many connections are in CLOSE_WAIT, as far as that is known.
func closeWaitCell(r *rows.Row, width int) string {
	if !r.Polled {
		return unknown
	}
	return count(r.CloseWait, width)
}

// spaceCell is the network namespace of the row: its name, else its number.
func spaceCell(r *rows.Row, c Caps, width int) string {
	switch {
	case r.Space != "":
		return c.shorten(c.word(r.Space), width)
	case r.NetNS == 0:
		return unknown
	}
	return strconv.FormatUint(uint64(r.NetNS), 10)
}

// homeCell is where the row's processes belong: their pod, else their container, else
// their unit.
func homeCell(r *rows.Row, c Caps, width int) string {
	w := who(r)
	for _, v := range []string{cmp.Or(w.PodName, w.Pod), cmp.Or(w.ContainerName, w.Container), w.Unit} {
		if v != "" {
			return c.shorten(c.word(v), width)
		}
	}
	return unknown
}

// sparkCell draws the row's last minute. Its scale is a power of two, which stays for as
// long as nothing exceeds it and its cause is in sight: a shape does not jump.
func sparkCell(r *rows.Row, c Caps) string {
	top := uint32(8)
	for _, v := range r.Minute {
		for v > top && top < 1<<31 {
			top *= 2
		}
	}
	levels := c.signs().levels
	var b strings.Builder
	for _, v := range r.Minute {
		b.WriteString(levels[min(int(uint64(v)*uint64(len(levels))/uint64(top)), len(levels)-1)])
	}
	return b.String()
}

// rowLine is one row of the table.
func rowLine(r *rows.Row, cols []placed, cursor bool, c Caps) string {
	var b strings.Builder
	b.WriteString(mark(r.Severity))
	if cursor {
		b.WriteByte('>')
	} else {
		b.WriteByte(' ')
	}
	for i, col := range cols {
		if i > 0 {
			b.WriteByte(' ')
		}
		b.WriteString(c.fit(col.cell(r, c, col.width), col.width, col.right))
	}
	return b.String()
}

// paintedRow is one line of the table. The cursor is in reverse, and has a sign.
func paintedRow(r *rows.Row, cols []placed, cursor bool, width int, c Caps) string {
	line := c.cut(rowLine(r, cols, cursor, c), width)
	if cursor {
		return c.paint(c.fit(line, width, false), sgrReverse)
	}
	return c.paintBy(strings.TrimRight(line, " "), r.Severity)
}
