package main

import (
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
)

// TestOldKernel checks that a kernel without socket cookies in tracing programs
// (before 5.12) is refused by every command that traces, in one line that says what is
// missing and which kernel has it.
func TestOldKernel(t *testing.T) {
	t.Attr("row", "refused, with what is missing")
	kerneltest.RequireRoot(t)
	host, err := kernel.ThisHost()
	must(t, err)
	if !strings.HasPrefix(host.Release, "5.10.") {
		t.Skipf("Linux %s can be traced", host.Release)
	}
	for _, args := range [][]string{
		{"check"}, {"check", "-o", "json"},
		{"trace"}, {"trace", "--hooks", "timer"}, {"trace", "--hooks", "fentry"},
		{"top", "-b", "-c", "1"}, {"demo"},
	} {
		t.Run(strings.Join(args, " "), func(t *testing.T) {
			stdout, stderr, code := twtrace(t, args...)
			if code != 3 {
				t.Errorf("exit %d, want 3", code)
			}
			if n := strings.Count(stderr, "\n"); n != 1 || !strings.HasSuffix(stderr, "\n") {
				t.Errorf("stderr has %d lines, want one: %q", n, stderr)
			}
			for _, word := range []string{"socket cookie", "5.15"} {
				if !strings.Contains(stderr, word) {
					t.Errorf("stderr does not name %q: %q", word, stderr)
				}
			}
			if args[0] != "check" && stdout != "" {
				t.Errorf("stdout is not empty: %q", stdout)
			}
			t.Logf("stdout:\n%s\nstderr:\n%s", stdout, stderr)
		})
	}
}
