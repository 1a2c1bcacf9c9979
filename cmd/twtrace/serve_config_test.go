package main

import (
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/kerneltest"
)

// lineOf is the line of serve --check-config for a key, with single spaces.
func lineOf(o outcome, key string) string {
	for line := range strings.Lines(o.stdout) {
		if f := strings.Fields(line); len(f) > 0 && f[0] == key {
			return strings.Join(f, " ")
		}
	}
	return ""
}

// TestCheckConfig: each flag of serve has a setting, the command line goes before variables,
// and these before files; where each value comes from is printed, and nothing is started.
func TestCheckConfig(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	system := written(t, "system.yaml", "hooks: fentry\nmax-conns: 1000\nserve:\n  past: 1h\n  past-bytes: 256M\n  rport: 5432\n  listen: 127.0.0.1:9464\n  \"4\": yes\n  user: 1234:1235\n  max-conns: 2000\n")
	around := surroundings{system: system, environ: []string{"TWTRACE_PAST=2h", "TWTRACE_ROLE=client", "TWTRACE_STORM_RATE=7"}}
	o := amid(around, "serve", "--check-config", "--past-bytes", "32M", "--socket", filepath.Join(dir, "a.sock"), "comm", "nginx")
	for key, want := range map[string]string{
		"past":        "2h TWTRACE_PAST",
		"past-bytes":  "32M command line",
		"rport":       "5432 " + system + ":6",
		"listen":      "127.0.0.1:9464 " + system + ":7",
		"4":           "on " + system + ":8",
		"6":           "off built in",
		"user":        "1234:1235 " + system + ":9",
		"max-conns":   "2000 " + system + ":10",
		"hooks":       "fentry " + system + ":1",
		"role":        "client TWTRACE_ROLE",
		"storm-rate":  "7 TWTRACE_STORM_RATE",
		"max-readers": fmt.Sprint(agent.DefaultMaxReaders) + " built in",
		"FILTER":      "comm nginx command line",
	} {
		if got := lineOf(o, key); got != key+" "+want {
			t.Errorf("%q, want %q", got, key+" "+want)
		}
	}
	if o.code != exitOK || o.stderr != "" || !strings.Contains(o.stdout, "\n# "+system+": 9 set\n") {
		t.Errorf("exit code %d, stderr %q, %s", o.code, o.stderr, o.stdout)
	}
	if _, err := os.Lstat(filepath.Join(dir, "a.sock")); !os.IsNotExist(err) {
		t.Errorf("it made the socket: %v", err)
	}
	// Each flag has a line, but for those that are no setting.
	for _, f := range verbFlags(newApp(io.Discard, io.Discard))[serveVerb] {
		if name := f.Names()[0]; (lineOf(o, name) != "") != sets(serveVerb, name) {
			t.Errorf("the line of %s: %q", name, lineOf(o, name))
		}
	}
	// What is for serve stays with serve.
	file := recordedFrom(t, played(1000, 5e9, busyClient(20)))
	if o := amid(around, "trace", "-r", file, "-o", "json"); !strings.Contains(o.stderr, "ignored TWTRACE_ROLE: filters are given on the command line only") || strings.Count(o.stdout, `"open"`) == 0 {
		t.Errorf("trace: %+v", o)
	}
	if got := setTo(amid(around, "config", "-o", "csv"), "listen"); len(got) != 1 || got[0] != "127.0.0.1:9464,"+system+":7,serve" {
		t.Errorf("config: %q", got)
	}
}

// TestCheckConfigBad: all that is wrong is reported, with where it comes from; the exit code
// is 2, as that of a start would be.
func TestCheckConfigBad(t *testing.T) {
	t.Parallel()
	for text, want := range map[string][]string{
		"serve:\n  pasd: 1h\n":       {`:2: no key "pasd" of serve; did you mean past?`},
		"serve:\n  past: soon\n":     {`:2: bad value "soon" for --past: use a time with its unit`},
		"serve:\n  past: 0s\n":       {`--past: bad duration 0s`, `--past 0s comes from `, ":2"},
		"serve:\n  max-readers: x\n": {`:2: bad value "x" for --max-readers: use a number`},
		"serve:\n  user: root\n":     {"--user: the speaker cannot run as uid 0", "--user root comes from ", ":2"},
		"serve:\n  user: nosuchuser\n  past-bytes: 1\n  rport: x\n  socket: /nonexistent/a.sock\n  btf: /nonexistent\n": {
			"--user: ", "--past-bytes: bad size", "--rport: ", "--socket: stat /nonexistent", "--btf: open /nonexistent"},
		"serve:\n  past: 1h\n  past: 2h\n":    {`:3: key "past" is there twice`},
		"serve:\n  check-config: yes\n":       {`:2: "check-config" is no key`},
		"listen: 127.0.0.1:1\n":               {`:1: "listen" is a key of serve: write it below serve:`},
		"comm: nginx\n":                       {`:1: "comm" is no key: filters are given on the command line only`, "for serve, write it below serve:"},
		"serve:\n  4: yes\n  6: yes\n":        {"-4 conflicts with -6"},
		"serve:\n  storm-window: 1000000s\n":  {"--storm-window: ", "is too long"},
		"serve:\n  listen: 192.0.2.1:9464\n":  {"--listen: ", ":2"},
		"trace:\n  comm: nginx\nserve:\n  a:": {`:2: "comm" is no key`},
	} {
		path := written(t, "config.yaml", text)
		for _, args := range [][]string{{"serve", "--check-config"}, {"serve", "--check-config", "--config", path}} {
			o := amid(surroundings{system: path}, args...)
			if o.code != exitUsage {
				t.Errorf("%q: exit code %d; %s", text, o.code, o.stderr)
			}
			for _, words := range want {
				if !strings.Contains(o.stderr, words) {
					t.Errorf("%q: no %q in %s", text, words, o.stderr)
				}
			}
		}
		if o := amid(surroundings{system: path}, "serve"); o.code != exitUsage || o.stdout != "" {
			t.Errorf("%q: serve: %+v", text, o)
		}
	}
}

