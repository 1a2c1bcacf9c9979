package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/plan"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

// TestTop reads the tables of what goes on: each has as many sockets as there were at its
// time. There is no terminal, so twtrace alone is the same as top -b.
func TestTop(t *testing.T) {
	t.Parallel()
	for _, verb := range [][]string{{}, {"top", "-b"}} {
		c := until(4*time.Second, busyClient(40))
		rate := c.Rate
		c.Rate = func(at time.Duration) float64 {
			if at < 2*time.Second { // nothing happens at first
				return 0
			}
			return rate(at)
		}
		src := played(1000, 6*time.Second, c)
		begins := int(src.Last.Begins)
		o := over(t, src, append(verb, "-i", "1s")...)
		if o.code != exitOK || o.stderr != "" {
			t.Errorf("%q: exit code %d, stderr %q", verb, o.code, o.stderr)
		}
		var tables []table
		lines := bufio.NewScanner(strings.NewReader(o.stdout))
		for tab, ok := readTable(t, lines); ok; tab, ok = readTable(t, lines) {
			if tw := tab.sum(t, "TW"); tab.summary["time_wait"] != fmt.Sprint(tw) {
				t.Errorf("%q: the rows have %d in TIME_WAIT, the summary %s", verb, tw, tab.summary["time_wait"])
			}
			tables = append(tables, tab)
		}
		if len(tables) < 5 {
			t.Fatalf("%q: %d tables: %s", verb, len(tables), o.stdout)
		}
		for i := range tables[1:] {
			if tables[i].sum(t, "TW") > tables[i+1].sum(t, "TW") {
				t.Errorf("%q: fewer in table %d than before", verb, i+1)
			}
		}
		first, last := tables[0], tables[len(tables)-1]
		if first.sum(t, "TW") != 0 || last.sum(t, "TW") != begins || begins < 79 {
			t.Errorf("%q: %d in TIME_WAIT before anything happened, %d at the end, want %d", verb, first.sum(t, "TW"), last.sum(t, "TW"), begins)
		}
		if r := last.rows[0]; r["PID"] != fmt.Sprint(madeClient.PID) || r["GROUP"] != madeClient.Comm || r["ROLE"] != "client" ||
			r["RADDR"]+":"+r["RPORT"] != madeServer.String() || r["TW"] != fmt.Sprint(begins) {
			t.Errorf("%q: no row of %s[%d] to %v: %+v", verb, madeClient.Comm, madeClient.PID, madeServer, last.rows)
		}
	}
}

// bothSides is what a client and a server have in TIME_WAIT, and how many of each, beside
// a client that closes nothing.
func bothSides() (src *sessiontest.Source, ofClient, ofServer int) {
	mine, other := until(5*time.Second, busyClient(20)), until(5*time.Second, busyClient(7))
	other.Process, other.Remote = event.Proc{PID: 4800, Comm: "api"}, netip.MustParseAddrPort("127.0.0.1:40000")
	other.Local = netip.MustParseAddr("127.0.0.2")
	open := until(5*time.Second, busyClient(11))
	open.Life = 0 // it closes none of its connections
	src = played(1000, 6*time.Second, mine, other, open)
	for i := range src.Events {
		e := &src.Events[i]
		if e.Opener.PID == 4800 { // it serves, and closes first
			e.Role, e.Accepter, e.Opener = event.Server, e.Opener, event.Proc{}
			e.Local, e.Remote = netip.AddrPortFrom(e.Local.Addr(), 7001), netip.AddrPortFrom(e.Remote.Addr(), e.Local.Port())
		}
		if e.Kind == event.TimeWaitEnter && e.Role == event.Server {
			ofServer++
		} else if e.Kind == event.TimeWaitEnter {
			ofClient++
		}
	}
	return src, ofClient, ofServer
}

// TestList lists the sockets that are in TIME_WAIT, with the owners that the trace saw.
func TestList(t *testing.T) {
	t.Parallel()
	src, ofClient, ofServer := bothSides()
	all := ofClient + ofServer
	truth := make(map[string]event.Event)
	for _, e := range src.Events {
		if e.Kind == event.TimeWaitEnter {
			truth[fmt.Sprintf("%x", e.Cookie)] = e
		}
	}
	file := recordedFrom(t, src)
	list := func(flags ...string) []record {
		o := ran(append([]string{"list", "-o", "json", "-r", file}, flags...)...)
		if o.code != exitOK || o.stderr != "" {
			t.Errorf("%q: exit code %d: %s", flags, o.code, o.stderr)
		}
		return recordsIn(t, o.stdout)
	}
	listed := list()
	for _, r := range listed {
		want, ok := truth[r.Cookie]
		how, who := "connect", want.Opener
		if want.Role == event.Server {
			how, who = "accept", want.Accepter
		}
		if !ok || r.Event != "snapshot" || r.Netns != madeNetNS || netip.AddrPortFrom(r.Laddr, r.Lport) != want.Local ||
			netip.AddrPortFrom(r.Raddr, r.Rport) != want.Remote || r.PID != who.PID || r.Comm != who.Comm || r.Owner != how || r.Role != want.Role.String() {
			t.Errorf("got %+v, want %+v", r, want)
		}
		delete(truth, r.Cookie)
	}
	if len(truth) != 0 || len(listed) != all || ofClient < 99 || ofServer < 34 {
		t.Errorf("%d sockets, want %d and %d; %d are missing", len(listed), ofClient, ofServer, len(truth))
	}
	for flags, want := range map[string]int{
		"-D 3306": ofClient, "-D !3306": ofServer, "-L 7001": ofServer, "--laddr 127.0.0.2": ofServer, "--raddr 10.0.0.0/8": 0,
		"-4": all, "-6": 0, "--role server": ofServer, "--role client": ofClient, "--comm check*": ofClient, "--comm bogus": 0,
		"-p 4800": ofServer, fmt.Sprintf("-L %d -D 3306", listed[0].Lport): 1,
	} {
		if got := len(list(strings.Fields(flags)...)); got != want {
			t.Errorf("%s: %d sockets, want %d", flags, got, want)
		}
	}
	checkListFormats(t, file, listed)
}

