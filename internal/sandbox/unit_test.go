package sandbox

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
)

const unitFile = "../../deploy/systemd/twtrace.service"

// setting are all words of a setting of the unit, whose lines add up.
func setting(t *testing.T, name string) []string {
	t.Helper()
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	var words []string
	for line := range strings.Lines(string(text)) {
		if value, ok := strings.CutPrefix(line, name+"="); ok {
			words = append(words, strings.Fields(value)...)
		}
	}
	return words
}

// TestUnitCapabilities: the service may have what the tracer keeps, and what it starts with.
func TestUnitCapabilities(t *testing.T) {
	t.Parallel()
	kerneltest.RequireTool(t, "systemd-analyze", "systemd")
	out, err := exec.Command("systemd-analyze", "--no-pager", "capability").Output()
	if err != nil {
		t.Fatal(err)
	}
	numbers := make(map[string]int)
	for line := range strings.Lines(string(out)) {
		if f := strings.Fields(line); len(f) == 2 {
			if n, err := strconv.Atoi(f[1]); err == nil {
				numbers[f[0]] = n
			}
		}
	}
	var got kernel.Caps
	for _, name := range setting(t, "CapabilityBoundingSet") {
		n, ok := numbers[strings.ToLower(name)]
		if !ok {
			t.Errorf("systemd knows no capability %s", name)
		}
		got |= kernel.CapSet(n)
	}
	if want := kernel.TraceCaps() | LaunchCaps | kernel.CapSet(unix.CAP_SETPCAP, unix.CAP_CHOWN); got != want {
		t.Errorf("CapabilityBoundingSet is %#x, want %#x", uint64(got), uint64(want))
	}
}

// TestUnitCalls: systemd's filter leaves the calls by which the speaker is confined, and
// those that the tracer makes.
func TestUnitCalls(t *testing.T) {
	t.Parallel()
	calls := setting(t, "SystemCallFilter")
	for _, name := range []string{"bpf", "perf_event_open", "setns", "seccomp",
		"landlock_create_ruleset", "landlock_add_rule", "landlock_restrict_self"} {
		if !slices.Contains(calls, name) {
			t.Errorf("SystemCallFilter lacks %s", name)
		}
	}
}

// TestUnitVerifies: systemd understands every line of the unit, and thinks no worse of it
// than when it was written (4.3 by systemd 252: it is root's, and it can load programs).
func TestUnitVerifies(t *testing.T) {
	t.Parallel()
	kerneltest.RequireTool(t, "systemd-analyze", "systemd")
	text, err := os.ReadFile(unitFile)
	if err != nil {
		t.Fatal(err)
	}
	// systemd asks for the program, which is not installed here.
	const program = "=/usr/bin/twtrace serve"
	here := strings.ReplaceAll(string(text), program, "=/bin/true")
	if here == string(text) {
		t.Fatalf("the unit lacks %q", program)
	}
	path := filepath.Join(t.TempDir(), "twtrace.service")
	if err := os.WriteFile(path, []byte(here), 0o644); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command("systemd-analyze", "verify", "--man=no", path).CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("systemd-analyze verify: %v: %s", err, out)
	}
	if out, err := exec.Command("systemd-analyze", "security", "--no-pager", "--offline=true", "--threshold=45", path).CombinedOutput(); err != nil {
		t.Errorf("systemd-analyze security: %v: %s", err, out)
	}
}
