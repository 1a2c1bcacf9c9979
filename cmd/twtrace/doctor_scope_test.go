package main

import (
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// TestDoctorNotSeen: an ordinary user does not see the trouble of another namespace. The
// verdict is unknown, and says what to run. Of the user's own namespace, by name,
// it is ok.
func TestDoctorNotSeen(t *testing.T) {
	kerneltest.RequireRoot(t)
	t.Parallel()
	own, sick := kerneltest.NetNS(t), narrow(t, 40)
	holdPorts(t, sick, 40)
	var brief, all, named outcome
	own.Do(t, func() {
		brief = ended(t, unprivileged(t, "doctor", "--brief", "--window", "20ms"))
		all = ended(t, unprivileged(t, "doctor", "-o", "json", "--window", "20ms"))
		named = ended(t, unprivileged(t, "doctor", "-o", "json", "--window", "20ms", "-N", "/proc/self/ns/net"))
	})
	if brief.code != 3 || !strings.HasPrefix(brief.stdout, "UNKNOWN  TIME_WAIT is not the problem in what was read") || !strings.Contains(brief.stdout, "\n  unseen ") ||
		!strings.Contains(brief.stdout, "\n  now    sudo twtrace doctor\n") || !strings.HasSuffix(brief.stdout, "Exit status 3.\n") {
		t.Errorf("exit code %d: %s%s", brief.code, brief.stdout, brief.stderr)
	}
	if v := verdictOf(t, all); all.code != 3 || v.Verdict != "unknown" || v.ExitCode != 3 {
		t.Errorf("exit code %d: %s", all.code, all.stdout)
	}
	if v := verdictOf(t, named); named.code != 0 || v.Verdict != "ok" {
		t.Errorf("exit code %d: %s", named.code, named.stdout)
	}
}
