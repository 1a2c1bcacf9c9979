package plan

import (
	"bytes"
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
)

// ordinary is one client address and one destination, with the kernel's defaults.
func ordinary() Setup {
	return Setup{Ports: 28232, Sources: 1, Targets: 1, Requests: 1, Delay: time.Second, Buckets: 262144}
}

func TestPlan(t *testing.T) {
	change := func(change func(*Setup)) Setup { s := ordinary(); change(&s); return s }
	for _, tt := range []struct {
		name        string
		setup       Setup
		rate        float64
		connections float64 // a second, sustainable
		requests    float64
		bound       string
		held        float64
		fullIn      float64 // seconds, 0: never
	}{
		{"the default", ordinary(), 400, 462.8, 462.8, "ports", 24400, 0},
		{"at the limit", ordinary(), 462.8, 462.8, 462.8, "ports", 28231, 0},
		{"above it", ordinary(), 500, 462.8, 462.8, "ports", 30500, 56.5},
		{"keep-alive", change(func(s *Setup) { s.Requests = 100 }), 500, 462.8, 46282, "ports", 305, 0},
		{"reuse", change(func(s *Setup) { s.Reuse = true }), 500, 28232, 28232, "ports", 500, 0},
		{"all ports", change(func(s *Setup) { s.Ports = 64512 }), 500, 1057.6, 1057.6, "ports", 30500, 0},
		{"two sources", change(func(s *Setup) { s.Sources = 2 }), 500, 925.6, 925.6, "ports", 30500, 0},
		{"three targets", change(func(s *Setup) { s.Targets = 3 }), 500, 1388.5, 1388.5, "ports", 30500, 0},
		{"lives of half a minute", change(func(s *Setup) { s.Life = 30 * time.Second }), 400, 310.2, 310.2, "ports", 36400, 70.6},
		{"few buckets", change(func(s *Setup) { s.Sources = 10 }), 5000, 4297.4, 4297.4, "buckets", 305000, 52.4},
		{"few buckets and reuse", change(func(s *Setup) { s.Buckets, s.Reuse = 20000, true }), 500, 327.9, 327.9, "buckets", 500, 40},
		{"buckets for all ports, and reuse", change(func(s *Setup) { s.Buckets, s.Reuse = 30000, true }), 500, 28232, 28232, "ports", 500, 0},
	} {
		r := tt.setup.Row("", tt.rate)
		near := func(what string, got, want float64) {
			if math.Abs(got-want) > 0.001*want+0.05 {
				t.Errorf("%s: %s %.1f, want %.1f", tt.name, what, got, want)
			}
		}
		near("connections/s", r.Connections, tt.connections)
		near("requests/s", r.Requests, tt.requests)
		near("held", r.Held, tt.held)
		near("full in", r.FullIn.Seconds(), tt.fullIn)
		if r.Bound != tt.bound || r.Full != (tt.fullIn > 0) {
			t.Errorf("%s: bound by %s, full %v", tt.name, r.Bound, r.Full)
		}
	}
}

// TestTable: each change alone, and all of them together.
func TestTable(t *testing.T) {
	changes := []Change{
		{"2 source addresses", func(s *Setup) { s.Sources = 2 }},
		{"keep-alive of 10 requests", func(s *Setup) { s.Requests = 10 }},
	}
	rows := Table(ordinary(), 500, changes)
	var what []string
	for _, r := range rows {
		what = append(what, r.What)
	}
	if got := strings.Join(what, ", "); got != "current setup, 2 source addresses, keep-alive of 10 requests, all changes" {
		t.Errorf("rows: %s", got)
	}
	if all := rows[3]; math.Round(all.Requests) != 9256 || all.Ports != 56464 {
		t.Errorf("all of it: %+v", all)
	}
	if rows := Table(ordinary(), 0, changes[:1]); len(rows) != 2 {
		t.Errorf("one change makes %d rows", len(rows))
	}
}

func TestWrite(t *testing.T) {
	r := Report{Version: "0.1.0", NetNS: kernel.NetNS{Inum: 4026531840}, Rate: 500,
		Limits: kernel.Limits{PortLow: 32768, PortHigh: 60999, MaxTWBuckets: 131072, TWReuse: 2},
		Rows:   Table(ordinary(), 500, []Change{{"2 source addresses", func(s *Setup) { s.Sources = 2 }}})}
	var b bytes.Buffer
	if err := Write(&b, r); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"ports 32768-60999, 28,232 usable",
		"current setup             28,232   61s      462       462  30,500 (108%)     56s\n",
		"2 source addresses        56,464   61s      925       925   30,500 (54%)   never\n",
	} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
	for line := range strings.Lines(b.String()) {
		if len(line) > 80+1 {
			t.Errorf("%d columns: %s", len(line)-1, line)
		}
	}
	b.Reset()
	if err := WriteJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	var got struct {
		Schema string
		Rows   []map[string]any
	}
	if err := json.Unmarshal(b.Bytes(), &got); err != nil || got.Schema != "twtrace.plan/v1" || len(got.Rows) != 2 {
		t.Fatalf("%s: %v", b.String(), err)
	}
	if in, never := got.Rows[0]["full_in_s"], got.Rows[1]["full_in_s"]; in == nil || never != nil || got.Rows[1]["held"] != 30500.0 {
		t.Errorf("%v", got.Rows)
	}
}
