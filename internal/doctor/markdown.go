package doctor

import (
	"cmp"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// markdownWidth is that of the verdict, in columns: a page is wider than a terminal.
const markdownWidth = 110

// WriteMarkdown writes r for a ticket or a chat: the verdict, a table of the findings, and a
// section for each with its evidence and commands.
func WriteMarkdown(w io.Writer, r Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# twtrace doctor: %s\n\n", r.Verdict())
	fmt.Fprintf(&b, "%s, kernel %s, %s, %s, twtrace %s", plain(r.Host.Hostname), plain(r.Host.Release), plain(r.watched()),
		r.Clock.Date(r.Time), plain(r.Version))
	if words := r.where(); words != "" {
		b.WriteString("; " + plain(words))
	}
	b.WriteString("\n\n")
	v := r.verdict(true)
	for _, l := range v.Lines(markdownWidth) {
		fmt.Fprintf(&b, "    %s\n", l) // a block of code that no name can end
	}
	b.WriteString("\n| | | |\n| --- | --- | --- |\n")
	for _, x := range r.Findings {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", word(x.Severity), x.ID, plain(cmp.Or(x.Short, x.Title)))
	}
	for _, x := range r.Findings {
		if x.Severity >= event.Info && x.Group != "trace" {
			markdownFinding(&b, &r, x)
		}
	}
	if words := r.scope(); words != "" {
		fmt.Fprintf(&b, "\n%s\n", plain(words))
	}
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func markdownFinding(b *strings.Builder, r *Report, x advice.Finding) {
	fmt.Fprintf(b, "\n## %s %s: %s\n\n", word(x.Severity), x.ID, plain(x.Title))
	item := func(name, text string) {
		if text != "" {
			fmt.Fprintf(b, "- **%s**: %s\n", name, plain(text))
		}
	}
	if len(r.Spaces) > 1 && x.Scope.NetNS != 0 && !x.General() {
		item("where", "network namespace "+r.space(x.Scope.NetNS))
	}
	item("what", x.What)
	item("who", string(x.Who))
	item("when", x.When)
	item("why", x.Why)
	for i := range x.Under {
		item("also", r.also(&x, &x.Under[i]))
	}
	for _, m := range append(append([]advice.Remedy(nil), x.Now...), x.Fix...) {
		item(m.Kind, m.Text)
		if do, undo := m.Command(), m.Undo(); do != "" {
			fmt.Fprintf(b, "\n  ```\n  %s\n", advice.EscapeCommand(do))
			if undo != "" {
				fmt.Fprintf(b, "  # undo: %s\n", advice.EscapeCommand(undo))
			}
			b.WriteString("  ```\n\n")
		}
		if m.Risk != "" {
			fmt.Fprintf(b, "  Risk: %s\n", plain(m.Risk))
		}
	}
	if len(x.Evidence) == 0 {
		return
	}
	b.WriteString("\n| evidence | value | limit | source |\n| --- | ---: | ---: | --- |\n")
	for _, e := range x.Evidence {
		limit := "-"
		if e.Limit != 0 {
			limit = quantity(e.Limit, e.Unit)
		}
		value := quantity(e.Value, e.Unit)
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", plain(e.Name), plain(value), limit, plain(e.Source))
	}
}

// quantity is a number with its unit as people write it: 1,660 ports, 27.2/s, 98.5%, 612us.
func quantity(v float64, unit string) string {
	switch unit {
	case "":
		return number(v)
	case "1/s":
		return number(v) + "/s"
	case "%":
		return number(v) + "%"
	case "s":
		return output.Duration(int64(v * float64(time.Second)))
	}
	return number(v) + " " + unit
}

// number prints a count in full, and a small measurement with three digits.
func number(v float64) string {
	if v >= 0 && (v >= 999.5 || v == math.Trunc(v)) {
		return output.Count(uint64(math.Round(v)))
	}
	digits := strconv.FormatFloat(v, 'g', 3, 64)
	if short, err := strconv.ParseFloat(digits, 64); err == nil {
		return strconv.FormatFloat(short, 'f', -1, 64)
	}
	return digits
}

// plain escapes text for Markdown and the terminal: others choose parts of it.
func plain(s string) string {
	s = string(output.Escape(nil, s))
	var b strings.Builder
	for _, r := range s {
		if strings.ContainsRune("\\*_[]<>|#`", r) {
			b.WriteByte('\\')
		}
		b.WriteRune(r)
	}
	return b.String()
}
