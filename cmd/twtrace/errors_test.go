package main

import (
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// outcome is what a command that has ended leaves.
type outcome struct {
	stdout, stderr string
	code           int
}

// ended runs cmd to its end.
func ended(t testing.TB, cmd *exec.Cmd) outcome {
	t.Helper()
	var out, errs strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &errs
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer expire(cmd)()
	_ = cmd.Wait() // the exit code says it
	return outcome{out.String(), errs.String(), cmd.ProcessState.ExitCode()}
}

// expire kills a command that runs for so long that it must have missed its end.
func expire(cmd *exec.Cmd) (stop func() bool) {
	return time.AfterFunc(patience, func() { _ = cmd.Process.Kill() }).Stop
}

// failed checks that the command failed with that code and said so on one line,
// with all of words.
func (o outcome) failed(t testing.TB, code int, words ...string) {
	t.Helper()
	if o.code != code {
		t.Errorf("exit code %d, want %d; stderr: %s", o.code, code, o.stderr)
	}
	if !strings.HasPrefix(o.stderr, "twtrace: ") || strings.Count(o.stderr, "\n") != 1 || !strings.HasSuffix(o.stderr, "\n") {
		t.Errorf("stderr is not one line of twtrace: %q", o.stderr)
	}
	for _, w := range words {
		if !strings.Contains(o.stderr, w) {
			t.Errorf("stderr lacks %q: %s", w, o.stderr)
		}
	}
	if strings.Contains(o.stderr+o.stdout, "MEMLOCK may be too low") {
		t.Errorf("it blames RLIMIT_MEMLOCK: %s%s", o.stderr, o.stdout)
	}
}

// silent checks that nothing went to stdout.
func (o outcome) silent(t testing.TB) {
	t.Helper()
	if o.stdout != "" {
		t.Errorf("stdout has %q", o.stdout)
	}
}

func TestUsageErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args string // separated by spaces; '' is an empty one
		verb string // whose help is recommended
		word string
	}{
		{"--bogus", "", "unknown flag -bogus"},
		{"-o csv", "", `bad output format "csv": use text, json`},
		{"demo -o csv", "demo", `bad output format "csv": use text, json`},
		{"bogus", "", `unknown command "bogus": the commands are top, trace, `},
		{"--comm doctor bogus", "", `unknown command "bogus"`}, // a value is no command
		{"-c 0 -b", "", "--count: bad number 0"},
		{"-i 5", "", `"5" for flag -i: it takes a time with its unit`},
		{"-i 1ms", "", "--interval: 1ms is too short: the least is"},
		{"--strict=maybe", "", `"maybe" for -strict: it takes no value`},
		{"top -i -1s", "top", "--interval: bad duration -1s"},
		{"top bogus", "top", `unexpected argument "bogus"`},
		{"trace --bogus", "trace", "unknown flag -bogus"},
		{"trace web -o json", "trace", `unexpected argument "web": trace takes flags, and behind -- a command`},
		{"trace -o json web", "trace", `unexpected argument "web"`},
		{"trace --pid", "trace", "needs an argument: -pid"},
		{"trace -p 12,x", "trace", `--pid: bad pid "x"`},
		{"trace -p 0", "trace", `--pid: bad pid "0"`},
		{"trace --comm ''", "trace", "--comm: "},
		{"trace --raddr 10.0.0.0/33", "trace", `--raddr: bad prefix "10.0.0.0/33"`},
		{"trace --laddr 10.0.0", "trace", "--laddr: bad address"},
		{"trace -D 65536", "trace", `--rport: bad port "65536": ports go from 1 to 65535`},
		{"trace -L 0", "trace", `--lport: bad port "0"`},
		{"trace -L 9-8", "trace", "did you mean 8-9?"},
		{"trace --role both", "trace", `--role: bad role "both": use client, server`},
		{"trace --closer me", "trace", "--closer: bad "},
		{"trace --event begin", "trace", `--event: bad event "begin": use `},
		{"trace --reason none", "trace", `--reason: bad reason "none": use `},
		{"trace -4 -6", "trace", "-4 and -6 exclude each other"},
		{"trace -o xml", "trace", `--output: bad output format "xml": use text, wide, json, csv`},
		{"trace --fields pid,bogus", "trace", `--fields: no field "bogus": the fields are `},
		{"trace --fields ''", "trace", "--fields: "},
		{"trace --duration 5", "trace", "it takes a time with its unit, such as 30s"},
		{"trace --duration -5s", "trace", "--duration: bad duration -5s: it must be above 0"},
		{"trace --duration 0", "trace", "--duration: bad duration 0s"},
		{"trace -c -1", "trace", "--count: bad number -1: it must be above 0"},
		{"trace -c 0", "trace", "--count: bad number 0"},
		{"trace -c x", "trace", `"x" for flag -c: it takes a number`},
		{"trace --states some", "trace", `--states: bad value "some"`},
		{"trace --hooks bogus", "trace", "--hooks: "},
		{"trace --syscalls maybe", "trace", "--syscalls: "},
		{"trace --buffer 3X", "trace", `--buffer: bad size "3X": from 4K to 1G`},
		{"trace --buffer 4G", "trace", `--buffer: bad size "4G"`},
		{"trace --buffer ''", "trace", `--buffer: bad size ""`},
		{"trace --max-conns 0", "trace", "--max-conns: bad number 0: from 1 to "},
		{"trace -N bogus", "trace", `--netns: no network namespace "bogus"`},
		{"trace -N /dev/null", "trace", "--netns: /dev/null is no network namespace"},
		{"trace -N pid:0", "trace", `"0" is no process id`},
		{"list -N bogus", "list", `--netns: no network namespace "bogus"`},
		{"list -N /bogus", "list", "--netns: open network namespace: open /bogus: no such file"},
		{"list -o xml", "list", `--output: bad output format "xml"`},
		{"check -o xml", "check", `--output: bad output format "xml"`},
		{"check all", "check", `unexpected argument "all"`},
		{"explain TW101 TW102", "explain", "explain takes the ID of one finding, such as TW101"},
		{"explain TW999", "explain", `no finding "TW999"; the nearest is TW`},
		{"explain TW101 -o", "explain", "explain takes the ID of one finding"},
		{"demo now", "demo", `unexpected argument "now"`},
		{"doctor --bogus", "doctor", "unknown flag -bogus"},
		{"doctor --rate 5", "doctor", "--rate is for --plan"},
		{"doctor --plan --port-range 5", "doctor", `--port-range: bad range "5"`},
		{"doctor --plan --port-range 1024-65535x", "doctor", "bad range"},
		{"doctor --plan --port-range 60000-1024", "doctor", "bad range"},
		{"doctor --plan --requests 0", "doctor", "--requests: a connection has at least 1"},
		{"doctor --plan --sources 0", "doctor", "--sources: there is at least 1"},
		{"doctor --plan --rate -1", "doctor", "no less than 0"},
		{"doctor --plan --towards 10.2.0.9", "doctor", "it is ADDR:PORT"},
		{"doctor --plan -o md", "doctor", "--plan is a text or json"},
		{"doctor --sysctl --brief", "doctor", "--sysctl is a form of its own"},
		{"doctor --window 1", "doctor", "it takes a time with its unit"},
		{"doctor -o csv", "doctor", `--output: bad format "csv"`},
		{"doctor web", "doctor", `unexpected argument "web"`},
	} {
		t.Run(c.args, func(t *testing.T) {
			t.Parallel()
			args := strings.Fields(strings.ReplaceAll(c.args, "''", "\x00"))
			for i := range args {
				args[i] = strings.Trim(args[i], "\x00")
			}
			code := 2
			if c.verb == "doctor" {
				code = 3
			}
			o := ended(t, command(args...))
			o.failed(t, code, c.word, " (see "+strings.TrimSpace("twtrace "+c.verb)+" --help)\n")
			o.silent(t)
		})
	}
}

