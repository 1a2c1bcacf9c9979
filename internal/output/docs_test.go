package output

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// TestDocs checks that the documentation in the tree is what the table says.
func TestDocs(t *testing.T) {
	for name, want := range map[string]string{"records.md": Docs(), "records.schema.json": string(JSONSchema())} {
		got, err := os.ReadFile(filepath.Join("..", "..", "docs", name))
		if err != nil {
			t.Fatal(err)
		}
		if string(got) != want {
			t.Errorf("docs/%s is not up to date: run go generate ./internal/output", name)
		}
	}
}

func TestKinds(t *testing.T) {
	for i, n := range event.Names[event.Kind]() {
		if i >= len(kinds) || kinds[i].kind.String() != n {
			t.Errorf("the documentation of events lacks %s, or has it elsewhere", n)
		}
	}
	for _, r := range event.Names[event.Reason]() {
		if !strings.Contains(Docs(), "`"+r+"`") {
			t.Errorf("no event is documented to have reason %s", r)
		}
	}
}

// TestFieldTable checks the table of fields against itself: names are unique and
// sound, types are those of the values, enumerations hold the values.
func TestFieldTable(t *testing.T) {
	name := regexp.MustCompile(`^[a-z]+(_[a-z0-9]+)*$`)
	seen := map[string]bool{}
	e := full()
	e.Start = &event.StartInfo{Version: "v", Schema: 1, Host: "h", Kernel: "k", BootID: "b", HookSet: "fentry", Hooks: []string{"h"},
		Missing: []string{"m"}, Limits: map[string]string{"a": "b"}, Filter: "f"}
	e.End = &event.EndInfo{Why: "w"}
	e.Storm = &event.StormInfo{Severity: event.Warn, LifeP50: 1, Used: 1, Usable: 2, Projected: 3, PIDs: 4, Held: 5, Others: 6, Resolved: true}
	var zero event.Event
	for _, f := range Fields() {
		if !name.MatchString(f.Name) || seen[f.Name] || f.Doc == "" {
			t.Errorf("field %q: bad or double name, or no documentation", f.Name)
		}
		seen[f.Name] = true
		if got := f.Value(&e).Type(); got != f.Type {
			t.Errorf("%s: a value of type %d, want %d", f.Name, got, f.Type)
		}
		if f.Value(&zero).Known() {
			t.Errorf("%s is known in an empty event", f.Name)
		}
		if strings.HasSuffix(f.Name, "_ns") != (f.Type == TypeDuration) {
			t.Errorf("%s: a duration ends in _ns, nothing else does", f.Name)
		}
		if v := string(f.Value(&e).Append(nil)); f.Enum != nil && !slices.Contains(f.Enum, v) {
			t.Errorf("%s: %q is not one of %q", f.Name, v, f.Enum)
		}
	}
	for _, format := range []Format{Text, Wide} {
		for _, n := range Default(format) {
			if f := find(n); f == nil || f.about || f.Width == 0 {
				t.Errorf("%s prints %s, which has no column", format, n)
			}
		}
	}
}

// TestSchema checks records of all kinds against the JSON Schema, and that the
// check finds what is wrong.
func TestSchema(t *testing.T) {
	var s schema
	if err := json.Unmarshal(JSONSchema(), &s); err != nil {
		t.Fatal(err)
	}
	events := trace()
	lines := strings.Split(strings.TrimSpace(render(t, Options{Format: JSON}, append(events[:len(events)-1], full()))), "\n")
	for _, l := range lines {
		var v any
		if err := json.Unmarshal([]byte(l), &v); err != nil {
			t.Fatal(err)
		}
		if err := s.check("record", v); err != nil {
			t.Errorf("%v: %s", err, l)
		}
		for name := range v.(map[string]any) {
			if _, ok := s.Properties[name]; !ok {
				t.Errorf("%s is not in the schema", name)
			}
		}
	}
	for _, bad := range []string{`{"time":"x","event":"open"}`, `{"event":"open"}`, `{"time":"2026-11-22T22:14:07.912345678Z","event":"opened"}`,
		`{"time":"2026-11-22T22:14:07.912345678Z","event":"open","pid":-1}`, `{"time":"2026-11-22T22:14:07.912345678Z","event":"open","cookie":"0x1"}`,
		`{"time":"2026-11-22T22:14:07.912345678Z","event":"end","drift":[{"netns":1}]}`, `{"time":"2026-11-22T22:14:07.912345678Z","event":"end","lost_by_stage":{"a":"b"}}`} {
		var v any
		if err := json.Unmarshal([]byte(bad), &v); err != nil {
			t.Fatal(err)
		}
		if s.check("record", v) == nil {
			t.Errorf("the schema takes %s", bad)
		}
	}
}

// check is JSON Schema as far as [schema] goes.
func (s *schema) check(at string, v any) error {
	switch v := v.(type) {
	case map[string]any:
		return s.checkObject(at, v)
	case []any:
		if s.Type != "array" {
			return fmt.Errorf("%s: an array, want %s", at, s.Type)
		}
		for _, item := range v {
			if err := s.Items.check(at+"[]", item); err != nil {
				return err
			}
		}
	case string:
		_, err := time.Parse(time.RFC3339Nano, v)
		switch {
		case s.Type != "string", s.Enum != nil && !slices.Contains(s.Enum, v),
			s.Format == "date-time" && err != nil, !regexp.MustCompile(s.Pattern).MatchString(v):
			return fmt.Errorf("%s: %q", at, v)
		}
	case float64:
		if s.Type != "integer" || v != float64(int64(v)) || s.Minimum != nil && v < float64(*s.Minimum) {
			return fmt.Errorf("%s: %v", at, v)
		}
	case bool:
		if s.Type != "boolean" {
			return fmt.Errorf("%s: %v", at, v)
		}
	default:
		return fmt.Errorf("%s: %v", at, v)
	}
	return nil
}

func (s *schema) checkObject(at string, v map[string]any) error {
	if s.Type != "object" {
		return fmt.Errorf("%s: an object, want %s", at, s.Type)
	}
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return fmt.Errorf("%s has no %s", at, name)
		}
	}
	for name, item := range v {
		p, ok := s.Properties[name]
		if !ok && s.Additional != nil {
			p, ok = *s.Additional, true
		}
		if !ok {
			continue
		}
		if err := p.check(at+"."+name, item); err != nil {
			return err
		}
	}
	return nil
}