// checkListFormats compares the other formats with the records.
func checkListFormats(t *testing.T, file string, listed []record) {
	t.Helper()
	o := ran("list", "-o", "csv", "--fields", "cookie,pid,comm", "-r", file)
	rows, err := csv.NewReader(strings.NewReader(o.stdout)).ReadAll()
	if err != nil || len(rows) != len(listed)+1 || strings.Join(rows[0], ",") != "cookie,pid,comm" {
		t.Fatalf("%d lines of CSV, want %d: %v: %s", len(rows), len(listed)+1, err, o.stdout)
	}
	for i, r := range listed {
		if want := []string{r.Cookie, fmt.Sprint(r.PID), r.Comm}; !slices.Equal(rows[i+1], want) {
			t.Errorf("CSV: %v, want %v", rows[i+1], want)
		}
	}
	lines := strings.Split(strings.TrimSpace(ran("list", "-r", file).stdout), "\n")
	if !strings.HasPrefix(lines[0], "REMAINING ") || len(lines) != len(listed)+1 {
		t.Errorf("%d lines of text, want %d: %s", len(lines), len(listed)+1, lines[0])
	}
	for _, line := range lines[1:] {
		if f := strings.Fields(line); len(f) != len(strings.Fields(lines[0])) || !slices.Contains([]string{"connect", "accept"}, f[3]) {
			t.Errorf("a line of text: %s", line)
		}
	}
}

// TestPortsAgree: until the ports are gone, `twtrace ports` has as many in use as there
// are, and the connect() that fails is the one at 100 %.
func TestPortsAgree(t *testing.T) {
	t.Parallel()
	const usable = 400
	w := &conntest.World{Ports: usable, Clients: []*conntest.Client{busyClient(40)}}
	src := playedIn(w, 15*time.Second)
	limits := src.ByNetNS[madeNetNS]
	limits.PortLow, limits.PortHigh, limits.Reserved, limits.ReservedPorts = 40000, 40405, 6, "40001-40006"
	src.ByNetNS[madeNetNS] = limits
	events := slices.Clone(src.Events)
	o := over(t, src, "ports", "-o", "json", "-i", "250ms")
	full := conntest.Start.Add(w.FirstAt[madeServer])
	compared, last := 0, 0
	for line := range strings.Lines(o.stdout) {
		var g gauge
		must(t, json.Unmarshal([]byte(line), &g))
		if g.What != "ports" {
			continue
		}
		used := 0
		for _, e := range events {
			if e.Kind == event.Open && e.Time < g.Time.UnixNano() {
				used++
			}
		}
		if g.Used != used || g.Usable != usable || g.TimeWait > used {
			t.Errorf("%v: %d of %d ports in use, want %d of %d", g.Time, g.Used, g.Usable, used, usable)
		}
		if g.Time.After(full) != (g.Used == usable) {
			t.Errorf("%v: %d in use, and the first connect() failed at %v", g.Time, g.Used, full)
		}
		compared, last = compared+1, g.Used
	}
	if o.code != exitOK || compared < 40 || last != usable {
		t.Errorf("exit code %d, %d tables were compared, %d in use at the end: %s", o.code, compared, last, o.stderr)
	}
}

// TestPlanHolds has a client at rates beside the planned one: below it nothing fails though
// every port is used anew, and at 1.2 times of it all ports are gone before the first one
// comes back.
func TestPlanHolds(t *testing.T) {
	t.Parallel()
	const ports = 610
	limits := madeLimits(ports)
	planned := plan.Table(planSetup(&limits, 0), 0, nil)[0].Connections
	for share, holds := range map[float64]bool{0.95: true, 1.2: false} {
		w := &conntest.World{Ports: ports, Clients: []*conntest.Client{busyClient(share * planned)}}
		opened := 0
		for _, e := range playedIn(w, 75*time.Second).Events {
			if e.Kind == event.Fail {
				break
			}
			if e.Kind == event.Open {
				opened++
			}
		}
		failed := w.Failed[madeServer]
		if holds && (failed > 0 || opened <= ports) {
			t.Errorf("%g of it: %d connections, more than the %d ports; %d failed", share, opened, ports, failed)
		}
		if !holds && (failed == 0 || opened != ports) {
			t.Errorf("%g of it: %d connections on %d ports before the first failure; %d failed", share, opened, ports, failed)
		}
	}
}

// TestStalledScreen: the view says what was lost, and what a comparison with the kernel
// has repaired since.
func TestStalledScreen(t *testing.T) {
	t.Parallel()
	for _, lossy := range []bool{false, true} {
		src := played(1000, 3*time.Second, until(time.Second, busyClient(40)))
		begins, lost := fmt.Sprint(src.Last.Begins), "0"
		if lossy {
			lost = "42"
			src.Says = []string{"reconciled: 2 added, 1 removed"}
			src.Found = []event.Event{{Time: src.From.UnixNano(), Kind: event.Lost, Stage: event.StageRing, Count: 42}}
		}
		o := over(t, src, "top", "-b", "-i", "1s")
		last := lastHead(o.stdout)
		if o.code != exitOK || last["time_wait"] != begins || last["lost_total"] != lost || strings.Contains(o.stdout, "# reconciled: 2 added") != lossy {
			t.Errorf("%s lost: exit code %d, %v: %s", lost, o.code, last, o.stdout)
		}
	}
}
