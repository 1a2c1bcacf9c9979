package view

import (
	"strings"

	"github.com/charmbracelet/x/ansi"
)

// commandLines are the lines of a page that show a command, from its left edge on: one
// line where the screen is wide enough. Where it is not, the lines are continued as a
// shell has it, so that what is selected there and pasted is still the command.
func commandLines(command string, width int) []string {
	width = max(width, 20)
	if ansi.StringWidth(command) <= width {
		return []string{command}
	}
	var lines []string
	var quote byte // that the rest starts in
	rest := command
	for ansi.StringWidth(rest) > width {
		at, in := breakAt(rest, quote, width-len(`'\`))
		line := rest[:at]
		if quote = in; quote == '\'' { // a \ has no meaning in there: leave the quotes
			lines, rest = append(lines, line+`'\`), "'"+rest[at:]
			quote = 0
			continue
		}
		lines, rest = append(lines, line+`\`), rest[at:]
	}
	return append(lines, rest)
}

// breakAt is behind the last blank of the first cells of a command, or in the middle of
// a word that is longer, and which quote is open there.
func breakAt(command string, quote byte, cells int) (at int, in byte) {
	width, hard, within := 0, 0, quote
	defer func() {
		if at == 0 {
			at, in = hard, within
		}
	}()
	for i := 0; i < len(command); i++ {
		b := command[i]
		if b < 0x80 || b >= 0xc0 { // not within a rune
			r := command[i:]
			cluster, w := ansi.FirstGraphemeCluster(r, ansi.GraphemeWidth)
			if cluster == "" {
				break
			}
			if width += w; width > cells {
				break
			}
			hard, within = i, quote
		}
		switch {
		case b == '\\' && quote != '\'':
			i++
			width++
		case quote == 0 && (b == '\'' || b == '"'):
			quote = b
		case b == quote && quote != 0:
			quote = 0
		case b == ' ' && strings.TrimSpace(command[i:]) != "":
			at, in = i+1, quote
		}
	}
	return at, in
}
