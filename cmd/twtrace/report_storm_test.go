package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	tracefile "github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/report"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

// stormStart is when the recording of writeStorm starts.
var stormStart = time.Date(2026, 11, 30, 19, 7, 6, 0, time.UTC)

// What writeStorm writes: in which second ports run out, tcp_tw_reuse becomes 1, it becomes
// 2 again, calls fail again, and the recording ends.
const (
	stormFull, stormCured, stormUndone, stormAgain, stormEnd = 15, 25, 40, 41, 50

	stormRate, stormPorts = 20, 300 // a second, and how many there are
)

// writeStorm writes a recording: two workers of one program and a neighbour with a long name
// use up the ports to a long address, which somebody ends and restarts by a sysctl.
func writeStorm(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "storm.ndjson.zst")
	limits := sessiontest.Limits(stormPorts)
	w, err := tracefile.NewWriter(tracefile.Options{Path: path}, &event.Event{Time: stormStart.UnixNano(), Kind: event.Start,
		Start: &event.StartInfo{Version: "1.2.3", Schema: 2, Host: "web-07", Limits: limits.Map()}}, stormStart)
	must(t, err)
	set := func(reuse int, read, before time.Time) {
		limits.TWReuse = reuse
		w.SetRead(tracefile.Read{At: read, Before: before})
		w.SetLimits(7, limits.Map())
		w.SetName(7, "ux-web", false)
	}
	set(2, stormStart, time.Time{})
	for s := range stormEnd {
		now := stormStart.Add(time.Duration(s) * time.Second)
		switch s {
		case stormCured:
			set(1, now, now.Add(-time.Second))
		case stormUndone:
			set(2, now, now.Add(-5*time.Second))
		}
		must(t, w.Tick(now))
		for i := range stormRate {
			for _, e := range stormEvents(s, i) {
				e.Time += now.UnixNano() + int64(i)*int64(time.Second/stormRate)
				must(t, errors.Join(w.Write(&e), w.Tick(time.Unix(0, e.Time))))
			}
		}
	}
	end := stormStart.Add(stormEnd * time.Second)
	must(t, w.Close(&event.Event{Time: end.UnixNano(), Kind: event.End, End: &event.EndInfo{Why: "signal"}}))
	return path
}

// stormEvents are those of the nth connection of a second.
func stormEvents(s, n int) []event.Event {
	who := event.Proc{PID: 17451 + uint32(n%2), Comm: "nginx"}
	if n%5 == 4 {
		who = event.Proc{PID: 31337, Comm: "payment-gw-prod"}
	}
	e := event.Event{NetNS: 7, Role: event.Client, Cookie: uint64(1 + s*stormRate + n), Opener: who, Process: who, Owner: event.ByConnect,
		Local: netip.AddrPortFrom(netip.MustParseAddr("fd00:1234:5678:9abc:def0:1234:5678:1"), uint16(40000+s*stormRate+n)), Remote: netip.MustParseAddrPort("[fd00:1234:5678:9abc:def0:1234:5678:9abc]:8080")}
	switch {
	case s < stormFull:
		e.Kind = event.Open
		enter := e
		enter.Kind, enter.Time, enter.Reason, enter.Closer, enter.Life = event.TimeWaitEnter, 1e6, event.ActiveClose, event.LocalSide, 1e6
		enter.Old, enter.New, enter.Stamps = event.FinWait2, event.TimeWait, event.Yes
		return []event.Event{e, enter}
	case s < stormCured, s >= stormAgain:
		e.Kind, e.Call, e.Errno, e.Cause = event.Fail, event.Connect, uint16(unix.EADDRNOTAVAIL), event.NoPort
		e.Local = netip.AddrPortFrom(e.Local.Addr(), 0)
		return []event.Event{e}
	}
	return nil
}

