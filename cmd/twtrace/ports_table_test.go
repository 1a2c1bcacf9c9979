package main

import (
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/output"
)

// TestPortsDocs: the documentation has every field, and no other.
func TestPortsDocs(t *testing.T) {
	doc, err := os.ReadFile("../../docs/ports.md")
	if err != nil {
		t.Fatal(err)
	}
	_, table, _ := strings.Cut(string(doc), "| field | meaning |")
	table, _, _ = strings.Cut(table, "\n\n")
	var documented []string
	for line := range strings.Lines(table) {
		if cells := strings.Split(line, "|"); len(cells) > 2 {
			for _, name := range strings.Fields(cells[1]) {
				documented = append(documented, strings.Trim(name, "`"))
			}
		}
	}
	for _, c := range portsColumns {
		if n := count(documented, c.Name); n != 1 {
			t.Errorf("%s is documented %d times", c.Name, n)
		}
	}
	if want := len(portsColumns) + 1; len(documented) != want { // and the line of dashes
		t.Errorf("%d fields documented, want %d: %q", len(documented), want, documented)
	}
}

func count(list []string, s string) int {
	n := 0
	for _, v := range list {
		if v == s {
			n++
		}
	}
	return n
}

// TestTablesHaveTerms: each column of a table is a public term, by its present name.
func TestTablesHaveTerms(t *testing.T) {
	columns := slices.Clone(portsColumns)
	for _, c := range slices.Concat(whoColumns, countColumns) {
		columns = append(columns, c.TableColumn)
	}
	for _, c := range columns {
		if term, ok := output.FindTerm(c.Name); !ok || term.Name != c.Name {
			t.Errorf("%s is no term of output", c.Name)
		}
	}
}