// TestDoctorWithoutNetNS has the exit code of a plugin that does not know.
func TestDoctorWithoutNetNS(t *testing.T) {
	t.Parallel()
	o := ended(t, command("doctor", "-N", "bogus"))
	o.failed(t, 3, `no network namespace "bogus": it must be an `)
	o.silent(t)
}

func TestHelp(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args  []string
		words []string
	}{
		{[]string{"--help"}, []string{"twtrace doctor ", "twtrace trace -D 3306 -o json ", "twtrace demo ", "--netns"}},
		{[]string{"trace", "--help"}, []string{"twtrace trace -p 4242 --duration 30s ", "twtrace trace -N web ", "--reason"}},
		{[]string{"list", "-h"}, []string{"twtrace list -D 3306 ", "--fields"}},
		{[]string{"check", "-h"}, []string{"twtrace check -o json ", "Exit code"}},
		{[]string{"explain", "-h"}, []string{"explain", "ID"}},
	} {
		stdout, stderr, code := twtrace(t, c.args...)
		if code != 0 || stderr != "" {
			t.Errorf("%v: exit code %d, stderr %q", c.args, code, stderr)
		}
		for _, w := range c.words {
			if !strings.Contains(stdout, w) {
				t.Errorf("%v: the help lacks %q: %s", c.args, w, stdout)
			}
		}
		for _, w := range []string{"(default: false)", "(default: 0", "default: \"\""} {
			if strings.Contains(stdout, w) {
				t.Errorf("%v: the help has %s", c.args, w)
			}
		}
	}
	for _, flag := range []string{"--version", "-v"} {
		if o := ended(t, command(flag)); o.code != 0 || o.stderr != "" || o.stdout != "twtrace version "+version+"\n" {
			t.Errorf("%s: %+v", flag, o)
		}
	}
}

