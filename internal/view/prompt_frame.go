package view

import (
	"strings"
	"unicode/utf8"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// promptHints are the keys of the prompt, as many as there is room for.
var promptHints = []string{"  Tab complete  up/down history  Enter apply  Esc cancel", "  Tab complete  Enter apply  Esc cancel", "  Enter apply  Esc cancel"}

// prompt is the filter that is being typed, with its cursor, and the keys.
func (d *Display) prompt(width int, c Caps) string {
	before, after := d.Typed[:d.cursor()], d.Typed[d.cursor():]
	text := "/" + c.typed(before) + "_"
	if after != "" {
		_, n := utf8.DecodeRuneInString(after)
		text = "/" + c.typed(before) + c.paint(c.typed(after[:n]), sgrReverse) + c.typed(after[n:])
		if !c.Style {
			text = "/" + c.typed(before) + "_" + c.typed(after)
		}
	}
	hint := promptHints[len(promptHints)-1]
	for _, h := range promptHints {
		if ansi.StringWidth(text)+len(h) <= width {
			hint = h
			break
		}
	}
	return c.cut(c.shortenLeft(text, width-len(hint))+hint, width)
}

// typed makes what the user types harmless to print. A backslash stays one: it is theirs.
func (c Caps) typed(s string) string { return strings.ReplaceAll(c.safe(s), `\\`, `\`) }

// answer is what is said above the prompt: what is wrong or what the filter means, and
// what Tab completes to.
func (d *Display) answer(width int, c Caps) (lines []string) {
	switch {
	case d.Line.problem != "":
		for _, l := range c.wrap(d.Line.problem, width-len("! ")) {
			lines = append(lines, c.paintBy(c.cut("! "+l, width), event.Crit))
		}
	case d.Line.means != "":
		lines = []string{c.cut("  "+c.safe(d.Line.means), width)}
	}
	if offers := d.offers(width, c); offers != "" {
		lines = append(lines, offers)
	}
	return lines
}

// offers lists what Tab completes to, with the one that it has put in in brackets.
func (d *Display) offers(width int, c Caps) string {
	list := d.Line.offers
	if len(list) == 0 {
		return ""
	}
	const front = "  Tab:"
	first := 0
	for first < d.Line.choice && !fits(list[first:d.Line.choice+1], width-len(front)-len(" [] +999"), c) {
		first++
	}
	text := front
	for i, o := range list[first:] {
		word := " " + c.safe(o)
		if first+i == d.Line.choice {
			word = " [" + c.safe(o) + "]"
		}
		if left := len(list) - first - i; left > 1 && ansi.StringWidth(text+word)+len(" +999") > width || ansi.StringWidth(text+word) > width {
			return c.cut(text+" +"+output.Count(uint64(left)), width)
		}
		text += word
	}
	return text
}

func fits(list []string, width int, c Caps) bool {
	n := 0
	for _, o := range list {
		n += 1 + ansi.StringWidth(c.safe(o))
	}
	return n <= width
}

// withPrompt puts the answer to what is typed over the last lines of a frame, above its
// footer.
func (d *Display) withPrompt(lines []string, width int, c Caps) []string {
	if !d.Prompt {
		return lines
	}
	answer := d.answer(width, c)
	room := max(len(lines)/3-1, 2)
	if len(answer) > room {
		answer = append(answer[:room-1:room-1], answer[len(answer)-1])
	}
	copy(lines[len(lines)-1-len(answer):], answer)
	return lines
}
