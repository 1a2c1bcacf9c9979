package replay

import (
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
	"github.com/twtrace/twtrace/internal/session"
)

// The last time there is, and one before all times: both are easily written.
const (
	lastTime  = "2262-04-11T23:47:16.854775807Z"
	firstTime = "1677-09-21T00:12:43.145224192Z"
)

// forged writes records of a connection at these times, and an end at the last one.
func forged(t *testing.T, start string, times ...string) string {
	t.Helper()
	var b strings.Builder
	fmt.Fprintf(&b, `{"time":%q,"event":"start","version":"1","schema":1,"limits":{"net.ipv4.ip_local_port_range":"32768\t60999"}}`+"\n", start)
	for i, at := range times {
		fmt.Fprintf(&b, `{"time":%q,"event":"open","cookie":"%x","netns":1,"ip":4,"laddr":"10.0.0.7","lport":%d,"raddr":"10.2.0.9","rport":5432,"role":"client","pid":7,"comm":"x"}`+"\n",
			at, i+1, 40000+i)
		start = at
	}
	fmt.Fprintf(&b, `{"time":%q,"event":"end","why":"signal"}`+"\n", start)
	path := filepath.Join(t.TempDir(), "forged.ndjson")
	if err := os.WriteFile(path, []byte(b.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// TestGaps: time goes on to each event, in steps that are few, whatever somebody
// has made of the times.
func TestGaps(t *testing.T) {
	const start = "2026-11-27T20:00:00Z"
	for name, tt := range map[string]struct {
		start string
		times []string
		most  int // steps
	}{
		"a second":      {start, []string{start, "2026-11-27T20:00:01Z"}, 20},
		"ten minutes":   {start, []string{start, "2026-11-27T20:10:00Z"}, 12000},
		"a night":       {start, []string{start, "2026-11-28T04:00:00Z"}, 16000},
		"centuries":     {start, []string{start, lastTime}, 20000},
		"all there are": {firstTime, []string{firstTime, lastTime}, 20000},
		"two of them":   {start, []string{start, "2100-01-01T00:00:00Z", lastTime, start}, 40000},
		"and back":      {start, []string{start, lastTime, firstTime}, 20000},
	} {
		t.Run(name, func(t *testing.T) {
			f, err := Open(Options{Files: []string{forged(t, tt.start, tt.times...)}})
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			steps, seen, latest := 0, 0, int64(math.MinInt64)
			for {
				var e event.Event
				before := f.now
				err := f.Next(t.Context(), &e)
				if f.now < before {
					t.Fatalf("time goes back, from %d to %d", before, f.now)
				}
				if errors.Is(err, io.EOF) {
					break
				}
				if errors.Is(err, session.ErrIdle) {
					if steps++; steps > tt.most {
						t.Fatalf("more than %d steps, and it is %v", tt.most, time.Unix(0, f.now).UTC())
					}
					continue
				}
				if err != nil {
					t.Fatal(err)
				}
				seen++
				latest = max(latest, e.Time)
				if now := f.now; f.until(latest) >= step || now > latest && now-latest > step {
					t.Errorf("an event of %d came at %d", e.Time, f.now)
				}
			}
			if seen != len(tt.times) {
				t.Errorf("%d events, want %d", seen, len(tt.times))
			}
			if f.now < f.end() {
				t.Errorf("it ended at %v", time.Unix(0, f.now).UTC())
			}
		})
	}
}