// TestReportOfStorm: a report says when calls failed, for how long and how often; which
// sysctls changed; whose calls they were; and what to type, in the namespace of the trouble.
func TestReportOfStorm(t *testing.T) {
	path := writeStorm(t)
	var r report.Report
	must(t, json.Unmarshal([]byte(runReportOn(t, "-r", path, "-o", "json")), &r))
	at := func(s int) string {
		return stormStart.Add(time.Duration(s) * time.Second).Format("2006-01-02T15:04:05.000Z")
	}
	if len(r.Outages) != 2 {
		t.Fatalf("outages %+v, want 2", r.Outages)
	}
	for i, want := range [][2]int{{stormFull, stormCured}, {stormAgain, 0}} {
		o := r.Outages[i]
		if n := uint64(cmp.Or(want[1], stormEnd)-want[0]) * stormRate; o.Begin != at(want[0]) || o.N != n || o.NetNSName != "ux-web" || (o.End == "") != (want[1] == 0) {
			t.Errorf("outage %d: %+v, want %d from %s", i, o, n, at(want[0]))
		}
		if s := o.Shares; len(s) != 2 || s[0].Comm != "nginx" || s[0].Processes != 2 || s[0].Share != 0.8 || s[1].PID != 31337 {
			t.Errorf("outage %d: of %+v", i, s)
		}
	}
	if d := r.Outages[0].Duration; d < stormCured-stormFull-1 || d > stormCured-stormFull+1 {
		t.Errorf("the first outage lasts %v s", d)
	}
	if len(r.Changes) != 2 || r.Changes[0].At != at(stormCured) || r.Changes[1].Value != "2" || *r.Changes[1].Within != 5 || r.Changes[0].NetNSName != "ux-web" {
		t.Errorf("changes %+v", r.Changes)
	}
	var held []string
	for _, o := range r.Series.Owners {
		held = append(held, fmt.Sprint(o.Name, " ", *o.TimeWait[stormFull]))
	}
	if got := strings.Join(held, ", "); got != "nginx 240, payment-gw-prod 60" {
		t.Errorf("owners hold %s", got)
	}
	page := runReportOn(t, "-r", path, "-o", "md")
	for _, want := range []string{
		"**ux-web: ports to \\[fd00:1234:5678:9abc:def0:1234:5678:9abc\\]:8080 were used up",
		"ran out at 19:07:21", "19:07:21 to 19:07:30 UTC (10s): 200 failures", "19:07:47 UTC to the end of the recording (9s): 180 failures",
		"`ip netns exec ux-web sysctl -w net.ipv4.tcp_tw_reuse=", "network namespace ux-web (7)",
		"| 19:07:30 | sysctl changed | `ux-web` | tcp\\_tw\\_reuse 2 -\\> 1 |",
		"| 19:07:41 | sysctl changed | `ux-web` | tcp\\_tw\\_reuse 1 -\\> 2, between then and 19:07:46 |",
		"nginx (2 processes) 80%, payment-gw-prod[31337] 20%",
	} {
		if !strings.Contains(page, want) {
			t.Errorf("the page lacks %q", want)
		}
	}
	if strings.Contains(page, "now:") {
		t.Error("there is a now in a report of the past")
	}
}

// TestReportTimes: parts are relative to the recording, and what is outside of it is an
// error that says what it covers, for every command that replays.
func TestReportTimes(t *testing.T) {
	path := writeStorm(t)
	file, err := os.ReadFile(path)
	must(t, err)
	const covers = "covers 2026-11-30 19:07:06 to 19:07:56 UTC"
	for _, tt := range []struct {
		verb, part string
		code       int
		want       string
	}{
		{"report -o md", "--from 19:07", exitOK, "2026-11-30, 19:07:06 to 19:07:56 UTC (50.0s)"},
		{"report -o md", "--from +30s", exitOK, "2026-11-30, 19:07:36 to 19:07:56 UTC (20.0s)"},
		{"report -o md", "--from -10s --to -5s", exitOK, "2026-11-30, 19:07:46 to 19:07:51 UTC (5.0s)"},
		{"report -o md", "--from 2026-11-30T19:07:30Z --to 19:07:40", exitOK, "19:07:30 to 19:07:40 UTC (10.0s)"},
		{"report -o md", "--from 20:00", exitUsage, "--from 20:00 is after the recording, which " + covers},
		{"report -o md", "--to 19:00", exitUsage, "--to 19:00 is before the recording, which " + covers},
		{"trace", "--from 20:00", exitUsage, covers},
		{"trace --summary", "--from 19:00", exitUsage, covers},
		{"list", "--to 19:00", exitUsage, covers},
		{"ports", "--from -10m", exitUsage, covers},
		{"storms", "--to 23:00", exitUsage, covers},
		{"doctor", "--from 20:00", exitDoctorUnknown, covers},
		{"top -b", "--from 20:00", exitUsage, covers},
	} {
		args := append([]string{"twtrace", "--utc"}, strings.Fields(tt.verb+" -r FILE "+tt.part)...)
		for i, a := range args {
			args[i] = strings.ReplaceAll(a, "FILE", path)
		}
		var stdout, stderr strings.Builder
		if code := run(args, &stdout, &stderr); code != tt.code || !strings.Contains(stdout.String()+stderr.String(), tt.want) {
			t.Errorf("%s %s: exit code %d, want %d with %q: %s%.300s", tt.verb, tt.part, code, tt.code, tt.want, stderr.String(), stdout.String())
		}
	}
	// The end of stdin is not known before it was read.
	_, talk, code := asUser(t, path, "--utc", "report", "-r", "-", "-o", "md", "--from", "20:00")
	if code != exitFailed || !strings.Contains(talk, covers) || len(file) == 0 {
		t.Errorf("stdin: exit code %d: %s", code, talk)
	}
}
