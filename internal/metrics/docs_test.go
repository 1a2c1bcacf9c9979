package metrics

import (
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
)

var update = flag.Bool("update", false, "write docs/metrics.md")

// TestDocs: docs/metrics.md is that of the table.
func TestDocs(t *testing.T) {
	file := filepath.Join("..", "..", "docs", "metrics.md")
	if *update {
		if err := os.WriteFile(file, []byte(Docs()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil || string(got) != Docs() {
		t.Errorf("%s is not up to date: run the test with -update (%v)", file, err)
	}
}

// TestTable checks the table against itself: names are unique, sound and in their unit,
// and all is documented.
func TestTable(t *testing.T) {
	name := regexp.MustCompile(`^twtrace(_[a-z]+)+$`)
	suffix := map[string]*regexp.Regexp{"seconds": regexp.MustCompile(`_seconds(_total)?$`), "ratio": regexp.MustCompile(`_ratio$`), "sockets": regexp.MustCompile(`_sockets$|_unknown$`)}
	var seen []string
	for _, m := range table {
		if !name.MatchString(m.name) || slices.Contains(seen, m.name) || m.help == "" || m.series == "" {
			t.Errorf("%s: bad or double name, or something is missing", m.name)
		}
		seen = append(seen, m.name)
		if s := suffix[m.unit]; s != nil && !s.MatchString(m.name) {
			t.Errorf("%s is in %s", m.name, m.unit)
		}
		if total := regexp.MustCompile(`_total$`).MatchString(m.name); total != (m.kind == counter) {
			t.Errorf("%s is a %v", m.name, m.kind)
		}
	}
}