// TestReload: SIGHUP reads the file again. What may change does, with no reader cut off;
// what may not is said, and a file with a mistake changes nothing.
func TestReload(t *testing.T) {
	kerneltest.RequireRoot(t)
	file := written(t, "agent.yaml", "serve:\n  past: 10m\n  max-readers: 3\n")
	note := filepath.Join(t.TempDir(), "notify")
	manager, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: note, Net: "unixgram"})
	must(t, err)
	defer manager.Close()
	t.Setenv("NOTIFY_SOCKET", note)
	a := serveAgent(t, "-N", kerneltest.NetNS(t).Path(), "--config", file)
	told := func(want string) {
		t.Helper()
		for got := ""; !strings.HasPrefix(got, want); {
			b := make([]byte, 1024)
			must(t, manager.SetReadDeadline(time.Now().Add(patience)))
			n, err := manager.Read(b)
			must(t, err)
			got = string(b[:n])
		}
	}
	told("READY=1")
	reader := launch(t, command("trace", "-o", "json", "--agent", a.socket))
	status := func() string {
		o := ended(t, command("agent", "status", "--socket", a.socket))
		return strings.Join(strings.Fields(o.stdout), " ")
	}
	kerneltest.Eventually(t, patience, func() (bool, string) { return strings.Contains(status(), "readers.now 1 "), status() })
	for _, step := range []struct{ text, says, status string }{
		{"serve:\n  past: 20m\n  past-bytes: 128M\n  max-readers: 1\n  storm-rate: 5\n", "reloaded: --storm-rate 5, --past 20m, --past-bytes 128M, --max-readers 1", "past.max_s 1200 "},
		{"serve:\n  past: 30m\n  past-byts: 1M\n", ":3: no key \"past-byts\" of serve; did you mean past-bytes?", "past.max_bytes 134217728 "},
		{"serve:\n  past: 0s\n", "not reloaded, all stays as it is: --past: bad duration 0s", "past.max_s 1200 "},
		{"serve:\n  past: 20m\n  past-bytes: 128M\n  storm-rate: 5\n  buffer: 4M\n", "--buffer stays 8M until the agent is restarted; its setting is 4M", "readers.max 16 "},
	} {
		must(t, os.WriteFile(file, []byte(step.text), 0o644))
		must(t, a.cmd.Process.Signal(unix.SIGHUP))
		told("RELOADING=1\nMONOTONIC_USEC=")
		told("READY=1")
		if !strings.Contains(a.stderr.String(), step.says) {
			t.Errorf("no %q in %s", step.says, a.stderr.String())
		}
		if got := status() + " "; !strings.Contains(got, step.status) || !strings.Contains(got, "readers.now 1 ") || !strings.Contains(got, "readers.cut_off_total 0 ") {
			t.Errorf("after %q: no %q in %s", step.text, step.status, got)
		}
	}
	a.stop()
	if end := reader.wait(); end.Event != "end" {
		t.Errorf("the reader ends with %+v", end)
	}
}

// TestServeKeys: the page lists each key of serve, and which of them a reload changes.
func TestServeKeys(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/agent.md")
	must(t, err)
	table := serveKeys(verbFlags(newApp(io.Discard, io.Discard))[serveVerb])
	if *updateGolden {
		before, rest, _ := strings.Cut(string(page), serveKeysHead)
		_, after, _ := strings.Cut(rest, "\n\n")
		must(t, os.WriteFile("../../docs/agent.md", []byte(before+table+"\n"+after), 0o644))
		return
	}
	if !strings.Contains(string(page), "\n\n"+table+"\n") {
		t.Errorf("docs/agent.md lacks this table (-update writes it):\n%s", table)
	}
}

const serveKeysHead = "| key | default | with SIGHUP | meaning |\n"

// serveKeys is the table of the keys of serve.
func serveKeys(flags []cli.Flag) string {
	var b strings.Builder
	b.WriteString(serveKeysHead + "| --- | --- | --- | --- |\n")
	for _, f := range flags {
		name := f.Names()[0]
		if !sets(serveVerb, name) {
			continue
		}
		h := describeFlag(f)
		when := "restart"
		for _, r := range reloadable {
			if r == name {
				when = "changes"
			}
		}
		usage := strings.NewReplacer("|", "\\|", "*", "\\*").Replace(h.usage)
		fmt.Fprintf(&b, "| `%s` | %s | %s | %s |\n", name, h.fallback, when, usage)
	}
	return b.String()
}
