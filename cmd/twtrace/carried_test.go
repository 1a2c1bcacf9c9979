package main

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kernel"
)

// carried was recorded on Debian's 6.1, while `twtrace demo` ran:
//
//	twtrace record -w FILE --role client -D 3306 --hooks timer --duration 10s
const carried = "testdata/linux-6.1.ndjson.zst"

// TestCarried: a recording of another kernel and another host is read here by an
// ordinary user, who gets what was seen there: the storm, the ports of that host, and
// the finding.
func TestCarried(t *testing.T) {
	t.Parallel()
	host, err := kernel.ThisHost()
	must(t, err)
	records, stderr, code := asUser(t, carried, "trace", "-r", "-", "-o", "json")
	if code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr)
	}
	var start struct{ Kernel, Host string }
	first, _, _ := strings.Cut(records, "\n")
	must(t, json.Unmarshal([]byte(first), &start))
	if start.Kernel != "6.1.0-50-amd64" || start.Kernel == host.Release || start.Host == host.Hostname {
		t.Errorf("recorded on %+v, and this is %s", start, host.Release)
	}
	if all := lines(t, []string{carried}); withoutNew(records) != inNewNames(strings.Join(all, "")) {
		t.Errorf("%d bytes of records, and %d in the file", len(records), len(strings.Join(all, "")))
	}
	for event, want := range map[string]int{"open": 1295, "time_wait_enter": 1295, "time_wait_exit": 4, "storm_start": 1, "end": 1} {
		if n := strings.Count(records, `"event":"`+event+`"`); n != want {
			t.Errorf("%d of %s, want %d", n, event, want)
		}
	}
	for _, tt := range []struct {
		code int
		want string
		args []string
	}{
		{exitOK, "checkout,1295,1295,4\n", []string{"trace", "--summary", "--by", "comm", "-o", "csv", "--fields", "group,opens_total,time_wait_enters_total,time_wait_exits_total"}},
		{exitOK, "ports,3306,1291,2000\n", []string{"ports", "-o", "csv", "--fields", "resource,rport,used,usable"}},
		{exitOK, "buckets,,1291,4096\n", []string{"ports", "-o", "csv", "--fields", "what,rport,used,usable"}},
		{exitStorm, "storm_start,ports,warn,123,checkout,3306,634,2000\n",
			[]string{"storms", "-o", "csv", "--fields", "event,reason,severity,pid,comm,rport,used,usable"}},
		{exitOK, "6.1.0-50-amd64", []string{"report", "-w", "-", "-o", "html"}},
	} {
		stdout, stderr, code := asUser(t, carried, append(tt.args, "-r", "-")...)
		if code != tt.code || !strings.Contains(stdout, tt.want) {
			t.Errorf("%q: exit code %d, want %q in %.2000s%s", tt.args, code, tt.want, stdout, stderr)
		}
	}
	stdout, stderr, code := asUser(t, carried, "list", "-r", "-", "-o", "csv", "--fields", "pid,comm,raddr,rport")
	if n := strings.Count(stdout, "123,checkout,127.0.0.7,3306\n"); code != exitOK || n != 1291 {
		t.Errorf("list: exit code %d, %d sockets, want 1291: %s", code, n, stderr)
	}
	stdout, stderr, code = asUser(t, carried, "doctor", "-r", "-", "-o", "json")
	var v verdict
	if err := json.Unmarshal([]byte(stdout), &v); err != nil {
		t.Fatalf("%v: %s", err, stderr)
	}
	at := slices.IndexFunc(v.Checks, func(x finding) bool { return x.ID == "TW101" })
	if code != 2 || at < 0 || v.Checks[at].Status != "crit" || v.Checks[at].Scope.Comm != "checkout" || v.Checks[at].Scope.PID != 123 {
		t.Errorf("doctor: exit code %d:%s", code, v.words())
	}
}
