package advice

import (
	"bytes"
	"cmp"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/output"
)

// Layout of the text report, in columns.
const (
	textWidth = 80
	labelAt   = 8
	textAt    = 17
)

// groups are the sections of the text report, in order.
var groups = []struct{ name, title string }{{"trace", "can trace"}, {"host", "host"}}

// WriteText writes r for people: texts are wrapped, commands never.
func WriteText(w io.Writer, r Report) error {
	var b bytes.Buffer
	f := &r.Facts
	watched := "looked once"
	if f.Window > 0 {
		watched = "watched " + seconds(f.Window)
	}
	fmt.Fprintf(&b, "twtrace %s  %s  kernel %s  %s  %s  %s\n", r.Version, output.Escape(nil, f.Host.Hostname),
		f.Host.Release, output.Escape(nil, f.NetNS.String()), watched, f.Time.UTC().Format(time.RFC3339))
	for _, g := range groups {
		first := true
		for _, x := range r.Findings {
			if cmp.Or(x.Group, "host") != g.name {
				continue
			}
			if first {
				fmt.Fprintf(&b, "\n%s\n", g.title)
				first = false
			}
			writeFinding(&b, x)
		}
	}
	fmt.Fprintf(&b, "\n%s\n", r.summary())
	_, err := w.Write(b.Bytes())
	return err
}

func writeFinding(b *bytes.Buffer, x Finding) {
	word := x.Severity.String()
	if x.Severity == Crit {
		word = "CRIT" // must not need colour to be seen
	}
	fmt.Fprintf(b, "  %-5s %s %s\n", word, x.ID, output.Escape(nil, x.Title))
	label(b, "what", x.What)
	label(b, "who", x.Who)
	label(b, "when", x.When)
	label(b, "why", x.Why)
	for _, r := range x.Now {
		writeRemedy(b, "now", r)
	}
	for _, r := range x.Fix {
		writeRemedy(b, "fix", r)
	}
	if x.Severity >= Info && x.Group != "trace" {
		label(b, "more", "twtrace explain "+x.ID)
	}
}

func writeRemedy(b *bytes.Buffer, name string, r Remedy) {
	label(b, name, r.Text)
	indent := strings.Repeat(" ", textAt)
	if r.Command != "" {
		fmt.Fprintf(b, "%s%s\n", indent, r.Command)
	}
	if r.Undo != "" {
		fmt.Fprintf(b, "%sundo: %s\n", indent, r.Undo)
	}
	if r.Risk != "" {
		label(b, "", "risk: "+r.Risk)
	}
}

// label writes text behind name, wrapped; nothing if there is no text.
func label(b *bytes.Buffer, name, text string) {
	if text == "" {
		return
	}
	fmt.Fprintf(b, "%*s%-*s", labelAt, "", textAt-labelAt, name)
	column := textAt
	for i, word := range strings.Fields(string(output.Escape(nil, text))) {
		if i > 0 && column+1+len(word) > textWidth {
			fmt.Fprintf(b, "\n%*s", textAt, "")
			column = textAt
		} else if i > 0 {
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += len(word)
	}
	b.WriteByte('\n')
}

// summary is the last line.
func (r Report) summary() string {
	count := map[Severity]int{}
	for _, x := range r.Findings {
		count[x.Severity]++
	}
	var parts []string
	for _, s := range []struct {
		severity  Severity
		one, many string
	}{
		{Crit, "critical", "critical"}, {Warn, "warning", "warnings"}, {Info, "note", "notes"},
		{OK, "ok", "ok"}, {Skip, "skipped", "skipped"},
	} {
		switch n := count[s.severity]; n {
		case 0:
		case 1:
			parts = append(parts, "1 "+s.one)
		default:
			parts = append(parts, fmt.Sprintf("%d %s", n, s.many))
		}
	}
	line := strings.Join(parts, ", ") + "."
	if len(parts) == 0 {
		line = "Nothing could be looked at."
	}
	if r.Traced {
		line += fmt.Sprintf("  %s events lost.", output.Count(r.Lost))
	}
	return fmt.Sprintf("%s  Exit status %d.", line, r.ExitCode())
}
