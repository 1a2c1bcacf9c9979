package advice

import "strings"

// The Markdown that pages use: headings, paragraphs, lists of two levels, blocks of
// commands, and code in backquotes.
const fence = "```"

// pageWidth is where a page is wrapped, in columns.
const pageWidth = 80

// renderPage wraps a page for a terminal. Commands keep their lines.
func renderPage(text string) string {
	var p pageWriter
	for line := range strings.Lines(text) {
		p.line(strings.TrimRight(line, " \n"))
	}
	p.flush()
	return strings.TrimRight(p.out.String(), "\n") + "\n"
}

// pageWriter collects the lines of a paragraph until it ends.
type pageWriter struct {
	out    strings.Builder
	words  []string
	bullet string // what starts the first line of the paragraph
	in     int    // columns that the others are indented
	code   bool
	headed bool // the last line is a heading
}

func (p *pageWriter) line(s string) {
	body := strings.TrimLeft(s, " ")
	switch {
	case s == fence:
		p.flush()
		p.code = !p.code
	case p.code:
		p.out.WriteString("    " + s + "\n")
	case s == "":
		p.flush()
		p.blank()
	case strings.HasPrefix(s, "# "):
		p.out.WriteString(s[len("# "):] + "\n")
	case strings.HasPrefix(s, "## "):
		p.flush()
		p.out.WriteString(strings.ToUpper(s[len("## "):]) + "\n")
		p.headed = true
	case strings.HasPrefix(body, "- "):
		p.flush()
		p.bullet, p.in = s[:len(s)-len(body)]+"- ", len(s)-len(body)+len("- ")
		p.words = strings.Fields(body[len("- "):])
	default:
		if len(p.words) == 0 {
			p.in = len(s) - len(body)
			p.bullet = s[:p.in]
		}
		p.words = append(p.words, strings.Fields(body)...)
	}
}

// blank writes an empty line, but for one behind a heading.
func (p *pageWriter) blank() {
	if !p.headed {
		p.out.WriteByte('\n')
	}
	p.headed = false
}

// flush writes the paragraph.
func (p *pageWriter) flush() {
	column := 0
	for i, word := range p.words {
		word = strings.ReplaceAll(word, "`", "")
		switch {
		case i == 0:
			p.out.WriteString(p.bullet)
			column = p.in
		case column+1+len(word) > pageWidth:
			p.out.WriteString("\n" + strings.Repeat(" ", p.in))
			column = p.in
		default:
			p.out.WriteByte(' ')
			column++
		}
		p.out.WriteString(word)
		column += len(word)
	}
	if len(p.words) > 0 {
		p.out.WriteByte('\n')
	}
	p.words = nil
}
