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

// Size of a picture, in its own units. Labels stand in the margins.
const (
	svgWidth, svgHeight   = 960, 220
	svgLeft, svgRight     = 64, 12
	svgTop, svgBottom     = 12, 26
	plotWidth, plotHeight = svgWidth - svgLeft - svgRight, svgHeight - svgTop - svgBottom
	valueTicks, mostTicks = 4, 8
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
	for _, t := range timeTicks(from, to) {
		fmt.Fprintf(&b, `<path class="grid" d="M%.1f %dV%d"/><text class="tick" x="%.1f" y="%d" text-anchor="middle">%s</text>`,
			x(t), svgTop, svgTop+plotHeight, x(t), svgHeight-8, tickTime(t, to-from))
	}
	for i := range c.Lines {
		c.Lines[i].draw(&b, i, times, r.Series.Step, x, y)
	}
	b.WriteString(`</svg>`)
	return template.HTML(b.String())
}

// draw draws steps: a value holds for the whole of its step.
func (l *line) draw(b *strings.Builder, number int, times []float64, step float64, x, y func(float64) float64) {
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
		fmt.Fprintf(b, `<path class="area s%d" d="%sV%.1fH%.1fZ"/>`, number, d.String(), y(0), x(times[0]))
	}
	fmt.Fprintf(b, `<path class="line s%d" d="%s"/>`, number, d.String())
}

// summary is c for those who do not see it.
func (c *chart) summary() string {
	words := c.Title
	for _, l := range c.Lines {
		most := 0.0
		for _, v := range l.Values {
			if v > most {
				most = v
			}
		}
		words += fmt.Sprintf("; %s up to %s%s", l.Name, tick(most), c.Unit)
	}
	return words
}

// topOf is the number at the top of c: a round one.
func topOf(c *chart) float64 {
	most := 0.0
	for _, l := range c.Lines {
		for _, v := range l.Values {
			if v > most {
				most = v
			}
		}
	}
	if c.Max > 0 && most <= c.Max {
		return c.Max
	}
	size := math.Pow(10, math.Floor(math.Log10(max(most, 4))))
	for _, n := range []float64{1, 2, 4, 6, 8, 10} {
		if n*size >= most && n*size >= 4 {
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

// timeTicks are round times within the two.
func timeTicks(from, to float64) []float64 {
	every := 1.0
	for _, n := range []float64{1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400} {
		every = n
		if (to-from)/n <= mostTicks {
			break
		}
	}
	for (to-from)/every > mostTicks {
		every *= 2
	}
	var out []float64
	for t := math.Ceil(from/every) * every; t <= to; t += every {
		out = append(out, t)
	}
	return out
}

func tickTime(t, long float64) string {
	at := time.UnixMilli(int64(math.Round(t * 1e3))).UTC()
	switch {
	case long > 2*24*3600:
		return at.Format("01-02 15:04")
	case long > mostTicks*60:
		return at.Format("15:04")
	}
	return at.Format("15:04:05")
}
