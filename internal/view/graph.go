package view

import (
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/output"
)

// From this size of the screen on there is room for graphs.
const (
	graphMinWidth  = 120
	graphMinHeight = 40
	graphRows      = 8
)

// graphHeight is how many lines the graphs take of a body with room for some.
func graphHeight(width, room int) int {
	if width < graphMinWidth || room < graphMinHeight-len("tfbpf")-1 {
		return 0
	}
	return graphRows + 3 // an empty line above, the titles, an empty line below
}

// graphs are TIME_WAIT and the rate of opens over the last intervals, side by side.
func graphs(s *State, width, room int, c Caps) []string {
	if graphHeight(width, room) == 0 {
		return nil
	}
	half := (width - 2) / 2
	left := c.graph("TIME_WAIT, last "+span(s, len(s.History)), s.History, half)
	right := c.graph("opened per second, last "+span(s, len(s.Opened)), s.Opened, half)
	lines := []string{""}
	for i := range left {
		lines = append(lines, strings.TrimRight(c.fit(left[i], half, false)+"  "+right[i], " "))
	}
	return append(lines, "")
}

// span words how long n values reach back.
func span(s *State, n int) string {
	if s.Interval <= 0 || n == 0 {
		return "moment"
	}
	return seconds(s.Interval * time.Duration(n))
}

// graph draws the last values as columns, with its title above. The scale begins
// at 0 and ends at a round number.
func (c Caps) graph(title string, values []uint64, width int) []string {
	label := len("1,000,000 ")
	values = values[max(len(values)-(width-label), 0):]
	last := ""
	if len(values) > 0 {
		last = "  now " + output.Count(values[len(values)-1])
	}
	top := roundUp(values)
	levels := c.signs().levels
	lines := []string{c.cut(title+last, width)}
	for row := range graphRows {
		var b strings.Builder
		switch row {
		case 0:
			b.WriteString(c.fit(count(top, label-1), label-1, true) + " ")
		case graphRows - 1:
			b.WriteString(c.fit("0", label-1, true) + " ")
		default:
			b.WriteString(strings.Repeat(" ", label))
		}
		b.WriteString(strings.Repeat(" ", width-label-len(values)))
		for _, v := range values {
			eighths := int(float64(v) / float64(top) * float64(graphRows*len(levels)))
			if v > 0 && eighths == 0 {
				eighths = 1
			}
			switch n := eighths - (graphRows-1-row)*len(levels); {
			case n >= len(levels):
				b.WriteString(levels[len(levels)-1])
			case n > 0:
				b.WriteString(levels[n-1])
			default:
				b.WriteByte(' ')
			}
		}
		lines = append(lines, ansi.Truncate(b.String(), width, ""))
	}
	return lines
}

// roundUp is the smallest of 10, 20, 50, 100, ... that no value exceeds.
func roundUp(values []uint64) uint64 {
	var most uint64
	for _, v := range values {
		most = max(most, v)
	}
	for top := uint64(10); ; top *= 10 {
		for _, step := range []uint64{1, 2, 5} {
			if most <= top*step {
				return top * step
			}
		}
		if top > 1<<59 {
			return most
		}
	}
}
