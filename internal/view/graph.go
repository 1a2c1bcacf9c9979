package view

import (
	"math"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/event"
)

// From this size of the screen on there is room for graphs.
const (
	graphMinWidth  = 120
	graphMinHeight = 40
	graphRows      = 8
)

// graphLabel is the room for the scale in front of a graph: "30,000 ".
const graphLabel = len("30,000 ")

// graphHeight is how many lines the graphs take of a body with room for some.
func graphHeight(width, room int) int {
	if width < graphMinWidth || room < graphMinHeight-len("tfbpf")-1 {
		return 0
	}
	return graphRows + 3 // an empty line above, the titles, an empty line below
}

// graphs are TIME_WAIT, the rate of opens and that of failures over the last intervals,
// side by side.
func graphs(s *State, width, room int, c Caps) []string {
	if graphHeight(width, room) == 0 {
		return nil
	}
	const gap = "  "
	each := (width - 2*len(gap)) / 3
	span := s.span()
	parts := [][]string{
		c.graph("TIME_WAIT, "+span, s.Past.TimeWait, s.Past.Before, each),
		c.graph("opened per second, "+span, s.Past.Opened, s.Past.Before, each),
		c.graph("failed per second, "+span, s.Past.Failed, s.Past.Before, each),
	}
	lines := []string{""}
	for i := range parts[0] {
		failed := strings.TrimRight(parts[2][i], " ")
		if s.Rates.Fail > 0 {
			failed = c.paintBy(failed, event.Crit)
		}
		line := c.fit(parts[0][i], each, false) + gap + c.fit(parts[1][i], each, false) + gap + failed
		lines = append(lines, strings.TrimRight(line, " "))
	}
	return append(lines, "")
}

// perColumn is how many of n intervals a column of a graph stands for, so that all fit in
// width cells, wherever the first column starts.
func perColumn(n, width int) int {
	columns := max(width-graphLabel-1, 1)
	return max((n+columns-1)/columns, 1)
}

// span words how far back the graphs reach: all that is kept is on them.
func (s *State) span() string {
	over := s.Past.span(s.Interval)
	if over <= 0 {
		return "now"
	}
	return "last " + seconds(over.Round(time.Second))
}

// bins are values by column, the latest last: the highest of each. Which intervals share a
// column does not change as they move on: before is how many there were before these.
func bins(values []uint64, before, per int) []uint64 {
	var out []uint64
	for i, v := range values {
		if at := (before + i) / per; len(out) == 0 || at != (before+i-1)/per {
			out = append(out, v)
		} else {
			out[len(out)-1] = max(out[len(out)-1], v)
		}
	}
	return out
}

// graph draws the last values, with its title above. The scale starts at 0 and ends at a
// round number.
func (c Caps) graph(title string, values []uint64, before, width int) []string {
	last := ""
	if len(values) > 0 {
		last = "  now " + count(values[len(values)-1], 7)
	}
	bars := bins(values, before, perColumn(len(values), width))
	bars = bars[max(len(bars)-(width-graphLabel), 0):]
	top := roundUp(bars)
	lines := []string{c.cut(title+last, width)}
	for row := range graphRows {
		label := ""
		switch row {
		case 0:
			label = count(top, graphLabel-1)
		case graphRows - 1:
			label = "0"
		}
		line := c.fit(label, graphLabel-1, true) + " " + strings.Repeat(" ", width-graphLabel-len(bars))
		lines = append(lines, ansi.Truncate(line+c.graphRow(bars, top, graphRows-1-row), width, ""))
	}
	return lines
}

// graphRow is one line of the bars, counted from below.
func (c Caps) graphRow(bars []uint64, top uint64, row int) string {
	levels := c.signs().levels
	var b strings.Builder
	for _, v := range bars {
		eighths := int(float64(v) / float64(top) * float64(graphRows*len(levels)))
		if v > 0 && eighths == 0 {
			eighths = 1
		}
		switch n := eighths - row*len(levels); {
		case n >= len(levels):
			b.WriteString(levels[len(levels)-1])
		case n > 0:
			b.WriteString(levels[n-1])
		default:
			b.WriteByte(' ')
		}
	}
	return b.String()
}

// steps are the round numbers between 10 and 100: none is much larger than the one before.
var steps = [...]uint64{10, 12, 15, 20, 25, 30, 40, 50, 60, 80}

// roundUp is the smallest round number that no value exceeds, 10 at least.
func roundUp(values []uint64) uint64 {
	var largest uint64
	for _, v := range values {
		largest = max(largest, v)
	}
	for unit := uint64(1); unit < math.MaxUint64/1000; unit *= 10 {
		for _, step := range steps {
			if largest <= unit*step {
				return unit * step
			}
		}
	}
	return largest
}
