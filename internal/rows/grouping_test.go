package rows

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// swarmRows are n curls of one cron job and one of another, that go to one place, a
// crowd of more of the first, and a client of its own with two destinations.
func swarmRows(n int) []Row {
	who := func(ppid uint32, start uint64) *event.Who {
		return &event.Who{Start: start, HasUID: true, UID: 33, PPID: ppid, PComm: "sh", CgroupID: 5, Cgroup: "/system.slice/cron.service",
			Unit: "cron.service", Exe: "/usr/bin/curl"}
	}
	to := netip.MustParseAddrPort("10.0.0.8:80")
	flow := func(pid, ppid uint32, to netip.AddrPort) Row {
		return Row{NetNS: 1, Owner: event.Proc{PID: pid, Comm: "curl", Who: who(ppid, uint64(pid))}, PIDs: 1, Owners: 1, Peers: 1,
			Role: event.Client, Remote: to, TimeWait: 1, Total: conn.Counters{Opens: 1}}
	}
	var rows []Row
	for i := range n {
		rows = append(rows, flow(uint32(100+i), 50, to))
	}
	rows = append(rows, flow(99, 51, to))
	crowd := flow(0, 50, to)
	crowd.Kind, crowd.PIDs, crowd.TimeWait, crowd.Owner.Who = conn.GroupComm, 3000, 2960, who(50, 0)
	app := flow(7, 1, to)
	app.Owner.Comm, app.Owner.Who = "app", &event.Who{Start: 1, HasUID: true, PPID: 1, PComm: "systemd", Cgroup: "/"}
	more := app
	more.Remote = netip.MustParseAddrPort("10.0.0.8:81")
	return append(rows, crowd, app, more)
}

// rowWords words rows as their name, processes, parent and sockets.
func rowWords(rows []*Row) string {
	var out []string
	for _, r := range rows {
		name, processes, w := r.Name(), fmt.Sprint(r.Owner.PID), event.Who{}
		if r.Owner.PID == 0 {
			processes = fmt.Sprintf("x%d", r.PIDs)
		}
		if r.Owner.Who != nil {
			w = *r.Owner.Who
		}
		if r.Kind == conn.GroupComm && r.Label == "" {
			name = w.PComm + "/" + name
		}
		out = append(out, fmt.Sprintf("%s %s %s[%d] %d", name, processes, w.PComm, w.PPID, r.TimeWait))
	}
	slices.Sort(out)
	return strings.Join(out, "\n")
}

func TestGroupings(t *testing.T) {
	for _, tt := range []struct {
		by   string
		want []string
	}{
		{"flow", []string{"app 7 systemd[1] 1", "app 7 systemd[1] 1", "curl 99 sh[51] 1", "sh/curl x3000 sh[50] 3000"}},
		{"comm", []string{"app 7 systemd[1] 2", "curl x3001 sh[0] 3001"}},
		{"exe", []string{"(unknown) 7 systemd[1] 2", "/usr/bin/curl x3001 sh[0] 3001"}},
		{"parent", []string{"sh[50] x3000 sh[50] 3000", "sh[51] 99 sh[51] 1", "systemd[1] 7 systemd[1] 2"}},
		{"unit", []string{"(none) 7 systemd[1] 2", "cron.service x3001 sh[0] 3001"}},
		{"container", []string{"(none) x3002 [0] 3003"}},
		{"pod", []string{"(none) x3002 [0] 3003"}},
		{"uid", []string{"0 7 systemd[1] 2", "33 x3001 sh[0] 3001"}},
		{"netns", []string{"1 x3002 [0] 3003"}},
		{"lport", []string{"(none) x3002 [0] 3003"}},
	} {
		g, err := ParseGrouping(tt.by)
		if err != nil {
			t.Fatal(err)
		}
		rows := swarmRows(40)
		if got := rowWords(Arrange(rows, g, SortTimeWait)); got != strings.Join(tt.want, "\n") {
			t.Errorf("by %s:\n%s\nwant:\n%s", tt.by, got, strings.Join(tt.want, "\n"))
		}
		if len(rows) != 44 || rows[0].TimeWait != 1 || rows[0].Label != "" {
			t.Errorf("by %s changed the rows", tt.by)
		}
	}
	if n := len(Arrange(swarmRows(40), ByProcess, SortComm)); n != 43 {
		t.Errorf("%d processes, want 41 curls, a crowd and an app", n)
	}
	if _, err := ParseGrouping("colour"); err == nil || !strings.Contains(err.Error(), "flow, process, peer, comm") {
		t.Errorf("an unknown grouping: %v", err)
	}
	if _, err := ParseGrouping(""); err == nil {
		t.Error("no name is a grouping")
	}
}