func TestBadBTF(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	dir := t.TempDir()
	for name, content := range map[string]string{"text": "no types here\n", "empty": "", "magic": "\x9f\xeb\x01"} {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"missing", "text", "empty", "magic", "."} {
		path := filepath.Join(dir, name)
		for _, args := range [][]string{{"trace", "--btf", path}, {"--btf", path}, {"check", "--btf", path}} {
			o := ended(t, command(args...))
			o.failed(t, 3, "BTF", path, "leave it out")
			if args[0] != "check" {
				o.silent(t)
			} else if !strings.Contains(o.stdout, "\nFAIL   type information (BTF) ") {
				t.Errorf("check of %s: %s", name, o.stdout)
			}
		}
	}
}

// TestCheck wants the same of all formats, and every hook that a trace says it uses.
func TestCheck(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	type row struct{ Status, Check, Detail string }
	var rows []row
	o := ended(t, command("check", "-o", "json"))
	if o.code != 0 || o.stderr != "" {
		t.Fatalf("exit code %d, stderr %q", o.code, o.stderr)
	}
	for line := range strings.Lines(o.stdout) {
		var r row
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v: %s", err, line)
		}
		if !slices.Contains([]string{"ok", "warn", "unused"}, r.Status) {
			t.Errorf("this host can be traced, and yet: %+v", r)
		}
		rows = append(rows, r)
	}
	tr := startTrace(t, "--duration", "1ms")
	if len(tr.all()[0].Hooks) == 0 {
		t.Fatal("the start record has no hooks")
	}
	for _, hook := range tr.all()[0].Hooks {
		if !slices.ContainsFunc(rows, func(r row) bool {
			return strings.HasPrefix(r.Check, hook+" on ") && r.Status == "ok" && r.Detail != ""
		}) {
			t.Errorf("a trace uses %s, and check does not say so", hook)
		}
	}
	tr.wait()

	all, err := csv.NewReader(strings.NewReader(ended(t, command("check", "-o", "csv")).stdout)).ReadAll()
	if err != nil || len(all) != len(rows)+1 || strings.Join(all[0], ",") != "status,check,detail" {
		t.Errorf("CSV has %d lines, want %d: %v", len(all), len(rows)+1, err)
	}
	text := ended(t, command("check")).stdout
	for _, r := range rows {
		if !strings.Contains(text, r.Check) {
			t.Errorf("text lacks %q: %s", r.Check, text)
		}
	}
}
