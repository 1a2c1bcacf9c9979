package report

import (
	"fmt"
	"html/template"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/output"
)

// Size of a picture, in its own units. Labels are in the margins.
const (
	svgWidth, svgHeight   = 960, 220
	svgLeft, svgRight     = 64, 12
	svgTop, svgBottom     = 12, 26
	plotWidth, plotHeight = svgWidth - svgLeft - svgRight, svgHeight - svgTop - svgBottom
	valueTicks, maxTicks  = 4, 8
)

// svg draws c. It has no style of its own: that is in the page's.
func (c *chart) svg(r *Report) template.HTML {
	var b strings.Builder
	times := r.Series.Time
	if len(times) == 0 {
		return ""
	}
	from, to := times[0], r.Series.end()
	top := topOf(c)
	x := func(t float64) float64 { return svgLeft + (t-from)/(to-from)*plotWidth }
	y := func(v float64) float64 { return svgTop + (1-min(v/top, 1))*plotHeight }
	fmt.Fprintf(&b, `<svg class="still" viewBox="0 0 %d %d" role="img" aria-label="%s">`, svgWidth, svgHeight, template.HTMLEscapeString(c.summary()))
	for _, s := range r.bands() {
		left, right := x(max(s.From, from)), x(min(s.To, to))
		fmt.Fprintf(&b, `<rect class="band %s" x="%.1f" y="%d" width="%.1f" height="%d"><title>%s</title></rect>`, template.HTMLEscapeString(s.Severity),
			left, svgTop, max(right-left, 1), plotHeight, template.HTMLEscapeString(s.Name))
	}
	for i := 0; i <= valueTicks; i++ {
		v := top * float64(i) / valueTicks
		fmt.Fprintf(&b, `<path class="grid" d="M%d %.1fH%d"/><text class="tick" x="%d" y="%.1f" text-anchor="end">%s</text>`,
			svgLeft, y(v), svgWidth-svgRight, svgLeft-8, y(v)+4, tick(v)+c.Unit)
	}
	for _, t := range timeTicks(from, to, float64(r.offset())) {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %dV%d"/><text class="tick" x="%.1f" y="%d" text-anchor="middle">%s</text>`,
			x(t), svgTop, svgTop+plotHeight, x(t), svgHeight-8, r.tickTime(t, to-from))
	}
	for i := range c.Lines {
		c.Lines[i].draw(&b, times, r.Series.Step, x, y)
	}
	for i, m := range r.marks() {
		m.draw(&b, i, x(min(max(m.At, from), to)))
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// draw draws steps: a value holds for the whole of its step.
func (l *line) draw(b *strings.Builder, times []float64, step float64, x, y func(float64) float64) {
	var d strings.Builder
	pen := false
	for i, v := range l.Values {
		if math.IsNaN(v) {
			pen = false
			continue
		}
		if pen {
			fmt.Fprintf(&d, "V%.1f", y(v))
		} else {
			fmt.Fprintf(&d, "M%.1f %.1f", x(times[i]), y(v))
		}
		fmt.Fprintf(&d, "H%.1f", x(times[i]+step))
		pen = true
	}
	if d.Len() == 0 {
		return
	}
	if l.Fill && !strings.Contains(d.String()[1:], "M") {
		fmt.Fprintf(b, `<path class="area %s" d="%sV%.1fH%.1fZ"/>`, l.Style, d.String(), y(0), x(times[0]))
	}
	fmt.Fprintf(b, `<path class="line %s" d="%s"/>`, l.Style, d.String())
}

// draw draws a line from top to bottom with its name beside it, on the side that has more
// room. Names of neighbours are on lines of their own.
func (m *mark) draw(b *strings.Builder, number int, x float64) {
	at, anchor := x+5, "start"
	if x > svgLeft+plotWidth/2 {
		at, anchor = x-5, "end"
	}
	fmt.Fprintf(b, `<path class="mark" d="M%.1f %dV%d"/><text class="mark" x="%.1f" y="%d" text-anchor="%s">%s</text>`,
		x, svgTop, svgTop+plotHeight, at, svgTop+12+number%3*15, anchor, template.HTMLEscapeString(m.Name))
}

// summary is c for those who do not see it.
func (c *chart) summary() string {
	words := c.Title
	for _, l := range c.Lines {
		largest := 0.0
		for _, v := range l.Values {
			if v > largest {
				largest = v
			}
		}
		words += fmt.Sprintf("; %s up to %s%s", l.Name, tick(largest), c.Unit)
	}
	return words
}

// topOf is the number at the top of c: a round one.
func topOf(c *chart) float64 {
	largest := 0.0
	for _, l := range c.Lines {
		for _, v := range l.Values {
			if v > largest {
				largest = v
			}
		}
	}
	if c.Max > 0 && largest <= c.Max {
		return c.Max
	}
	size := math.Pow(10, math.Floor(math.Log10(max(largest, 4))))
	for _, n := range []float64{1, 1.2, 1.6, 2, 2.4, 3, 4, 6, 8, 10} {
		if n*size >= largest && n*size >= 4 {
			return n * size
		}
	}
	return 10 * size
}

func tick(v float64) string {
	if v != math.Trunc(v) {
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return output.Count(uint64(v))
}

// timeTicks are round times within the two, in a zone with that difference to UTC.
func timeTicks(from, to, offset float64) []float64 {
	every := 1.0
	for _, n := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400} {
		every = n
		if (to-from)/n <= maxTicks {
			break
		}
	}
	for (to-from)/every > maxTicks {
		every *= 2
	}
	var out []float64
	for t := math.Ceil((from+offset)/every)*every - offset; t <= to; t += every {
		out = append(out, t)
	}
	return out
}

func (r *Report) tickTime(t, long float64) string {
	at := time.UnixMilli(int64(math.Round(t * 1e3))).In(r.zone)
	switch {
	case long > 2*24*3600:
		return at.Format("01-02 15:04")
	case long > maxTicks*60:
		return at.Format("15:04")
	}
	return at.Format("15:04:05")
}
