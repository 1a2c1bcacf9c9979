package main

import (
	"encoding/csv"
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/tracer"
)

// TestCheckTable: what is missing is a warning as long as there is another way, and a
// failure if there is none.
func TestCheckTable(t *testing.T) {
	t.Parallel()
	reqs := []tracer.Requirement{
		{Name: "permission to load BPF programs"},
		{Name: "hook set fentry", Err: errors.New("no trampolines")},
	}
	hooks := []tracer.Hook{
		{Name: "timer_start", Target: "tp timer_start", Set: tracer.Timer, Shows: "births", Needed: true},
		{Name: "hashdance", Target: "fentry inet_twsk", Set: tracer.Fentry, Err: errors.New("no function")},
		{Name: "exit_accept", Target: "tp sys_exit", Err: errors.New("no tracepoint"), Without: "who accepted"},
		{Name: "enter", Target: "tp sock", Err: errors.New("another prototype"), Without: "everything", Needed: true},
	}
	for failed, want := range map[bool]string{
		false: "status,check,detail\n" +
			"ok,permission to load BPF programs,\n" +
			"warn,hook set fentry,no trampolines\n" +
			"ok,timer_start on tp timer_start,births\n" +
			"unused,hashdance on fentry inet_twsk,no function\n" +
			"warn,exit_accept on tp sys_exit,no tracepoint: who accepted\n" +
			"FAIL,enter on tp sock,another prototype: everything\n" +
			"warn,capabilities,CAP_SYSLOG\n",
		true: "status,check,detail\n" +
			"ok,permission to load BPF programs,\n" +
			"FAIL,hook set fentry,no trampolines\n" +
			"ok,timer_start on tp timer_start,births\n" +
			"warn,hashdance on fentry inet_twsk,no function: \n" +
			"warn,exit_accept on tp sys_exit,no tracepoint: who accepted\n" +
			"FAIL,enter on tp sock,another prototype: everything\n" +
			"warn,capabilities,CAP_SYSLOG\n",
	} {
		var b strings.Builder
		must(t, checkTable(checkLines(reqs, hooks, failed, []string{"CAP_SYSLOG"})).Write(&b, output.CSV))
		if got := strings.ReplaceAll(b.String(), "\r", ""); got != want {
			t.Errorf("failed %v:\n%s\nwant:\n%s", failed, got, want)
		}
	}
}

// checked is a line of check -o json.
type checked struct{ Status, Check, Detail string }

func checkedRows(t *testing.T, text string) (rows []checked) {
	t.Helper()
	for line := range strings.Lines(text) {
		var r checked
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		rows = append(rows, r)
	}
	return rows
}

// TestCheck wants the same of all formats, and the exit code to be what the table says,
// with the rights there are.
func TestCheck(t *testing.T) {
	t.Parallel()
	o := ran("check", "-o", "json")
	rows := checkedRows(t, o.stdout)
	at := slices.IndexFunc(rows, func(r checked) bool { return r.Status == "FAIL" })
	switch {
	case len(rows) == 0:
		t.Fatalf("nothing was checked: %s", o.stderr)
	case at < 0 && (o.code != exitOK || o.stderr != ""):
		t.Errorf("exit code %d, and nothing failed: %s", o.code, o.stderr)
	case at >= 0:
		o.failed(t, exitNoTrace, rows[at].Detail)
	}
	all, err := csv.NewReader(strings.NewReader(ran("check", "-o", "csv").stdout)).ReadAll()
	if err != nil || len(all) != len(rows)+1 || strings.Join(all[0], ",") != "status,check,detail" {
		t.Fatalf("CSV has %d lines, want %d: %v", len(all), len(rows)+1, err)
	}
	text := ran("check").stdout
	for i, r := range rows {
		if !slices.Equal(all[i+1], []string{r.Status, r.Check, r.Detail}) {
			t.Errorf("CSV has %q, JSON %+v", all[i+1], r)
		}
		if !strings.Contains(text, r.Check) || !strings.Contains(text, "\ntwtrace "+version+" on ") || !strings.HasPrefix(text, "This host can") {
			t.Errorf("text lacks %q: %s", r.Check, text)
		}
	}
}

// TestCheckSentence: the first line is the answer, and what a trace would not show follows.
func TestCheckSentence(t *testing.T) {
	t.Parallel()
	reqs := []tracer.Requirement{{Name: "type information (BTF)"}, {Name: "hook set fentry", Err: errors.New("no trampolines")}, {Name: "in use: timer"}}
	hooks := []tracer.Hook{
		{Name: "hashdance", Target: "inet_twsk", Set: tracer.Fentry, Err: errors.New("refused")},
		{Name: "timer_start", Target: "timer_start", Set: tracer.Timer, Shows: "starts"},
		{Name: "exit_accept", Target: "sys_exit", Err: errors.New("no tracepoint"), Without: "who accepted"},
	}
	for _, c := range []struct {
		missing []string
		err     error
		want    string
	}{
		{nil, nil, "This host can be traced, by the timer hooks; it shows all that twtrace knows of."},
		{[]string{"who accepted"}, nil, "This host can be traced, by the timer hooks; 1 thing is not shown:"},
		{[]string{"who accepted", "names"}, nil, "This host can be traced, by the timer hooks; 2 things are not shown:"},
		{nil, errors.New("no BTF"), "This host cannot be traced: no BTF"},
	} {
		if got := checkSentence(reqs, c.missing, c.err); got != c.want {
			t.Errorf("got %q, want %q", got, c.want)
		}
	}
	if got, want := checkHead("one two three", []string{"four five six"}, 9), "one two\nthree\n- four\n  five\n  six\n"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	for width, want := range map[int]string{
		84: "STATUS CHECK                             DETAIL\n" +
			"ok     type information (BTF)\n" +
			"warn   hook set fentry                   no trampolines\n" +
			"ok     in use: timer\n" +
			"ok     timer_start on timer_start        starts\n",
		20: "STATUS CHECK\n" +
			"ok     type\n       information\n       (BTF)\n" +
			"warn   hook set\n       fentry\n       no\n       trampolines\n" +
			"ok     in use: timer\n" +
			"ok     timer_start\n       on\n       timer_start\n       starts\n",
	} {
		var b strings.Builder
		must(t, writeChecks(&b, checkLines(reqs, hooks[1:2], false, nil), width))
		if b.String() != want {
			t.Errorf("%d columns:\n%s\nwant:\n%s", width, b.String(), want)
		}
	}
}
