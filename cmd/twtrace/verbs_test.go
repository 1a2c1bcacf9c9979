package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/event"
)

// TestPortsTables: a table an interval, as many lines as asked for, and of what the
// filter names.
func TestPortsTables(t *testing.T) {
	t.Parallel()
	scene := func() (clients []*conntest.Client) {
		for i := range 4 {
			c := busyClient(float64(10 * (i + 1)))
			c.Remote = netip.AddrPortFrom(c.Remote.Addr(), c.Remote.Port()+uint16(i))
			clients = append(clients, c)
		}
		return clients
	}
	o := over(t, played(1000, 10*time.Second, scene()...), "ports", "-o", "json", "-i", "2s", "-c", "3", "-n", "0")
	if o.code != exitOK || o.stderr != "" {
		t.Fatalf("exit code %d: %s", o.code, o.stderr)
	}
	used := make(map[time.Time]map[uint16]int)
	for line := range strings.Lines(o.stdout) {
		var g gauge
		must(t, json.Unmarshal([]byte(line), &g))
		if g.What == "ports" {
			if used[g.Time] == nil {
				used[g.Time] = make(map[uint16]int)
			}
			used[g.Time][g.Rport] = g.Used
			if g.Usable != 1000 || g.Netns != madeNetNS || g.Raddr != madeServer.Addr() {
				t.Errorf("%+v", g)
			}
		}
	}
	if len(used) != 3 {
		t.Errorf("%d tables, want 3", len(used))
	}
	for at, ports := range used {
		for i, c := range scene() {
			want := int(at.Sub(conntest.Start).Seconds() * float64(10*(i+1)))
			if got := ports[c.Remote.Port()]; got < want-i-1 || got > want+i+1 {
				t.Errorf("%v: %d ports to %v in use, want %d", at, got, c.Remote, want)
			}
		}
	}

	o = over(t, played(1000, 10*time.Second, scene()...), "ports", "-i", "4s", "-c", "2", "-n", "2")
	tables := strings.Split(o.stdout, "\n\n")
	if o.code != exitOK || len(tables) != 2 || !strings.Contains(tables[1], "# 3 more lines (-n 0 shows them)") || strings.Count(tables[1], "127.0.0.7") != 2 {
		t.Errorf("exit code %d, %d tables: %s", o.code, len(tables), o.stdout)
	}
	o = ran("ports", "-D", "3307", "-o", "csv", "--fields", "resource,rport", "-r", recordedFrom(t, played(1000, 10*time.Second, scene()...)))
	if want := "resource,rport\nports,3307\n"; o.code != exitOK || strings.ReplaceAll(o.stdout, "\r", "") != want {
		t.Errorf("exit code %d, %q, want %q; %s", o.code, o.stdout, want, o.stderr)
	}
}

// TestPortsLosses: a table says what is missing from it, and other formats have stderr
// for that.
func TestPortsLosses(t *testing.T) {
	t.Parallel()
	for format, stderr := range map[string]bool{"text": false, "json": true} {
		src := played(1000, 5*time.Second, busyClient(20))
		src.Found = []event.Event{{Time: conntest.Start.UnixNano(), Kind: event.Lost, Stage: event.StageRing, Count: 17}}
		o := over(t, src, "ports", "-o", format)
		said := o.stdout
		if stderr {
			said = o.stderr
		}
		if o.code != exitOK || !strings.Contains(said, "lost 17 (ring)") {
			t.Errorf("%s: exit code %d, %q", format, o.code, said)
		}
	}
}

// TestStrict: with --strict a trace that lost something, or that counted otherwise than
// the kernel, ends with a code of its own.
func TestStrict(t *testing.T) {
	t.Parallel()
	lost := func() event.Event {
		return event.Event{Time: conntest.Start.UnixNano(), Kind: event.Lost, Stage: event.StageRing, Count: 17}
	}
	for _, verb := range [][]string{{"trace"}, {"trace", "--summary"}, {"ports"}, {"top", "-b", "-c", "1"}, {"storms", "--event", "storm_end"}, {"record", "-w", "-", "-o", "json"}} {
		for _, strict := range []bool{false, true} {
			src := played(1000, 5*time.Second, busyClient(20))
			src.Found = []event.Event{lost()}
			src.Drifted = []event.Drift{{NetNS: madeNetNS, Births: 3}}
			args, want := verb, exitOK
			if strict {
				args, want = append(args[:len(args):len(args)], "--strict"), exitLossy
			}
			o := over(t, src, args...)
			if o.code != want {
				t.Errorf("%q: exit code %d, want %d: %s", args, o.code, want, o.stderr)
			}
			if words := "twtrace: events were lost: 17 (ring)"; strict && (!strings.Contains(o.stderr, words) || !strings.Contains(o.stderr, "counts 3 more TIME_WAIT starts")) {
				t.Errorf("%q: stderr %q", args, o.stderr)
			}
		}
	}
}

// TestSummary: a row for each process, which add up to what happened.
func TestSummary(t *testing.T) {
	t.Parallel()
	other := busyClient(7)
	other.Process = event.Proc{PID: 4712, Comm: "worker"}
	src := played(1000, 70*time.Second, until(5*time.Second, busyClient(20)), until(5*time.Second, other))
	opened := make(map[string]int)
	for i := range src.Events {
		if e := &src.Events[i]; e.Kind == event.Open {
			opened[fmt.Sprint(e.Opener.PID)]++
		}
	}
	o := over(t, src, "trace", "--summary", "--by", "process", "-o", "csv", "--fields", "group,pid,opens_total,time_wait_enters_total,time_wait_exits_total,time_wait")
	rows, err := csv.NewReader(strings.NewReader(o.stdout)).ReadAll()
	if err != nil || o.code != exitOK || len(rows) != 3 {
		t.Fatalf("%v, exit code %d: %s%s", err, o.code, o.stdout, o.stderr)
	}
	for _, r := range rows[1:] {
		n := fmt.Sprint(opened[r[1]])
		if r[2] != n || r[3] != n || r[4] != n || r[5] != "0" {
			t.Errorf("%v, want %s opened, and all of it over", r, n)
		}
	}
}
