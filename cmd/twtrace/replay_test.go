package main

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// The last time there is, and one before all times: both are easily written.
const (
	lastTime  = "2262-04-11T23:47:16.854775807Z"
	firstTime = "1677-09-21T00:12:43.145224192Z"
)

// forged writes records of a connection at these times, and an end at the last one.
func forged(t *testing.T, begin string, times ...string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `{"time":%q,"event":"start","version":"1","schema":1,"limits":{"net.ipv4.ip_local_port_range":"32768\t60999"}}`+"\n", begin)
	for i, at := range times {
		fmt.Fprintf(&b, `{"time":%q,"event":"open","cookie":"%x","netns":1,"ip":4,"laddr":"10.0.0.7","lport":%d,"raddr":"10.2.0.9","rport":5432,"role":"client","pid":7,"comm":"x"}`+"\n",
			at, i+1, 40000+i)
		begin = at
	}
	fmt.Fprintf(&b, `{"time":%q,"event":"end","why":"signal"}`+"\n", begin)
	path := filepath.Join(t.TempDir(), "forged.ndjson")
	must(t, os.WriteFile(path, []byte(b.String()), 0o600))
	return path
}

// TestForgedTimes: no command is kept busy by a time of another century.
func TestForgedTimes(t *testing.T) {
	for _, path := range []string{
		forged(t, "2026-11-27T20:00:00Z", "2026-11-27T20:00:00Z", "2100-01-01T00:00:00Z", lastTime),
		forged(t, firstTime, firstTime, lastTime),
	} {
		for _, args := range [][]string{{"trace"}, {"trace", "--summary"}, {"list"}, {"ports"}, {"storms"}, {"doctor"}, {"top", "-b"}, {"report", "-w", "-"}} {
			began := cpuTime()
			var stdout, stderr bytes.Buffer
			code := run(append([]string{"twtrace"}, append(args, "-r", path)...), &stdout, &stderr)
			if code != exitOK && (args[0] != "doctor" || code > 3) {
				t.Errorf("%s: exit code %d: %s", args, code, stderr.String())
			}
			t.Logf("%s: %v", args, cpuTime()-began)
		}
	}
}

// cpuTime is the processor time this process has used.
func cpuTime() time.Duration {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}
