package report

import (
	"bytes"
	"fmt"
	"io"
	"strings"
)

// WriteMarkdown writes r as Markdown, as wikis and issue trackers take it.
func WriteMarkdown(w io.Writer, r *Report) error {
	var b bytes.Buffer
	fmt.Fprintf(&b, "# TIME_WAIT report: %s\n\n**%s** · %s\n\n", inline(orDash(r.Trace.Host)), severityWord(r.Verdict), r.period())
	if v := r.block(); v != nil {
		v.markdown(&b)
	} else if h := r.headline(); h != "" {
		fmt.Fprintf(&b, "%s\n\n", inline(h))
	}
	tiles := table{Columns: append(left("what"), append(right("number"), left("")...)...)}
	for _, t := range r.tiles() {
		tiles.add(text(t.Name), text(t.Value), cell{Text: t.Note})
	}
	tiles.markdown(&b)
	outages := r.outageSection()
	outages.markdown(&b)
	r.markdownFindings(&b)
	b.WriteString("## Time line\n\n")
	line := r.timeTable()
	line.markdown(&b)
	for _, s := range r.sections() {
		s.markdown(&b)
	}
	_, err := w.Write(append(bytes.TrimRight(b.Bytes(), "\n"), '\n'))
	return err
}

func (v *block) markdown(b *bytes.Buffer) {
	fmt.Fprintf(b, "**%s**\n\n", inline(v.Line))
	for _, p := range v.Parts {
		fmt.Fprintf(b, "- **%s**: %s\n", p.Name, inline(p.Text))
	}
	if len(v.Commands) > 0 {
		fmt.Fprintf(b, "- **stopgap**: %s\n", inline(v.Does))
		markdownCommands(b, v.Commands)
	}
	for _, p := range []part{{"fix", v.Fix}, {"also", v.More}} {
		if p.Text != "" {
			fmt.Fprintf(b, "- **%s**: %s\n", p.Name, inline(p.Text))
		}
	}
	b.WriteByte('\n')
}

func markdownCommands(b *bytes.Buffer, all []part) {
	for _, c := range all {
		fmt.Fprintf(b, "  - %s`%s`\n", c.Name, strings.ReplaceAll(c.Text, "`", `\x60`))
	}
}

func (r *Report) markdownFindings(b *bytes.Buffer) {
	b.WriteString("## Findings\n\n")
	if len(r.Findings) == 0 {
		fmt.Fprintf(b, "%s\n\n", noFindings)
	}
	for i := range r.Findings {
		f := &r.Findings[i]
		fmt.Fprintf(b, "### %s %s: %s\n\n", severityWord(f.Severity), f.ID, inline(f.Title))
		for _, p := range f.parts(r) {
			fmt.Fprintf(b, "- **%s**: %s\n", p.Name, inline(p.Text))
		}
		for _, m := range f.Remedies {
			fmt.Fprintf(b, "- **%s**: %s\n", m.kind(), inline(m.Text))
			markdownCommands(b, m.commands())
			if m.Risk != "" {
				fmt.Fprintf(b, "  - risk: %s\n", inline(m.Risk))
			}
		}
		b.WriteByte('\n')
	}
	if n := r.Omitted.Findings; n > 0 {
		fmt.Fprintf(b, "%s.\n\n", omitted(n, "findings"))
	}
}

func (s *section) markdown(b *bytes.Buffer) {
	fmt.Fprintf(b, "## %s\n\n", s.Title)
	if s.nothing() {
		fmt.Fprintf(b, "%s\n\n", s.Empty)
		return
	}
	if s.Intro != "" {
		fmt.Fprintf(b, "%s\n\n", inline(s.Intro))
	}
	for i := range s.Tables {
		s.Tables[i].markdown(b)
	}
	for _, n := range s.Notes {
		fmt.Fprintf(b, "- %s\n", inline(n))
	}
	if len(s.Notes) > 0 {
		b.WriteByte('\n')
	}
}

func (t *table) markdown(b *bytes.Buffer) {
	if t.Caption != "" {
		fmt.Fprintf(b, "%s:\n\n", inline(t.Caption))
	}
	b.WriteByte('|')
	for _, c := range t.Columns {
		fmt.Fprintf(b, " %s |", inline(c.Name))
	}
	b.WriteString("\n|")
	for _, c := range t.Columns {
		if c.Num {
			b.WriteString(" ---: |")
		} else {
			b.WriteString(" --- |")
		}
	}
	b.WriteByte('\n')
	for _, row := range t.Rows {
		b.WriteByte('|')
		for i, c := range row {
			fmt.Fprintf(b, " %s |", c.markdown(t.Columns[i].Bar))
		}
		b.WriteByte('\n')
	}
	b.WriteByte('\n')
	if t.Omitted != "" {
		fmt.Fprintf(b, "%s.\n\n", t.Omitted)
	}
}

func (c *cell) markdown(bar bool) string {
	switch {
	case bar:
		const width = 20
		return strings.Repeat("█", int(c.Bar*width+0.5)) + " " + c.Text
	case c.Code:
		return "`" + codeSpan(c.Text) + "`"
	}
	return inline(c.Text)
}

// inline has Markdown and HTML take nothing in s for their own, nor a link.
func inline(s string) string {
	var b strings.Builder
	for i := range len(s) {
		if strings.IndexByte("\\`*_[]<>|~&#", s[i]) >= 0 || s[i] == ':' && strings.HasPrefix(s[i:], "://") {
			b.WriteByte('\\')
		}
		b.WriteByte(s[i])
	}
	return b.String()
}

// codeSpan is s for a code span, also one in a table, where only a backtick and a bar
// mean anything: they become what output.Escape makes of other such bytes.
func codeSpan(s string) string { return strings.NewReplacer("`", `\x60`, "|", `\x7c`).Replace(s) }
