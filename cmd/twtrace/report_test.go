package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/report"
)

var updateGolden = flag.Bool("update", false, "write the golden files of reports")

// recorded is a recording of a client that used up 300 ports in six seconds, of a
// small neighbour, and of the server that both went to.
var recorded = filepath.Join("testdata", "report.ndjson.zst")

// runReportOn returns what report prints of the files.
func runReportOn(t *testing.T, args ...string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run(append([]string{"twtrace", "--utc", "report"}, args...), &stdout, &stderr); code != exitOK || stderr.Len() > 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	return stdout.String()
}

// TestReportGolden: the forms that people read and programs take, and each always
// the same.
func TestReportGolden(t *testing.T) {
	for _, form := range []string{"md", "json", "html"} {
		got := runReportOn(t, "-r", recorded, "-o", form)
		if again := runReportOn(t, "-r", recorded, "-o", form); again != got {
			t.Errorf("%s: the same file makes another report", form)
		}
		if form == "html" {
			continue
		}
		path := filepath.Join("testdata", "report."+form)
		if *updateGolden {
			must(t, os.WriteFile(path, []byte(got), 0o644))
		}
		want, err := os.ReadFile(path)
		must(t, err)
		if got != string(want) {
			t.Errorf("%s: not as in testdata (if it is right: go test ./cmd/twtrace -run TestReportGolden -update):\n%s", form, got)
		}
	}
}

