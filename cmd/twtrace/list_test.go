package main

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/tracer"
	"github.com/twtrace/twtrace/internal/workload"
)

// serverCloses is a server that closes first, apart from workload.IPv4.
var serverCloses = netip.MustParseAddrPort("127.0.0.2:7001")

// listed is a namespace with the TIME_WAITs of a client and of a server.
type listed struct {
	ns    *kerneltest.NS
	truth map[uint64]workload.Record // of the sockets in TIME_WAIT
}

// fill makes them.
func fill(t *testing.T, ns *kerneltest.NS) listed {
	t.Helper()
	ns.KeepTimeWait(t)
	l := listed{ns, make(map[uint64]workload.Record)}
	for _, s := range []workload.Scenario{
		workload.ActiveClose(workload.IPv4, connections), workload.ServerCloses(serverCloses, connections)} {
		result, err := s.Run(t.Context(), ns.Path())
		must(t, err)
		for _, r := range result.Records() {
			if r.Role == event.Client && r.Remote == workload.IPv4 || r.Role == event.Server && r.Local == serverCloses {
				l.truth[r.Cookie] = r
			}
		}
	}
	if len(l.truth) != 2*connections {
		t.Fatalf("%d connections, want %d", len(l.truth), 2*connections)
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		n := len(l.cookies(t))
		return n == len(l.truth), fmt.Sprintf("ss shows %d in TIME_WAIT", n)
	})
	return l
}

// cookies are those that ss shows in TIME_WAIT.
func (l listed) cookies(t *testing.T) []uint64 {
	t.Helper()
	var all []uint64
	for _, s := range l.ns.Sockets(t, "state", "time-wait") {
		all = append(all, s.Cookie)
	}
	slices.Sort(all)
	return all
}

// list runs twtrace list -o json and returns its records.
func list(t *testing.T, cmd *exec.Cmd) ([]record, outcome) {
	t.Helper()
	o := ended(t, cmd)
	if o.code != 0 || strings.Count(o.stderr, "\n") > 1 {
		t.Errorf("%v: exit code %d, stderr: %s", cmd.Args[1:], o.code, o.stderr)
	}
	var all []record
	for line := range strings.Lines(o.stdout) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		all = append(all, r)
	}
	return all, o
}

func (l listed) list(t *testing.T, flags ...string) []record {
	t.Helper()
	all, _ := list(t, command(append([]string{"list", "-o", "json", "-N", l.ns.Path()}, flags...)...))
	return all
}

// checkSockets compares what list says with ss and the workload: owners apart,
// which need a trace.
func (l listed) checkSockets(t *testing.T, all []record) {
	t.Helper()
	var cookies []uint64
	for _, r := range all {
		cookies = append(cookies, cookie(t, r))
		want := l.truth[cookie(t, r)]
		if r.Event != "snapshot" || r.Netns != l.ns.Inum() || netip.AddrPortFrom(r.Laddr, r.Lport) != want.Local ||
			netip.AddrPortFrom(r.Raddr, r.Rport) != want.Remote {
			t.Errorf("got %+v, want the addresses of %+v", r, want)
		}
	}
	slices.Sort(cookies)
	if want := l.cookies(t); !slices.Equal(cookies, want) {
		t.Errorf("%d cookies, want the %d of ss", len(cookies), len(want))
	}
}

// TestListTraced lists while a trace runs, which knows the owners.
func TestListTraced(t *testing.T) {
	t.Parallel()
	t.Attr("row", "`list` beside a trace")
	ns := kerneltest.NetNS(t)
	tr := startTrace(t)
	l := fill(t, ns)
	all := l.list(t)
	l.checkSockets(t, all)
	for _, r := range all {
		want := l.truth[cookie(t, r)]
		how := tr.ownerBy(want.Role)
		if r.PID != want.PID || r.Comm != want.Comm || r.Owner != how || r.Role != want.Role.String() || r.Closer != "local" {
			t.Errorf("owner %s[%d] by %q, role %q, closer %q; want %s[%d] by %s, %v", r.Comm, r.PID, r.Owner, r.Role,
				r.Closer, want.Comm, want.PID, how, want.Role)
		}
	}
	// Each in TIME_WAIT that is young: on a slow machine a list takes seconds.
	t.Run("filters", func(t *testing.T) { fill(t, kerneltest.NetNS(t)).checkFilters(t) })
	t.Run("formats", func(t *testing.T) { fill(t, kerneltest.NetNS(t)).checkFormats(t) })
	tr.stop()
}

// checkFilters compares how many each filter lets through.
func (l listed) checkFilters(t *testing.T) {
	of := func(f func(workload.Record) bool) int {
		n := 0
		for _, r := range l.truth {
			if f(r) {
				n++
			}
		}
		return n
	}
	some := slices.Collect(maps.Values(l.truth))[0]
	for flags, want := range map[string]int{
		"-D 7000":                      of(func(r workload.Record) bool { return r.Remote.Port() == 7000 }),
		"-D !7000":                     of(func(r workload.Record) bool { return r.Remote.Port() != 7000 }),
		"-L 7001":                      of(func(r workload.Record) bool { return r.Local.Port() == 7001 }),
		"--laddr 127.0.0.2":            of(func(r workload.Record) bool { return r.Local.Addr() == serverCloses.Addr() }),
		"--raddr 10.0.0.0/8":           0,
		"-4":                           len(l.truth),
		"-6":                           0,
		"--role server":                connections,
		"--role client":                connections,
		"--closer remote":              0,
		"--comm tw-cl*":                of(func(r workload.Record) bool { return r.Comm == workload.ClientComm }),
		"--comm bogus":                 0,
		fmt.Sprintf("-p %d", some.PID): of(func(r workload.Record) bool { return r.PID == some.PID }),
		fmt.Sprintf("-L %d -D %d", some.Local.Port(), some.Remote.Port()): of(func(r workload.Record) bool {
			return r.Local.Port() == some.Local.Port() && r.Remote.Port() == some.Remote.Port()
		}),
	} {
		if got := len(l.list(t, strings.Fields(flags)...)); got != want {
			t.Errorf("%s: %d sockets, want %d", flags, got, want)
		}
	}
}