// TestFewAreNoSwarm: the workers of one service stay apart.
func TestFewAreNoSwarm(t *testing.T) {
	rows := swarmRows(swarm - 1)
	rows = slices.DeleteFunc(rows, func(r Row) bool { return r.Kind == conn.GroupComm })
	if n := len(Arrange(rows, ByFlow, SortTimeWait)); n != len(rows) {
		t.Errorf("%d rows of %d", n, len(rows))
	}
}

// TestNamespaceNames: a namespace is called by its name, where it has one.
func TestNamespaceNames(t *testing.T) {
	rows := []Row{{NetNS: 4026531840, TimeWait: 1, Owners: 1}, {NetNS: 4026532247, Space: "web", TimeWait: 2, Owners: 1}, {NetNS: 4026532247, Space: "web", TimeWait: 3, Owners: 1}}
	if got, want := rowWords(Arrange(rows, ByNetNS, SortTimeWait)), "4026531840 x0 [0] 1\nweb x0 [0] 5"; got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
	if r := Arrange(rows, ByComm, SortTimeWait)[0]; r.NetNS != 0 || r.Space != "" {
		t.Errorf("a row of two namespaces is of %d %q", r.NetNS, r.Space)
	}
}

// TestOneListener: a listener at any address is one row, wherever it is reached, and two
// processes that share it stay apart.
func TestOneListener(t *testing.T) {
	any := netip.MustParseAddrPort("0.0.0.0:9000")
	row := func(local string, pid uint32, clients int) Row {
		r := Row{NetNS: 1, Owner: event.Proc{PID: pid, Comm: "app"}, PIDs: 1, Owners: 1, Peers: 1, Role: event.Server,
			Local: netip.MustParseAddrPort(local), Listen: any, Clients: clients, TimeWait: 1}
		r.ID = r.KeyBy(ByFlow)
		return r
	}
	rows := []Row{row("10.0.0.1:9000", 7, 4), row("10.0.0.2:9000", 7, 3), row("10.0.0.3:9000", 7, 1), row("10.0.0.1:9000", 8, 2)}
	for _, g := range []Grouping{ByFlow, ByProcess} {
		got := Arrange(rows, g, SortTimeWait)
		if len(got) != 2 {
			t.Fatalf("%v: %d rows", g, len(got))
		}
		if r := got[0]; r.Local != any || r.TimeWait != 3 || r.Owner.PID != 7 || r.PIDs != 1 || r.Kind != conn.GroupProcess || r.Peers != 1 {
			t.Errorf("%v: %+v", g, r)
		}
		if r := got[1]; r.Local != rows[3].Local || r.ID != rows[3].KeyBy(g) {
			t.Errorf("%v: one address became %v", g, r.Local)
		}
	}
	if r := Arrange(rows, ByFlow, SortTimeWait)[0]; r.Clients != 4 || !r.AtLeast {
		t.Errorf("%d clients, at least: %v", r.Clients, r.AtLeast)
	}
	other := row("10.0.0.9:9000", 7, 1)
	other.Listen = netip.AddrPort{}
	other.ID = other.KeyBy(ByFlow)
	if n := len(Arrange(append(rows, other), ByFlow, SortTimeWait)); n != 3 {
		t.Errorf("%d rows with a listener of its own address", n)
	}
}
