package view

import (
	"math"
	"net/netip"
	"strconv"
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// unknown is shown for what is not known.
const unknown = "-"

// Signs of a terminal, in UTF-8 and in ASCII.
type signs struct {
	out, in, none string // direction of a connection
	full, half    string
	empty         string
	cut           string
	down, up      string // the order of a sorted column
	times         string
	rule          string
	levels        []string // of a sparkline
}

var (
	utf8Signs = signs{
		out: "→", in: "←", none: "·", full: "█", half: "▌", empty: "·", cut: "…", down: "▼", up: "▲", times: "×", rule: "─",
		levels: strings.Split("▁▂▃▄▅▆▇█", ""),
	}
	asciiSigns = signs{
		out: ">", in: "<", none: ".", full: "#", half: "=", empty: ".", cut: "~", down: "v", up: "^", times: "x", rule: "-",
		levels: strings.Split(".-:=+*#", ""),
	}
)

func (g *signs) order(up bool) string {
	if up {
		return g.up
	}
	return g.down
}

func (c Caps) signs() *signs {
	if c.Unicode {
		return &utf8Signs
	}
	return &asciiSigns
}

// safe makes a string that others chose harmless to print. What terminals disagree
// on how many cells it takes, as joined emoji, is escaped too: it would move what
// comes after it.
func (c Caps) safe(s string) string { return c.clear(string(output.Escape(nil, s))) }

// clear is safe for what is escaped already, such as the lines of a verdict.
func (c Caps) clear(s string) string {
	if isASCII(s) {
		return s
	}
	var b strings.Builder
	for s != "" {
		cluster, width := ansi.FirstGraphemeCluster(s, ansi.GraphemeWidth)
		if c.Unicode && width > 0 && width == ansi.StringWidthWc(cluster) || isASCII(cluster) {
			b.WriteString(cluster)
		} else {
			for i := range len(cluster) {
				b.WriteString(`\x` + strconv.FormatUint(uint64(cluster[i]), 16))
			}
		}
		s = s[len(cluster):]
	}
	return b.String()
}

func isASCII(s string) bool {
	for i := range len(s) {
		if s[i] >= utf8.RuneSelf {
			return false
		}
	}
	return true
}

// cut shortens s to width cells, and shows that it did.
func (c Caps) cut(s string, width int) string {
	return ansi.Truncate(s, max(width, 0), c.signs().cut)
}

// fit cuts s to width cells, or pads it: in front if right.
func (c Caps) fit(s string, width int, right bool) string {
	s = c.cut(s, width)
	fill := strings.Repeat(" ", max(width-ansi.StringWidth(s), 0))
	if right {
		return fill + s
	}
	return s + fill
}

// word is a free text as a cell: not to be taken for an unknown one.
func (c Caps) word(s string) string {
	switch s {
	case "":
		return unknown
	case unknown:
		return `\x2d`
	}
	return c.safe(s)
}

// endpoint words an address and port in width cells. Too long an address loses
// its middle: the prefix shows the network, the end shows the host and port.
func (c Caps) endpoint(a netip.AddrPort, width int) string {
	if !a.Addr().IsValid() {
		return unknown
	}
	s := a.String()
	if a.Port() == 0 {
		s = a.Addr().String()
	}
	return c.shorten(c.safe(s), width) // safe: an IPv6 zone is free text
}

// shorten cuts the middle out of an address.
func (c Caps) shorten(s string, width int) string {
	if len(s) <= width || width < 8 || len(s) != ansi.StringWidth(s) {
		return c.cut(s, width)
	}
	tail := (width - 1) * 2 / 3
	return s[:width-1-tail] + c.signs().cut + s[len(s)-tail:]
}

// count words n in width cells.
func count(n uint64, width int) string {
	if s := output.Count(n); len(s) <= width {
		return s
	}
	f, units := float64(n), "kMGTPE"
	for i := range units {
		f /= 1000
		if f < 999.5 {
			digits := 0
			switch {
			case f < 9.995:
				digits = 2
			case f < 99.95:
				digits = 1
			}
			return strconv.FormatFloat(f, 'f', digits, 64) + units[i:i+1]
		}
	}
	return unknown
}

// perSecond words a rate in width cells, without the unit.
func perSecond(v float64, width int) string {
	s := strings.TrimSuffix(output.Rate(v), "/s")
	if len(s) <= width {
		return s
	}
	return count(uint64(math.Round(v)), width)
}

func plural(n int, what string) string {
	switch {
	case n == 1, what == "netns":
	case strings.HasSuffix(what, "s"):
		what += "es"
	default:
		what += "s"
	}
	return output.Count(uint64(n)) + " " + what
}

// bar draws a share (0 to 1) in width cells.
func (c Caps) bar(share float64, width int) string {
	g := c.signs()
	halves := int(math.Round(math.Min(math.Max(share, 0), 1) * float64(2*width)))
	if share > 0 && halves == 0 {
		halves = 1
	}
	s := strings.Repeat(g.full, halves/2)
	if halves%2 == 1 {
		s += g.half
	}
	return s + strings.Repeat(g.empty, width-(halves+1)/2)
}

// sparkline draws the last width values, scaled to the largest of all.
func (c Caps) sparkline(values []uint64, width int) string {
	var top uint64
	for _, v := range values {
		top = max(top, v)
	}
	levels := c.signs().levels
	var b strings.Builder
	for _, v := range values[max(len(values)-width, 0):] {
		i := 0
		if top > 0 {
			i = int(float64(v) / float64(top) * float64(len(levels)-1))
		}
		b.WriteString(levels[i])
	}
	return b.String()
}

// The SGR parameters in use. Sixteen colours only: what they look like is the
// user's choice.
const (
	sgrBold    = "1"
	sgrReverse = "7"
	sgrRed     = "31"
	sgrYellow  = "33"
)

func (c Caps) paint(s, sgr string) string {
	style := sgr == sgrReverse || sgr == sgrBold
	if s == "" || sgr == "" || style && !c.Style || !style && !c.Color {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[m"
}

// mark is the sign of a severity: colour is never the only one.
func mark(v event.Severity) string {
	switch v {
	case event.Crit:
		return "!"
	case event.Warn:
		return "~"
	}
	return " "
}

// paintBy colours s by how bad it is.
func (c Caps) paintBy(s string, v event.Severity) string {
	switch v {
	case event.Crit:
		return c.paint(s, sgrRed)
	case event.Warn:
		return c.paint(s, sgrYellow)
	}
	return s
}
