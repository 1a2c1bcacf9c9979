package metrics

import (
	_ "embed"
	"fmt"
	"slices"
	"strings"
)

// docsIntro is what comes before the table.
//
//go:embed metrics.intro.md
var docsIntro string

// Docs is the documentation of the metrics in Markdown, made from the table: docs/metrics.md.
func Docs() string {
	var b strings.Builder
	b.WriteString(docsIntro)
	b.WriteString("| metric | type | labels | unit | meaning | series at most |\n| --- | --- | --- | --- | --- | --- |\n")
	for _, m := range table {
		name, labels := "`"+m.name+"`", slices.Clone(m.labels)
		if m.only {
			name += " (`full`)"
		}
		if len(m.full) > 0 {
			labels = append([]string{"*owner*"}, labels...)
		}
		for i, l := range labels {
			if l != "*owner*" {
				labels[i] = "`" + l + "`"
			}
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s |\n", name, strings.ToLower(m.kind.String()), strings.Join(labels, " "), m.unit, m.help, m.series)
	}
	return b.String()
}
