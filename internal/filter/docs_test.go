package filter

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// The page of the language lists every word, in the order of Words.
func TestDocs(t *testing.T) {
	page, err := os.ReadFile("../../docs/filter.md")
	if err != nil {
		t.Fatal(err)
	}
	var table strings.Builder
	for _, w := range Words {
		fmt.Fprintf(&table, "| `%s` | %s | %s |\n", w.Name, w.Takes, w.Means)
	}
	if !strings.Contains(string(page), table.String()) {
		t.Errorf("docs/filter.md lacks the table\n%s", table.String())
	}
}