// TestReportAgrees: the report counts as trace --summary does, and its parts as the
// whole.
func TestReportAgrees(t *testing.T) {
	var r report.Report
	must(t, json.Unmarshal([]byte(runReportOn(t, "-r", recorded, "-o", "json")), &r))
	var stdout, stderr bytes.Buffer
	if code := run([]string{"twtrace", "trace", "-r", recorded, "--summary", "--by", "process", "-o", "json"}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	type row struct {
		Opened  uint64 `json:"opens_total"`
		Begins  uint64 `json:"time_wait_enters_total"`
		Ends    uint64 `json:"time_wait_exits_total"`
		Closed  uint64 `json:"closes_total"`
		Failed  uint64 `json:"fails_total"`
		Refused uint64 `json:"time_wait_refused_total"`
		Group   string
	}
	var sum row
	opened := make(map[string]uint64)
	for _, line := range strings.Split(strings.TrimSpace(stdout.String()), "\n") {
		var v row
		must(t, json.Unmarshal([]byte(line), &v))
		opened[v.Group] += v.Opened
		sum = row{Opened: sum.Opened + v.Opened, Begins: sum.Begins + v.Begins, Ends: sum.Ends + v.Ends,
			Closed: sum.Closed + v.Closed, Failed: sum.Failed + v.Failed, Refused: sum.Refused + v.Refused}
	}
	got := row{Opened: r.Totals.Opened, Begins: r.Totals.Begins, Ends: r.Totals.Exits, Closed: r.Totals.Closed, Failed: r.Totals.Failed, Refused: r.Totals.Refused}
	if got != sum || got.Opened == 0 || got.Failed == 0 {
		t.Errorf("the report has %+v, trace --summary %+v", got, sum)
	}
	for _, o := range r.Owners {
		if o.Opened != opened[o.Name] {
			t.Errorf("%s opened %d, and %d by trace --summary", o.Name, o.Opened, opened[o.Name])
		}
	}
	total := func(list []uint64) (n uint64) {
		for _, v := range list {
			n += v
		}
		return n
	}
	counts := func(list []report.Count) (n uint64) {
		for _, v := range list {
			n += v.N
		}
		return n
	}
	for what, n := range map[string][2]uint64{
		"opened": {total(r.Series.Opened), r.Totals.Opened}, "begins": {total(r.Series.Begins), r.Totals.Begins},
		"ends": {total(r.Series.Exits), r.Totals.Exits}, "failed": {total(r.Series.Failed), r.Totals.Failed},
		"begins by reason": {counts(r.Begins), r.Totals.Begins}, "ends by reason": {counts(r.Exits), r.Totals.Exits}, "closes by reason": {counts(r.Closes), r.Totals.Closed},
	} {
		if n[0] != n[1] {
			t.Errorf("%s: %d in the parts, %d in the totals", what, n[0], n[1])
		}
	}
}

// TestReportSchema checks a report against the schema that is published, and that the
// check finds what is wrong.
func TestReportSchema(t *testing.T) {
	b, err := os.ReadFile(filepath.Join("..", "..", "docs", "report.schema.json"))
	must(t, err)
	var schema, good any
	must(t, json.Unmarshal(b, &schema))
	out := runReportOn(t, "-r", recorded, "-o", "json")
	must(t, json.Unmarshal([]byte(out), &good))
	if err := fits(schema, good, "report"); err != nil {
		t.Error(err)
	}
	for _, change := range [][2]string{{`"verdict":"crit",`, ``}, {`"opens_total":`, `"opens_total":-`}, {`"twtrace.report/v2"`, `"v0"`},
		{`"storms":[`, `"storms":[1,`}, {`"duration_s":`, `"duration_s":"x","x":`}, {`"host":"`, `"unheard":"`}} {
		bad := strings.Replace(out, change[0], change[1], 1)
		var v any
		must(t, json.Unmarshal([]byte(bad), &v))
		if bad == out || fits(schema, v, "report") == nil {
			t.Errorf("the schema takes %q for %q", change[1], change[0])
		}
	}
}

// fits is JSON Schema as far as that of reports goes, which allows no field that it
// does not have.
func fits(schema, v any, at string) error {
	s := schema.(map[string]any)
	var is string
	switch v := v.(type) {
	case map[string]any:
		is = "object"
		properties, _ := s["properties"].(map[string]any)
		for name, item := range v {
			p, ok := properties[name]
			if !ok {
				return fmt.Errorf("%s.%s is not in the schema", at, name)
			}
			if err := fits(p, item, at+"."+name); err != nil {
				return err
			}
		}
		required, _ := s["required"].([]any)
		for _, name := range required {
			if _, ok := v[name.(string)]; !ok {
				return fmt.Errorf("%s has no %s", at, name)
			}
		}
	case []any:
		is = "array"
		for _, item := range v {
			if err := fits(s["items"], item, at+"[]"); err != nil {
				return err
			}
		}
	case float64:
		types, _ := s["type"].([]any)
		if is = "number"; v == math.Trunc(v) && (s["type"] == "integer" || slices.Contains(types, any("integer"))) {
			is = "integer"
		}
		if low, ok := s["minimum"].(float64); ok && v < low {
			return fmt.Errorf("%s: %v is below %v", at, v, low)
		}
	case string:
		if is = "string"; s["const"] != nil && s["const"] != v {
			return fmt.Errorf("%s: %q, want %q", at, v, s["const"])
		}
	case nil:
		is = "null"
	}
	if many, ok := s["type"].([]any); s["type"] != is && !(ok && slices.Contains(many, any(is))) {
		return fmt.Errorf("%s: %s, want %v", at, is, s["type"])
	}
	return nil
}

// TestReportFile: a report is written for its owner alone, over nothing and through
// no link; and an ordinary user makes one.
func TestReportFile(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "t.html")
	args := []string{"twtrace", "report", "-r", recorded, "-w", path}
	var stdout, stderr bytes.Buffer
	if code := run(args, &stdout, &stderr); code != exitOK || stdout.Len() > 0 {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	st, err := os.Stat(path)
	must(t, err)
	if st.Mode().Perm() != 0o600 {
		t.Errorf("mode %v, want 0600", st.Mode())
	}
	must(t, os.WriteFile(path, []byte("mine"), 0o600))
	link := filepath.Join(dir, "link.html")
	must(t, os.Symlink(path, link))
	for _, to := range [][]string{{"-w", path}, {"-w", link}, {"-w", link, "--force"}, {"-w", dir, "--force"}} {
		if code := run(append([]string{"twtrace", "report", "-r", recorded}, to...), &stdout, &stderr); code != exitFailed {
			t.Errorf("%q: exit code %d, want %d", to, code, exitFailed)
		}
	}
	if b, err := os.ReadFile(path); string(b) != "mine" {
		t.Errorf("the file was written over: %v", err)
	}
	if code := run(append(args, "--force"), &stdout, &stderr); code != exitOK {
		t.Errorf("--force: exit code %d: %s", code, stderr.String())
	}
	got, err := os.ReadFile(path)
	must(t, err)
	page, talk, code := asUser(t, recorded, "report", "-r", "-")
	if code != exitOK || page != string(got) {
		t.Errorf("of an ordinary user: exit code %d, %d bytes, want %d: %s", code, len(page), len(got), talk)
	}
}

// TestReportUsage: what cannot be done is refused before anything is read.
func TestReportUsage(t *testing.T) {
	for _, args := range [][]string{{}, {"-r", recorded, "-o", "pdf"}, {"-r", recorded, "--force"}, {"-r", recorded, "--from", "x"}} {
		var stdout, stderr bytes.Buffer
		if code := run(append([]string{"twtrace", "report"}, args...), &stdout, &stderr); code != exitUsage || stdout.Len() > 0 {
			t.Errorf("%q: exit code %d, want %d: %s", args, code, exitUsage, stderr.String())
		}
	}
}

// TestReportOfPart: --from and --to leave out what is before and behind, and what
// was alive then stays.
func TestReportOfPart(t *testing.T) {
	var all, part report.Report
	must(t, json.Unmarshal([]byte(runReportOn(t, "-r", recorded, "-o", "json")), &all))
	must(t, json.Unmarshal([]byte(runReportOn(t, "-r", recorded, "-o", "json", "--from", "6s", "--to", "8s")), &part))
	if part.Totals.Opened == 0 || part.Totals.Opened >= all.Totals.Opened/2 || math.Abs(part.Trace.Duration-2) > 0.1 {
		t.Errorf("two seconds have %d of %d connections, and last %v s", part.Totals.Opened, all.Totals.Opened, part.Trace.Duration)
	}
	if part.Peaks.TimeWait.Value <= float64(part.Totals.Begins) {
		t.Errorf("%v in TIME_WAIT at the most, of which %d began then", part.Peaks.TimeWait.Value, part.Totals.Begins)
	}
}

// TestReportOfDamaged: what is left of a file has its report, which says what is
// missing, and so does the exit code.
func TestReportOfDamaged(t *testing.T) {
	b, err := os.ReadFile(recorded)
	must(t, err)
	path := filepath.Join(t.TempDir(), "torn.ndjson.zst")
	must(t, os.WriteFile(path, b[:len(b)/2], 0o600))
	var stdout, stderr bytes.Buffer
	if code := run([]string{"twtrace", "report", "-r", path, "-o", "json"}, &stdout, &stderr); code != exitFailed || !strings.Contains(stderr.String(), "torn") {
		t.Errorf("exit code %d, want %d: %s", code, exitFailed, stderr.String())
	}
	var r report.Report
	must(t, json.Unmarshal(stdout.Bytes(), &r))
	if len(r.Losses.Damage) == 0 || r.Losses.Alive != nil || r.Totals.Opened == 0 {
		t.Errorf("%d damages, totals %+v", len(r.Losses.Damage), r.Totals)
	}
}