func (l listed) checkFormats(t *testing.T) {
	o := ended(t, command("list", "-o", "csv", "--fields", "cookie,pid,comm", "-N", l.ns.Path()))
	rows, err := csv.NewReader(strings.NewReader(o.stdout)).ReadAll()
	if err != nil || len(rows) != len(l.truth)+1 || strings.Join(rows[0], ",") != "cookie,pid,comm" {
		t.Fatalf("%d lines of CSV, want %d: %v: %s", len(rows), len(l.truth)+1, err, o.stdout)
	}
	for _, row := range rows[1:] {
		c, err := strconv.ParseUint(row[0], 16, 64)
		must(t, err)
		if want := l.truth[c]; row[1] != fmt.Sprint(want.PID) || row[2] != want.Comm {
			t.Errorf("CSV: %v, want %d and %s", row, want.PID, want.Comm)
		}
	}
	o = ended(t, command("list", "-N", l.ns.Path()))
	lines := strings.Split(strings.TrimSpace(o.stdout), "\n")
	if !strings.HasPrefix(lines[0], "REMAINING ") || len(lines) != len(l.truth)+1 {
		t.Errorf("%d lines of text, want %d: %s", len(lines), len(l.truth)+1, o.stdout)
	}
	for _, line := range lines[1:] {
		if f := strings.Fields(line); len(f) != len(strings.Fields(lines[0])) || !slices.Contains([]string{"connect", "accept", "close"}, f[3]) {
			t.Errorf("a line of text: %s", line)
		}
	}
}

// TestListWithoutTrace has no owner to show. On this host somebody else's trace
// may know one, so the command is only wanted to say nothing wrong, and what it
// prints without any trace is asked of its parts.
func TestListWithoutTrace(t *testing.T) {
	t.Parallel()
	to := ownTimeWait(t, connections)
	all := listOwn(t, command("list", "-o", "json", "-N", "/proc/self/ns/net", "-D", fmt.Sprint(to.Port())), to)
	for _, r := range all {
		if (r.Owner != "" || r.PID != 0) && r.PID != uint32(os.Getpid()) {
			t.Errorf("%s[%d] by %s, want this process or nobody", r.Comm, r.PID, r.Owner)
		}
	}

	ns, err := kernel.CurrentNetNS()
	must(t, err)
	var b strings.Builder
	w, err := output.New(&b, output.Options{Arrangements: listArrangements, Snapshots: true})
	must(t, err)
	f := &filter.Filter{}
	f.RPorts.Items = append(f.RPorts.Items, filter.Ports{First: to.Port(), Last: to.Port()})
	alone := lister{filter: f, owners: &tracer.Owners{}}
	must(t, alone.list(ns))
	must(t, writeSorted(w, alone.found))
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != connections+1 {
		t.Errorf("%d lines, want %d: %s", len(lines), connections+1, b.String())
	}
	for _, line := range lines[1:] {
		if f := strings.Fields(line); strings.Join(f[1:5], " ") != "- - - -" {
			t.Errorf("an owner without a trace: %s", line)
		}
	}
	if words := alone.unseen(0, 1); !strings.Contains(words, "no other twtrace is running; start `twtrace trace`") {
		t.Errorf("note: %q", words)
	}
}

// listOwn has cmd list the connections of ownTimeWait, and checks what they are.
func listOwn(t *testing.T, cmd *exec.Cmd, to netip.AddrPort) []record {
	t.Helper()
	all, _ := list(t, cmd)
	if len(all) != connections {
		t.Errorf("%d sockets, want %d", len(all), connections)
	}
	ns, err := kernel.CurrentNetNS()
	must(t, err)
	for _, r := range all {
		if r.Event != "snapshot" || r.Netns != ns.Inum || netip.AddrPortFrom(r.Raddr, r.Rport) != to || r.Laddr != to.Addr() {
			t.Errorf("got %+v, want a socket to %v", r, to)
		}
	}
	return all
}

// TestListUnprivileged shows a user the namespace that he is in.
func TestListUnprivileged(t *testing.T) {
	t.Parallel()
	to := ownTimeWait(t, connections)
	cmd := unprivileged(t, "list", "-o", "json", "-D", fmt.Sprint(to.Port()))
	for _, r := range listOwn(t, cmd, to) {
		if r.Owner != "" || r.PID != 0 {
			t.Errorf("an owner without any right: %+v", r)
		}
	}
	o := ended(t, unprivileged(t, "list", "-D", fmt.Sprint(to.Port())))
	if !strings.HasPrefix(o.stderr, "twtrace: not shown without root: owners") {
		t.Errorf("stderr: %q", o.stderr)
	}
}

// TestTwoTraces has two traces watch the same connections.
func TestTwoTraces(t *testing.T) {
	t.Parallel()
	t.Attr("row", "two traces at once")
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	traces := []*trace{startTrace(t, "-N", ns.Path()), startTrace(t, "-N", ns.Path())}
	result := connect(t, ns, connections)
	for _, tr := range traces {
		checkBegins(t, tr, tr.stop(), ns, result)
	}
}
