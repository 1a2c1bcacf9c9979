package advice

import (
	"cmp"
	"fmt"
	"io"
	"strconv"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/output"
)

// WriteMarkdown writes r for a ticket or a chat: a table of what was found, and
// for each finding a section with its evidence and its commands.
func WriteMarkdown(w io.Writer, r Report) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# twtrace doctor: %s\n\n", r.Verdict())
	fmt.Fprintf(&b, "%s, kernel %s, %s, %s, twtrace %s", plain(r.Host.Hostname), plain(r.Host.Release), plain(r.watched()),
		r.Time.UTC().Format(time.RFC3339), plain(r.Version))
	if words := r.where(); words != "" {
		b.WriteString("; " + plain(words))
	}
	b.WriteString("\n\n| | | |\n| --- | --- | --- |\n")
	for _, x := range r.Findings {
		fmt.Fprintf(&b, "| %s | %s | %s |\n", word(x.Severity), x.ID, plain(cmp.Or(x.Short, x.Title)))
	}
	for _, x := range r.Findings {
		if x.Severity >= Info && x.Group != "trace" {
			markdownFinding(&b, &r, x)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", r.summary())
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

func markdownFinding(b *strings.Builder, r *Report, x Finding) {
	fmt.Fprintf(b, "\n## %s %s: %s\n\n", word(x.Severity), x.ID, plain(x.Title))
	item := func(name, text string) {
		if text != "" {
			fmt.Fprintf(b, "- **%s**: %s\n", name, plain(text))
		}
	}
	if len(r.Spaces) > 1 && x.Scope.NetNS != 0 && !x.general() {
		item("where", "network namespace "+r.space(x.Scope.NetNS))
	}
	item("what", x.What)
	item("who", x.Who)
	item("when", x.When)
	item("why", x.Why)
	for _, m := range append(append([]Remedy(nil), x.Now...), x.Fix...) {
		item(m.Kind, m.Text)
		if m.Command != "" {
			fmt.Fprintf(b, "\n  ```\n  %s\n", command(m.Command))
			if m.Undo != "" {
				fmt.Fprintf(b, "  # undo: %s\n", command(m.Undo))
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
			limit = number(e.Limit)
		}
		value := number(e.Value)
		if e.Unit != "" {
			value += " " + e.Unit
		}
		fmt.Fprintf(b, "| %s | %s | %s | %s |\n", plain(e.Name), plain(value), limit, plain(e.Source))
	}
}

// number prints what was counted whole, and what was measured with three digits.
func number(v float64) string {
	if v == float64(int64(v)) {
		return output.Count(uint64(max(v, 0)))
	}
	return strconv.FormatFloat(v, 'g', 3, 64)
}

// plain is text that means nothing to Markdown, but for code between backquotes,
// and is harmless to print. Others chose parts of it.
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
