package main

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestDoctorTape: a recording has the owner and the destination in it, for anybody to
// read; of a healthy hour it is the bad minute that counts.
func TestDoctorTape(t *testing.T) {
	t.Parallel()
	ns := narrow(t, 300)
	rec := startRecording(t, t.TempDir(), "-N", ns.Path(), "--duration", "20s")
	file := rec.files()[0]
	client := caller("checkout", 40, workload.HalfClose, one)
	client.Connect.Fails = 5
	onStage(t, ns, client, database)
	if err := rec.cmd.Wait(); err != nil {
		t.Fatalf("%v: %s", err, rec.stderr.String())
	}
	v := doctored(t, command("doctor", "-o", "json", "--window", "2s", "-r", file))
	found := v.of("TW101", ns)
	if v.ExitCode != 2 || len(found) != 1 || found[0].Scope.Comm != "checkout" || found[0].Scope.Raddr != "127.0.0.7" {
		t.Errorf("exit code %d:%s", v.ExitCode, v.words())
	}
	if early := doctored(t, command("doctor", "-o", "json", "--window", "500ms", "-r", file, "--to", "500ms")); early.ExitCode == 2 && len(early.of("TW101", ns)) == 0 {
		t.Errorf("before there was anything to see: %s", early.words())
	}
	if o := ended(t, command("doctor", "-r", file)); !strings.Contains(o.stdout, "watched 10s of t.ndjson.zst") {
		t.Errorf("%s", o.stdout)
	}
	for _, args := range [][]string{{"--no-bpf"}, {"--preflight"}, {"--syscalls", "on"}} {
		o := ended(t, command(append(append([]string{"doctor"}, args...), "-r", file)...))
		o.failed(t, 3, args[0])
	}
}

// TestReplayFindsTheSame: what doctor and storms say of a run while it lasts, they say
// of its recording: the rules and how bad it is, who it was, and where to.
func TestReplayFindsTheSame(t *testing.T) {
	t.Parallel()
	ns := narrow(t, 300)
	rec := startRecording(t, t.TempDir(), "-N", ns.Path())
	var live talk
	watch := command("storms", "-o", "json", "-N", ns.Path())
	watch.Stdout, watch.Stderr = &live, os.Stderr
	must(t, watch.Start())
	t.Cleanup(func() { watch.Process.Kill() })
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return strings.Contains(live.String(), `"event":"start"`), "storms has not begun"
	})
	load := onStage(t, ns, caller("checkout", 40, workload.HalfClose, one), database)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return strings.Contains(live.String(), `"severity":"crit"`), live.String()
	})
	// From here on connect() fails, and opens none in the windows of either.
	awaitSockets(t, ns, 300, "state", "time-wait")
	from := time.Now().Add(time.Second).UTC().Format(time.RFC3339)
	now := diagnose(t, ns)
	_, _ = load.Stop() // connections failed, as they should
	must(t, watch.Process.Signal(unix.SIGINT))
	_ = watch.Wait() // storms exits with a code that says so
	rec.stop()

	file := rec.files()[0]
	stdout, stderr, code := asUser(t, file, "storms", "-o", "json", "-r", "-")
	if code != exitStorm {
		t.Errorf("storms -r: exit code %d: %s", code, stderr)
	}
	was, is := stormsIn(t, live.String()), stormsIn(t, stdout)
	if len(was) == 0 || !slices.Equal(was, is) {
		t.Errorf("storms of the run: %q; of its recording: %q", was, is)
	}

	stdout, stderr, _ = asUser(t, file, "doctor", "-o", "json", "--window", "3s", "--from", from, "-r", "-")
	var then verdict
	if err := json.Unmarshal([]byte(stdout), &then); err != nil {
		t.Fatalf("doctor -r: %v: %s", err, stderr)
	}
	wanted, found := now.alarmsIn(ns), then.alarmsIn(ns)
	if len(wanted) == 0 || !slices.Equal(wanted, found) {
		t.Errorf("findings of the run: %q%s\nof its recording: %q%s", wanted, now.words(), found, then.words())
	}
	if now.ExitCode != then.ExitCode {
		t.Errorf("exit code %d of the run, %d of its recording", now.ExitCode, then.ExitCode)
	}
}

// alarmsIn are the findings in a namespace that need care: the rule, how bad it is, and
// who does what to whom.
func (v verdict) alarmsIn(ns *kerneltest.NS) (all []string) {
	for _, x := range v.Checks {
		if x.Scope.Netns == ns.Inum() && (x.Status == "warn" || x.Status == "crit") {
			all = append(all, fmt.Sprint(x.ID, x.Status, x.Scope))
		}
	}
	slices.Sort(all)
	return all
}

// stormsIn are the storms in records of JSON: what for, who, where to, and how bad it
// became. Each process looks for itself, once a second, so that numbers differ.
func stormsIn(t *testing.T, text string) (all []string) {
	t.Helper()
	worst := make(map[string]string)
	for line := range strings.Lines(text) {
		var r stormRecord
		must(t, json.Unmarshal([]byte(line), &r))
		if !strings.HasPrefix(r.Event, "storm_") {
			continue
		}
		key := fmt.Sprint(r.Reason, r.Netns, r.PID, r.Comm, r.Raddr, r.Rport, r.PortsUsable)
		if worst[key] != "crit" {
			worst[key] = r.Severity
		}
	}
	for key, severity := range worst {
		all = append(all, key+" "+severity)
	}
	slices.Sort(all)
	return all
}
