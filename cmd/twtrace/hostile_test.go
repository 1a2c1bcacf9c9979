package main

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/workload"
)

// hostileComms attack terminals, line-based readers, quoting and UTF-8.
var hostileComms = []string{"\x1b[2J\x1b]0;x\x07", "a\nb\r\tc", `q"u'o,te\`, "\xff\xfe\x80raw", "a b  c", "=cmd|x", "#c", "-"}

// TestHostileComm has a process with each of these names make one connection, and
// reads the name back from every format.
func TestHostileComm(t *testing.T) {
	t.Parallel()
	for _, comm := range hostileComms {
		for _, format := range []string{"json", "csv", "text", "wide"} {
			client := until(time.Second, busyClient(1))
			client.Process.Comm = comm
			o := over(t, played(100, 3*time.Second, client), "trace", "-o", format, "--event", "time_wait_enter", "-c", "1")
			if o.code != exitOK || o.stderr != "" {
				t.Fatalf("%s: exit code %d: %s", format, o.code, o.stderr)
			}
			checkComm(t, format, o.stdout, comm)
		}
	}
}

// TestHostileCommTraced: the kernel's names come as they are.
func TestHostileCommTraced(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	for _, comm := range hostileComms {
		ns := kerneltest.NetNS(t)
		o := startFormatted(t, "json", ns)
		s := workload.ActiveClose(workload.IPv4, 1)
		s.Client.Comm = comm
		if _, err := s.Run(t.Context(), ns.Path()); err != nil {
			t.Fatal(err)
		}
		must(t, o.cmd.Wait())
		b, err := os.ReadFile(o.file)
		must(t, err)
		checkComm(t, o.format, string(b), comm)
	}
}

// checkComm wants the record of a begin to have this comm.
func checkComm(t *testing.T, format, text, comm string) {
	t.Helper()
	got := commIn(t, format, []byte(text))
	if back, err := output.Unescape(got); err != nil || back != comm {
		t.Errorf("%s: comm %q came as %q, which means %q (%v)", format, comm, got, back, err)
	}
}

// formatted is a trace that ends after the begin of one TIME_WAIT.
type formatted struct {
	format, file string
	cmd          *exec.Cmd
}

func startFormatted(t *testing.T, format string, ns *kerneltest.NS) *formatted {
	t.Helper()
	o := &formatted{format: format, file: filepath.Join(t.TempDir(), "out")}
	file, err := os.Create(o.file)
	must(t, err)
	defer file.Close()
	o.cmd = command("trace", "-o", format, "-N", ns.Path(), "--event", "time_wait_enter", "-c", "1")
	o.cmd.Stdout, o.cmd.Stderr = file, os.Stderr
	must(t, o.cmd.Start())
	t.Cleanup(func() { o.cmd.Process.Kill() })
	kerneltest.Eventually(t, patience, func() (bool, string) {
		b, err := os.ReadFile(o.file)
		return len(b) > 0, format + ": nothing written" + errString(err)
	})
	return o
}

func errString(err error) string {
	if err == nil {
		return ""
	}
	return ": " + err.Error()
}

// commIn is the comm of the record of a begin.
func commIn(t *testing.T, format string, b []byte) string {
	t.Helper()
	bad := func(r rune) bool { return r != '\n' && r != '\r' && unicode.IsControl(r) }
	if !utf8.Valid(b) || bytes.ContainsFunc(b, bad) {
		t.Errorf("%s: unprintable output: %q", format, b)
	}
	switch format {
	case "json":
		for line := range bytes.Lines(b) {
			var r record
			must(t, json.Unmarshal(line, &r))
			if r.Event == "time_wait_enter" {
				return r.Comm
			}
		}
	case "csv":
		rows, err := csv.NewReader(bytes.NewReader(b)).ReadAll()
		must(t, err)
		event, comm := slices.Index(rows[0], "event"), slices.Index(rows[0], "comm")
		for _, r := range rows {
			if r[event] == "time_wait_enter" {
				return r[comm]
			}
		}
	default:
		var head []string
		for line := range strings.Lines(string(b)) {
			words := strings.Fields(line)
			switch {
			case strings.HasPrefix(line, "#"):
			case strings.HasPrefix(line, "TIME"): // again, where a value needs more room
				head = words
			default:
				return words[slices.Index(head, "COMM")]
			}
		}
	}
	t.Fatalf("%s: no begin in %q", format, b)
	return ""
}
