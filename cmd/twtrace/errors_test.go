package main

import (
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
		{"--bogus", "top", "unknown flag --bogus"},
		{"-o csv", "top", `--output: bad format "csv": use text or json`},
		{"demo -o csv", "demo", `--output: bad format "csv": use text or json`},
		{"bogus", "", `unknown command "bogus": the commands are top, trace, `},
		{"--comm doctor bogus", "", `unknown command "bogus"`}, // a value is no command
		{"-c 0 -b", "top", "--count: bad number 0"},
		{"-i 5", "top", `-i: bad value "5": use a time with its unit`},
		{"-i 1ms", "top", "--interval: 1ms is too short: the minimum is"},
		{"--strict=maybe", "top", `--strict: bad value "maybe": use --strict without a value`},
		{"top -i -1s", "top", "--interval: bad duration -1s"},
		{"top dport 80", "top", `no word "dport": did you mean rport (remote port)?`},
		{":8080 tw>100", "top", `no comparison such as "tw>100": sort by that number`},
		{"ports lport 80", "ports", "ports takes no lport; its words are comm, pid, port, rport"},
		{"storms event open", "storms", "--event: storms prints only storm_start"},
		{"list rport 80 rport 443", "list", "rport 80 conflicts with rport 443"},
		{"trace -D 80 rport 443", "trace", "for either: rport 80,443"},
		{"trace --bogus", "trace", "unknown flag --bogus"},
		{"trace --dport 3306", "trace", "unknown flag --dport; did you mean --rport (-D)?"},
		{"top --intrval 2s", "top", "unknown flag --intrval; did you mean --interval (-i)?"},
		{"trace -i 2s", "trace", "unknown flag -i; -i is a flag of top, ports and demo (see"},
		{"trace /usr/bin/curl -o json", "trace", `no word before "/usr/bin/curl": did you mean exe /usr/bin/curl`},
		{"trace web --bogus", "trace", "unknown flag --bogus"},
		{"trace web rport", "trace", "rport requires a value: the remote port"},
		{"trace --pid", "trace", "--pid requires a value"},
		{"trace -p 12,x", "trace", `--pid: bad pid "x"`},
		{"trace -p 0", "trace", `--pid: bad pid "0"`},
		{"trace --comm ''", "trace", "--comm: "},
		{"trace --raddr 10.0.0.0/33", "trace", `--raddr: bad prefix "10.0.0.0/33"`},
		{"trace --laddr 10.0.0.1.2", "trace", "--laddr: bad address"},
		{"trace -D 65536", "trace", `--rport: bad port "65536": ports go from 1 to 65535`},
		{"trace -L 0", "trace", `--lport: bad port "0"`},
		{"trace -L 9-8", "trace", "did you mean 8-9?"},
		{"trace --role both", "trace", `--role: bad role "both": use client, server`},
		{"trace --closer me", "trace", "--closed-by: bad "},
		{"trace --event begin", "trace", `--event: bad event "begin": use `},
		{"trace --reason none", "trace", `--reason: bad reason "none": use `},
		{"trace -4 -6", "trace", "-4 conflicts with -6"},
		{"trace -o xml", "trace", `--output: bad output format "xml": use text, wide, json, csv`},
		{"trace --fields pid,bogus", "trace", `--fields: no field "bogus"; the first line of -o csv has all names`},
		{"trace --fields ''", "trace", "--fields: "},
		{"trace --duration 5", "trace", "use a time with its unit, such as 30s"},
		{"trace --duration -5s", "trace", "--duration: bad duration -5s: it must be above 0"},
		{"trace --duration 0", "trace", "--duration: bad duration 0s"},
		{"trace -c -1", "trace", "--count: bad number -1: it must be above 0"},
		{"trace -c 0", "trace", "--count: bad number 0"},
		{"trace -c x", "trace", `-c: bad value "x": use a number`},
		{"trace --states some", "trace", `--states: bad value "some"`},
		{"trace --hooks bogus", "trace", "--hooks: "},
		{"trace --syscalls maybe", "trace", "--syscalls: "},
		{"trace --buffer 3X", "trace", `--buffer: bad size "3X": use 4K to 1G`},
		{"trace --buffer 4G", "trace", `--buffer: bad size "4G"`},
		{"trace --buffer ''", "trace", `--buffer: bad size ""`},
		{"trace --max-conns 0", "trace", "--max-conns: bad number 0: use 1 to "},
		{"trace -N bogus", "trace", `--netns: no network namespace "bogus"`},
		{"trace -N /dev/null", "trace", "--netns: /dev/null is not a network namespace"},
		{"trace -N pid:0", "trace", `"0" is not a process id`},
		{"record", "record", "record requires -w FILE"},
		{"record -w t -o xml", "record", `--output: bad format "xml": use json or csv`},
		{"record -w t -C 10K", "record", `--file-size: bad size "10K": use at least 1M`},
		{"record -w t -G often", "record", `--rotate: bad time "often": use seconds, or 10m`},
		{"record -w t -G 100ms", "record", `--rotate: bad time "100ms": the minimum is 1s`},
		{"record -w t -C 1M -W 0", "record", "--files: bad number 0"},
		{"record -w t -W 3", "record", "--files (-W) requires -C, -G or --ring"},
		{"record -w t --min-free much", "record", `--min-free: bad size "much"`},
		{"record -w t --ring 10K", "record", `--ring: bad value "10K": use a time such as 15m, or a size`},
		{"record -w t --ring 15m --after 0s", "record", "--after: bad duration 0s"},
		{"record -w - --force", "record", "-w - conflicts with -C, -G, -W, -Z, --ring and --force"},
		{"record -w - -G 10", "record", "-w - conflicts with -C"},
		{"record -w t -Z bogus", "record", `--user: user "bogus" not found`},
		{"record -w t --states some", "record", `--states: bad value "some"`},
		{"record -w t --follow web", "record", "--follow requires --pid"},
		{"record -w t -p 1 web -- true", "record", "--pid and --follow conflict with a command to run"},
		{"list -N bogus", "list", `--netns: no network namespace "bogus"`},
		{"list -N /bogus", "list", "--netns: open network namespace: open /bogus: no such file"},
		{"list -o xml", "list", `--output: bad output format "xml"`},
		{"check -o xml", "check", `--output: bad output format "xml"`},
		{"check all", "check", `unexpected argument "all"`},
		{"explain TW101 TW102", "explain", "explain takes one ID, such as TW101"},
		{"explain TW999", "explain", `no finding "TW999"; did you mean TW`},
		{"explain TW101 -o", "explain", "unknown flag -o"},
		{"demo now", "demo", `unexpected argument "now"`},
		{"doctor --bogus", "doctor", "unknown flag --bogus"},
		{"doctor --rate 5", "doctor", "--rate requires --plan"},
		{"doctor --plan --port-range 5", "doctor", `--port-range: bad range "5"`},
		{"doctor --plan --port-range 1024-65535x", "doctor", "bad range"},
		{"doctor --plan --port-range 60000-1024", "doctor", "bad range"},
		{"doctor --plan --requests 0", "doctor", "--requests: a connection carries at least 1"},
		{"doctor --plan --sources 0", "doctor", "--sources must be at least 1"},
		{"doctor --plan --rate -1", "doctor", "must not be negative"},
		{"doctor --plan --towards 10.2.0.9", "doctor", "use ADDR:PORT"},
		{"doctor --plan -o md", "doctor", "--plan conflicts with -o md"},
		{"doctor --sysctl --brief", "doctor", "--sysctl conflicts with --brief"},
		{"doctor --window 1", "doctor", "use a time with its unit"},
		{"doctor -o csv", "doctor", `--output: bad format "csv"`},
		{"doctor web", "doctor", `no word "web": doctor takes no names of processes; its only word is netns`},
		{"doctor netns bogus", "doctor", `no network namespace "bogus"`},
		{"doctor :8080", "doctor", "doctor takes no port or address; its only word is netns"},
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
			o := ran(args...)
			o.failed(t, code, c.word, " (see "+strings.TrimSpace("twtrace "+c.verb)+" --help)\n")
			o.silent(t)
		})
	}
}

