package view

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/rows"
)

// TestDocs: docs/top.md and its schema are those of the tables of fields.
func TestDocs(t *testing.T) {
	for name, want := range map[string]string{"top.md": Docs(), "top.schema.json": string(JSONSchema())} {
		file := filepath.Join("..", "..", "docs", name)
		if *update {
			if err := os.WriteFile(file, []byte(want), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil || string(got) != want {
			t.Errorf("%s is not up to date: run the test with -update (%v)", file, err)
		}
	}
}

// An object has what the schema says and nothing else, and the numbers of the state.
func TestObject(t *testing.T) {
	var schema struct {
		Properties map[string]struct {
			Items      struct{ Properties map[string]json.RawMessage }
			Properties map[string]json.RawMessage
		}
		Required []string
	}
	if err := json.Unmarshal(JSONSchema(), &schema); err != nil {
		t.Fatal(err)
	}
	for _, scene := range scenes {
		s := scene.state()
		var b strings.Builder
		if err := Object(&b, s, scene.display); err != nil {
			t.Fatal(err)
		}
		if strings.Count(b.String(), "\n") != 1 || strings.ContainsAny(b.String(), "\x1b\x07\u202e") || strings.Contains(b.String(), "u001b") {
			t.Errorf("%s: no line of its own, or control characters: %q", scene.name, b.String())
		}
		var got map[string]json.RawMessage
		if err := json.Unmarshal([]byte(b.String()), &got); err != nil {
			t.Fatalf("%s: %v in %s", scene.name, err, b.String())
		}
		for _, name := range schema.Required {
			if got[name] == nil {
				t.Errorf("%s: no %s", scene.name, name)
			}
		}
		for name, value := range got {
			p, ok := schema.Properties[name]
			if !ok {
				t.Errorf("%s: %s is not in the schema", scene.name, name)
			}
			for _, inner := range innerNames(value) {
				if _, ok := p.Items.Properties[inner]; !ok && p.Properties[inner] == nil && name != "lost_by_stage" {
					t.Errorf("%s: %s of %s is not in the schema", scene.name, inner, name)
				}
			}
		}
		var o struct {
			TW   uint64 `json:"time_wait"`
			Rows []any
		}
		if err := json.Unmarshal([]byte(b.String()), &o); err != nil || o.TW != s.TimeWait || len(o.Rows) != len(scene.display.Arrange(s.Rows)) {
			t.Errorf("%s: %v: %d in TIME_WAIT and %d rows", scene.name, err, o.TW, len(o.Rows))
		}
	}
}

// innerNames are the fields of an object, or of those in a list.
func innerNames(value json.RawMessage) (names []string) {
	var list []map[string]json.RawMessage
	if json.Unmarshal(value, &list) != nil {
		list = make([]map[string]json.RawMessage, 1)
		if json.Unmarshal(value, &list[0]) != nil {
			return nil
		}
	}
	for _, o := range list {
		for name := range o {
			if !slices.Contains(names, name) {
				names = append(names, name)
			}
		}
	}
	return names
}

// What is exported is what the screen shows, in each format, and names stay names.
func TestExport(t *testing.T) {
	for name, x := range map[string]struct {
		state   func() *State
		display Display
		rows    int
	}{"hostile": {hostile, Display{}, 11}, "storm": {told, Display{}, 8}, "one": {told, on(PageDetail, rows.ByFlow, "checkout"), 1}, "events": {told, lookAt(TabEvents), 3}} {
		for _, format := range exporters {
			var b strings.Builder
			s := x.state()
			if err := format.write(sheetOf(s, &x.display), &b, s); err != nil {
				t.Fatal(err)
			}
			lines := map[string]int{"ndjson": x.rows, "csv": x.rows + 1, "html": strings.Count(b.String(), "\n")}[format.name]
			if strings.Count(b.String(), "\n") != lines || format.name == "html" && strings.Count(b.String(), "<tr>") != x.rows+1 {
				t.Errorf("%s as %s: not %d rows: %s", name, format.name, x.rows, b.String())
			}
			if strings.ContainsAny(b.String(), "\x1b\x07\u202e") {
				t.Errorf("%s as %s: control characters in %q", name, format.name, b.String())
			}
			golden(t, "export-"+name+"."+format.name, b.String())
		}
	}
}

// Every name of an interval and of its rows is a public term, or is explained here: what
// nests, and the notes.
func TestTerms(t *testing.T) {
	own := []string{"buckets", "ports", "findings", "remarks", "rows"}
	for _, f := range stateFields {
		if _, ok := output.FindTerm(f.name); ok == slices.Contains(own, f.name) || f.sentence() == "" {
			t.Errorf("%s is no term of output, or has no documentation", f.name)
		}
	}
	headings := make(map[string]bool)
	for _, f := range rowFields {
		if _, ok := output.FindTerm(f.name); !ok || f.sentence() == "" {
			t.Errorf("%s is no term of output, or has no documentation", f.name)
		}
		if headings[f.heading()] {
			t.Errorf("two columns are called %s", f.heading())
		}
		headings[f.heading()] = true
	}
}
