package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

// TestDoctorTape: a recording has the owner and the destination in it, for anybody to
// read; of a healthy hour it is the bad minute that counts.
func TestDoctorTape(t *testing.T) {
	t.Parallel()
	file := recordedFrom(t, played(300, 20*time.Second, until(10*time.Second, busyClient(40))))
	v := verdictOf(t, ran("doctor", "-o", "json", "--window", "2s", "-r", file))
	found := v.in("TW101", madeNetNS)
	if v.ExitCode != 2 || len(found) != 1 || found[0].Scope.Comm != "checkout" || found[0].Scope.Raddr != "127.0.0.7" {
		t.Errorf("exit code %d:%s", v.ExitCode, v.words())
	}
	if early := verdictOf(t, ran("doctor", "-o", "json", "--window", "500ms", "-r", file, "--to", "500ms")); early.ExitCode == 2 && len(early.in("TW101", madeNetNS)) == 0 {
		t.Errorf("before there was anything to see: %s", early.words())
	}
	if o := ran("doctor", "-r", file); !strings.Contains(o.stdout, "watched 10s of t.ndjson.zst") {
		t.Errorf("%s", o.stdout)
	}
	for _, args := range [][]string{{"--no-bpf"}, {"--preflight"}, {"--syscalls", "on"}} {
		ran(append(append([]string{"doctor"}, args...), "-r", file)...).failed(t, 3, args[0])
	}
}

// TestReplayFindsTheSame: what doctor and storms say of a run while it lasts, they say
// of its recording: the rules and how bad it is, who it was, and where to.
func TestReplayFindsTheSame(t *testing.T) {
	t.Parallel()
	ns, err := kernel.CurrentNetNS()
	must(t, err)
	happens := func() *sessiontest.Source {
		src, err := inOwnNetNS(played(300, 15*time.Second, busyClient(40)))
		must(t, err)
		return src
	}
	file := recordedFrom(t, happens())

	live := over(t, happens(), "storms", "-o", "json")
	stdout, stderr, code := asUser(t, file, "storms", "-o", "json", "-r", "-")
	if live.code != exitStorm || code != exitStorm {
		t.Errorf("storms: exit code %d; storms -r: exit code %d: %s", live.code, code, stderr)
	}
	was, is := stormsIn(t, live.stdout), stormsIn(t, stdout)
	if len(was) == 0 || !slices.Equal(was, is) {
		t.Errorf("storms of the run: %q; of its recording: %q", was, is)
	}

	now := verdictOf(t, over(t, happens(), "doctor", "-o", "json", "--window", "3s", "-N", ownNetNS))
	stdout, stderr, _ = asUser(t, file, "doctor", "-o", "json", "--window", "3s", "-r", "-")
	var then verdict
	if err := json.Unmarshal([]byte(stdout), &then); err != nil {
		t.Fatalf("doctor -r: %v: %s", err, stderr)
	}
	wanted, found := now.alarmsIn(ns.Inum), then.alarmsIn(ns.Inum)
	if len(wanted) == 0 || !slices.Equal(wanted, found) {
		t.Errorf("findings of the run: %q%s\nof its recording: %q%s", wanted, now.words(), found, then.words())
	}
	if now.ExitCode != then.ExitCode {
		t.Errorf("exit code %d of the run, %d of its recording", now.ExitCode, then.ExitCode)
	}
}

// alarmsIn are the findings in a namespace that need care: the rule, how bad it is, and
// who does what to whom.
func (v verdict) alarmsIn(netns uint32) (all []string) {
	for _, x := range v.Checks {
		if x.Scope.Netns == netns && (x.Status == "warn" || x.Status == "crit") {
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