// TestDoctorWithoutNetNS has the exit code of a plugin that does not know.
func TestDoctorWithoutNetNS(t *testing.T) {
	t.Parallel()
	o := ran("doctor", "-N", "bogus")
	o.failed(t, 3, `no network namespace "bogus": use an `)
	o.silent(t)
}

func TestBadBTFTraced(t *testing.T) {
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

// TestCheckTraced: this host can be traced, and check names every hook that a trace says
// it uses.
func TestCheckTraced(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	o := ended(t, command("check", "-o", "json"))
	if o.code != 0 || o.stderr != "" {
		t.Fatalf("exit code %d, stderr %q", o.code, o.stderr)
	}
	rows := checkedRows(t, o.stdout)
	for _, r := range rows {
		if !slices.Contains([]string{"ok", "warn", "unused"}, r.Status) {
			t.Errorf("this host can be traced, and yet: %+v", r)
		}
	}
	tr := startTrace(t, "--duration", "1ms")
	if len(tr.all()[0].Hooks) == 0 {
		t.Fatal("the start record has no hooks")
	}
	for _, hook := range tr.all()[0].Hooks {
		if !slices.ContainsFunc(rows, func(r checked) bool {
			return strings.HasPrefix(r.Check, hook+" on ") && r.Status == "ok" && r.Detail != ""
		}) {
			t.Errorf("a trace uses %s, and check does not say so", hook)
		}
	}
	tr.wait()
}
