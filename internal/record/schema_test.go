package record

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// schema is the part of JSON Schema that headers need.
type schema struct {
	Ref        string `json:"$ref"`
	Type       string
	Format     string
	Pattern    string
	Minimum    *float64
	Maximum    *float64
	Items      *schema
	Properties map[string]*schema
	Additional *schema `json:"additionalProperties"`
	Required   []string
}

func readSchema(t *testing.T, name string) *schema {
	t.Helper()
	data, err := os.ReadFile(filepath.Join("../../docs", name))
	if err != nil {
		t.Fatal(err)
	}
	var s schema
	if err := json.Unmarshal(data, &s); err != nil {
		t.Fatal(err)
	}
	for name, p := range s.Properties {
		if p.Ref != "" {
			s.Properties[name] = readSchema(t, p.Ref)
		}
	}
	return &s
}

// check tells where v is not as the schema has it.
func (s *schema) check(at string, v any) error {
	wrong := fmt.Errorf("%s: %v is not as the schema has it", at, v)
	switch v := v.(type) {
	case string:
		_, err := time.Parse(time.RFC3339Nano, v)
		if s.Type != "string" || s.Format == "date-time" && err != nil || !regexp.MustCompile(s.Pattern).MatchString(v) {
			return wrong
		}
	case float64:
		if s.Type != "integer" || v != float64(int64(v)) || s.Minimum != nil && v < *s.Minimum || s.Maximum != nil && v > *s.Maximum {
			return wrong
		}
	case []any:
		if s.Type != "array" {
			return wrong
		}
		for _, item := range v {
			if err := s.Items.check(at+"[]", item); err != nil {
				return err
			}
		}
	case map[string]any:
		if s.Type != "object" {
			return wrong
		}
		return s.checkMembers(at, v)
	default:
		return wrong
	}
	return nil
}

func (s *schema) checkMembers(at string, v map[string]any) error {
	for _, name := range s.Required {
		if _, ok := v[name]; !ok {
			return fmt.Errorf("%s: no %s", at, name)
		}
	}
	for name, member := range v {
		p := s.Properties[name]
		if p == nil {
			p = s.Additional
		}
		if p == nil {
			return fmt.Errorf("%s: %s is not in the schema", at, name)
		}
		if err := p.check(at+"."+name, member); err != nil {
			return err
		}
	}
	return nil
}

// headers returns the header lines of a file.
func headers(t *testing.T, name string) (lines [][]byte) {
	t.Helper()
	data, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	at, _ := scanBlocks(t, data)
	for _, from := range at[:len(at)-1] { // the last one is the end
		from += 8
		lines = append(lines, data[from:from+bytes.IndexByte(data[from:], '\n')+1])
	}
	return lines
}

// TestHeadersAreAsPublished: all that is written is in the published schema, and all
// that is in there is written.
func TestHeadersAreAsPublished(t *testing.T) {
	dir := t.TempDir()
	vitals := func() event.Vitals { // as only the tracer of an agent has it
		return event.Vitals{RingUsed: 1, RingSize: 4096, Programs: []event.Program{{Name: "state", Runs: 7, Time: 9, Skipped: 1}},
			Conns: 1, MaxConns: 9, Unnamed: map[string]uint64{"gone": 0}, Processes: []event.Usage{{Process: "tracer", CPU: 5, Memory: 4096}}}
	}
	w, err := NewWriter(Options{Path: filepath.Join(dir, "t.zst"), Every: time.Second, Vitals: vitals}, startEvent(), t0)
	if err != nil {
		t.Fatal(err)
	}
	w.SetRead(Read{At: t0, Before: t0.Add(-5 * time.Second)})
	w.SetLimits(7, sysctls(1))
	w.SetName(7, "ux-web", true)
	for i := range 30 {
		e := nth(i)
		e.Time = t0.Add(time.Duration(i) * 100 * time.Millisecond).UnixNano()
		if i == 10 {
			e.Kind, e.Stage, e.Count = event.Lost, event.StageRing, 3
		}
		if err := w.Write(&e); err != nil {
			t.Fatal(err)
		}
		if err := w.Tick(time.Unix(0, e.Time)); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Close(endEvent()); err != nil {
		t.Fatal(err)
	}
	s := readSchema(t, "trace-file.schema.json")
	unseen := maps.Clone(s.Properties)
	_, _, names := readDir(t, dir)
	for _, name := range names {
		for _, line := range headers(t, name) {
			var v map[string]any
			if err := json.Unmarshal(line, &v); err != nil {
				t.Fatal(err)
			}
			if err := s.check("header", v); err != nil {
				t.Errorf("%v: %s", err, line)
			}
			for member := range v {
				delete(unseen, member)
			}
		}
	}
	for member := range unseen {
		t.Errorf("no header has %s", member)
	}
}

// TestSchemaFindsWhatIsWrong: the check above can fail.
func TestSchemaFindsWhatIsWrong(t *testing.T) {
	path := filepath.Join(t.TempDir(), "t.zst")
	w, err := NewWriter(Options{Path: path}, startEvent(), t0)
	if err != nil {
		t.Fatal(err)
	}
	w.SetLimits(7, sysctls(1))
	e := nth(0)
	if err := w.Write(&e); err != nil {
		t.Fatal(err)
	}
	if err := w.Close(endEvent()); err != nil {
		t.Fatal(err)
	}
	all := headers(t, path)
	s := readSchema(t, "trace-file.schema.json")
	for _, line := range all {
		var good any
		if err := json.Unmarshal(line, &good); err != nil || s.check("header", good) != nil {
			t.Fatalf("%v, %v: %s", err, s.check("header", good), line)
		}
	}
	for from, to := range map[string]string{
		`"twtrace":2`: `"twtrace":3`, `"trace":"`: `"trace":"x`, `"before":1`: `"before":-1`, `"raw":`: `"raw":1.5,"more":`,
		`"last":"`: `"last":"at `, `"close":"signal"`: `"close":1`, `"crc"`: `"sum"`, `"netns":[`: `"netns":["x",`,
		`"net.ipv4.tcp_max_tw_buckets":"1"`: `"net.ipv4.tcp_max_tw_buckets":1`, `"time_wait_enters_total":7`: `"time_wait_enters_total":"7"`,
	} {
		i := slices.IndexFunc(all, func(line []byte) bool { return bytes.Contains(line, []byte(from)) })
		if i < 0 {
			t.Fatalf("no header has %s", from)
		}
		bad := bytes.Replace(all[i], []byte(from), []byte(to), 1)
		var v any
		if err := json.Unmarshal(bad, &v); err != nil {
			t.Fatalf("%v: %s", err, bad)
		}
		if s.check("header", v) == nil {
			t.Errorf("the schema takes %s", bad)
		}
	}
}
