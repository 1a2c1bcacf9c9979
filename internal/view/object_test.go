package view

import (
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
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
		if err := Object(&b, s, scene.look); err != nil {
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
				if _, ok := p.Items.Properties[inner]; !ok && p.Properties[inner] == nil && name != "lost_stages" {
					t.Errorf("%s: %s of %s is not in the schema", scene.name, inner, name)
				}
			}
		}
		var o struct {
			TW   uint64
			Rows []struct{ TW uint64 }
		}
		if err := json.Unmarshal([]byte(b.String()), &o); err != nil || o.TW != s.TimeWait || len(o.Rows) != len(scene.look.Arrange(s.Rows)) {
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
		state func() *State
		look  Look
		rows  int
	}{"hostile": {hostile, Look{}, 11}, "storm": {told, Look{}, 8}, "one": {told, on(PageDetail, ByFlow, "checkout"), 1}, "events": {told, lookAt(TabEvents), 3}} {
		for _, format := range exporters {
			var b strings.Builder
			s := x.state()
			if err := format.write(sheetOf(s, &x.look), &b, s); err != nil {
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
