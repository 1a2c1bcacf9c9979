package main

import (
	"cmp"
	_ "embed" // for the preamble
	"fmt"
	"io"
	"slices"
	"strings"
)

// table has a row for each property, which is a test or a subtest of it, and a column
// for each kernel with each hook set.
type table struct {
	columns [][2]string // kernel, hook set
	names   []string    // of the rows: TestReason, TestReason/RST_IPv4
	labels  []string    // what they are called
	named   []bool      // whether a test has said so
	cells   [][]string  // by row
}

// column is what one column shows.
type column struct {
	head     [2]string
	outcomes map[string]outcome
}

func newTable(guests []*guest) *table {
	var columns []column
	for _, g := range guests {
		columns = append(columns, g.column())
	}
	t := &table{names: rows(guests)}
	for _, c := range columns {
		t.columns = append(t.columns, c.head)
	}
	for _, name := range t.names {
		var row []string
		for _, c := range columns {
			row = append(row, cmp.Or(string(c.outcomes[name]), "-"))
		}
		t.cells = append(t.cells, row)
		t.labels = append(t.labels, label(name, guests))
		t.named = append(t.named, named(name, guests))
	}
	return t
}

// harness is the row of what went wrong outside of any test.
const harness = "ran to its end"

// column is what the guest says.
func (g *guest) column() column {
	c := column{[2]string{g.release, g.set}, map[string]outcome{harness: passed}}
	for _, run := range g.results.runs {
		for name, o := range run.outcomes {
			c.outcomes[name] = o
		}
	}
	complete := len(g.results.runs) == len(g.commands)
	if g.err != nil || !complete || slices.ContainsFunc(g.results.runs, func(r *testRun) bool { return r.code < 0 }) {
		c.outcomes[harness] = failed
	}
	return c
}

// rows are all tests and their subtests, but not those of subtests, each after its
// parent.
func rows(guests []*guest) []string {
	names := []string{harness}
	var all []string
	for _, g := range guests {
		for _, run := range g.results.runs {
			for _, name := range run.order {
				if strings.Count(name, "/") < 2 && !slices.Contains(all, name) {
					all = append(all, name)
				}
			}
		}
	}
	for _, name := range all {
		if strings.Contains(name, "/") {
			continue
		}
		names = append(names, name)
		var subs []string
		for _, sub := range all {
			if strings.HasPrefix(sub, name+"/") {
				subs = append(subs, sub)
			}
		}
		slices.Sort(subs) // parallel tests begin in any order
		names = append(names, subs...)
	}
	return names
}

// named reports whether a row is one of those that tests have named, or of their subtests.
func named(name string, guests []*guest) bool {
	parent, _, _ := strings.Cut(name, "/")
	return name == harness || given(parent, guests) != ""
}

// given is what the test calls its row, "" if it does not.
func given(name string, guests []*guest) string {
	for _, g := range guests {
		for _, run := range g.results.runs {
			if l := run.labels[name]; l != "" {
				return l
			}
		}
	}
	return ""
}

// label is a row's name as it is printed: as the test calls it, if it does.
func label(name string, guests []*guest) string {
	if l := given(name, guests); l != "" {
		return l
	}
	if _, sub, ok := strings.Cut(name, "/"); ok {
		return "  " + strings.ReplaceAll(sub, "_", " ")
	}
	return name
}

// text prints the table for a terminal.
func (t *table) text(w io.Writer) error {
	width := 0
	for _, l := range t.labels {
		width = max(width, len(l))
	}
	var b strings.Builder
	for line := range 2 {
		fmt.Fprintf(&b, "%-*s", width, "")
		for _, c := range t.columns {
			fmt.Fprintf(&b, "  %-6s", c[line])
		}
		b.WriteString("\n")
	}
	for i, l := range t.labels {
		fmt.Fprintf(&b, "%-*s", width, l)
		for _, cell := range t.cells[i] {
			fmt.Fprintf(&b, "  %-6s", cell)
		}
		b.WriteString("\n")
	}
	var out strings.Builder
	for line := range strings.Lines(b.String()) {
		out.WriteString(strings.TrimRight(line, " \n") + "\n")
	}
	_, err := io.WriteString(w, out.String())
	return err
}

//go:embed matrix.md
var preamble string

// markdown prints docs/matrix.md: the rows that have been named.
func (t *table) markdown(w io.Writer) error {
	var b strings.Builder
	b.WriteString(preamble + "\n| property |")
	for _, c := range t.columns {
		fmt.Fprintf(&b, " %s %s |", c[0], c[1])
	}
	b.WriteString("\n| --- |" + strings.Repeat(" --- |", len(t.columns)) + "\n")
	for i, text := range t.labels {
		if !t.named[i] {
			continue
		}
		if sub, ok := strings.CutPrefix(text, "  "); ok {
			text = "&emsp;" + sub
		}
		fmt.Fprintf(&b, "| %s | %s |\n", text, strings.Join(t.cells[i], " | "))
	}
	_, err := io.WriteString(w, b.String())
	return err
}
