package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	tracefile "github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/tracer"
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

// TestTapeGaps: time goes on to each event, in steps that are few, whatever somebody
// has made of the times.
func TestTapeGaps(t *testing.T) {
	const begin = "2026-11-27T20:00:00Z"
	for name, tt := range map[string]struct {
		begin string
		times []string
		most  int // steps
	}{
		"a second":      {begin, []string{begin, "2026-11-27T20:00:01Z"}, 20},
		"ten minutes":   {begin, []string{begin, "2026-11-27T20:10:00Z"}, 12000},
		"a night":       {begin, []string{begin, "2026-11-28T04:00:00Z"}, 16000},
		"centuries":     {begin, []string{begin, lastTime}, 20000},
		"all there are": {firstTime, []string{firstTime, lastTime}, 20000},
		"two of them":   {begin, []string{begin, "2100-01-01T00:00:00Z", lastTime, begin}, 40000},
		"and back":      {begin, []string{begin, lastTime, firstTime}, 20000},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := tracefile.Open([]string{forged(t, tt.begin, tt.times...)}, nil)
			must(t, err)
			defer r.Close()
			tp := &tape{reader: r}
			tp.begin()
			steps, seen, latest := 0, 0, int64(math.MinInt64)
			for {
				var e event.Event
				before := tp.now
				err := tp.next(&e)
				if tp.now < before {
					t.Fatalf("time goes back, from %d to %d", before, tp.now)
				}
				if errors.Is(err, io.EOF) {
					break
				}
				if errors.Is(err, tracer.ErrIdle) {
					if steps++; steps > tt.most {
						t.Fatalf("more than %d steps, and it is %v", tt.most, time.Unix(0, tp.now).UTC())
					}
					continue
				}
				must(t, err)
				seen++
				latest = max(latest, e.Time)
				if now := tp.now; tp.until(latest) >= tapeStep || now > latest && now-latest > tapeStep {
					t.Errorf("an event of %d came at %d", e.Time, tp.now)
				}
			}
			if seen != len(tt.times) {
				t.Errorf("%d events, want %d", seen, len(tt.times))
			}
			if tp.now < tp.end() {
				t.Errorf("it ended at %v", time.Unix(0, tp.now).UTC())
			}
		})
	}
}

// TestForgedTimes: no command is kept busy by a time of another century.
func TestForgedTimes(t *testing.T) {
	for _, path := range []string{
		forged(t, "2026-11-27T20:00:00Z", "2026-11-27T20:00:00Z", "2100-01-01T00:00:00Z", lastTime),
		forged(t, firstTime, firstTime, lastTime),
	} {
		for _, args := range [][]string{{"trace"}, {"trace", "--summary"}, {"list"}, {"ports"}, {"storms"}, {"doctor"}, {"top", "-b"}, {"report", "-w", "-"}} {
			begun := ownCPU()
			var stdout, stderr bytes.Buffer
			code := run(append([]string{"twtrace"}, append(args, "-r", path)...), &stdout, &stderr)
			if code != exitOK && (args[0] != "doctor" || code > 3) {
				t.Errorf("%s: exit code %d: %s", args, code, stderr.String())
			}
			t.Logf("%s: %v", args, ownCPU()-begun)
		}
	}
}
