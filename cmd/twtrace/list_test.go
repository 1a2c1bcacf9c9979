package main

import (
	"bufio"
	"encoding/csv"
	"encoding/json"
	"fmt"
	"maps"
	"net/netip"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

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

// TestList lists while a trace runs, which knows the owners.
func TestList(t *testing.T) {
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
	l := fill(t, kerneltest.NetNS(t))
	all := l.list(t)
	l.checkSockets(t, all)
	for _, r := range all {
		if want := l.truth[cookie(t, r)]; (r.Owner != "" || r.PID != 0) && r.PID != want.PID {
			t.Errorf("%s[%d] by %s, want %s[%d] or nobody", r.Comm, r.PID, r.Owner, want.Comm, want.PID)
		}
	}

	ns, err := kernel.FindNetNS(l.ns.Path())
	must(t, err)
	var b strings.Builder
	w, err := output.New(&b, output.Options{Fields: listFields})
	must(t, err)
	alone := lister{filter: &filter.Filter{}, owners: &tracer.Owners{}, out: w}
	must(t, alone.list(ns))
	must(t, w.Flush())
	lines := strings.Split(strings.TrimSpace(b.String()), "\n")
	if len(lines) != len(l.truth)+1 {
		t.Errorf("%d lines, want %d: %s", len(lines), len(l.truth)+1, b.String())
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

// TestListUnprivileged shows a user the namespace that he is in.
func TestListUnprivileged(t *testing.T) {
	t.Parallel()
	l := fill(t, kerneltest.NetNS(t))
	cmd := unprivileged(t, "list", "-o", "json")
	var all []record
	var o outcome
	l.ns.Do(t, func() { all, o = list(t, cmd) })
	l.checkSockets(t, all)
	for _, r := range all {
		if r.Owner != "" || r.PID != 0 {
			t.Errorf("an owner without any right: %+v", r)
		}
	}
	if !strings.HasPrefix(o.stderr, "twtrace: owners") || !strings.Contains(o.stderr, "not shown: that needs root\n") {
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

// table is what top prints at one time.
type table struct {
	summary map[string]string // name=value behind the first #
	rows    []map[string]string
}

// readTable reads up to the empty line behind a table, or the end.
func readTable(t *testing.T, lines *bufio.Scanner) (table, bool) {
	t.Helper()
	tab := table{summary: make(map[string]string)}
	var heading []string
	for lines.Scan() && lines.Text() != "" {
		line := lines.Text()
		switch {
		case strings.HasPrefix(line, "#"):
			for _, f := range strings.Fields(line) {
				if name, value, ok := strings.Cut(f, "="); ok {
					tab.summary[name] = value
				}
			}
		case heading == nil:
			heading = strings.Fields(line)
		default:
			cells := strings.Fields(line)
			if len(cells) != len(heading) {
				t.Errorf("%d cells in %d columns: %s", len(cells), len(heading), line)
				continue
			}
			row := make(map[string]string)
			for i := range cells {
				row[heading[i]] = cells[i]
			}
			tab.rows = append(tab.rows, row)
		}
	}
	return tab, heading != nil
}

// sum adds up a column of numbers.
func (tab table) sum(t *testing.T, column string) int {
	t.Helper()
	n := 0
	for _, row := range tab.rows {
		v, err := strconv.Atoi(row[column])
		if err != nil {
			t.Errorf("%s of %v: %v", column, row, err)
		}
		n += v
	}
	return n
}

// TestTop reads the tables until they show what the kernel shows. There is no
// terminal, so twtrace alone is the same as top -b.
func TestTop(t *testing.T) {
	t.Parallel()
	for _, verb := range [][]string{{}, {"top", "-b"}} {
		t.Run(strings.Join(verb, " "), func(t *testing.T) {
			t.Parallel()
			ns := kerneltest.NetNS(t)
			ns.KeepTimeWait(t)
			cmd := command(append(verb, "-i", "100ms", "-N", ns.Path())...)
			var stderr strings.Builder
			cmd.Stderr = &stderr
			stdout, err := cmd.StdoutPipe()
			must(t, err)
			must(t, cmd.Start())
			defer expire(cmd)()
			lines := bufio.NewScanner(stdout)
			if tab, ok := readTable(t, lines); !ok || tab.sum(t, "TW") != 0 || tab.summary["tw"] != "0" {
				t.Errorf("before anything happened: %+v", tab)
			}
			result := connect(t, ns, connections)
			least := connections
			if kerneltest.PID1Artefact() {
				least-- // one may be hidden
			}
			var tab table
			for n := 0; n < 100 && tab.summary["tw"] != fmt.Sprint(connections); n++ {
				tab, _ = readTable(t, lines)
				if tab.sum(t, "TW") >= least {
					break
				}
			}
			tw := tab.sum(t, "TW")
			if alive := int(ns.Sockstat(t)["TCP tw"]); tw < least || tw > alive || tab.summary["tw"] != fmt.Sprint(tw) {
				t.Errorf("the rows have %d in TIME_WAIT, the kernel %d: %+v", tw, alive, tab)
			}
			checkRow(t, tab, result)
			must(t, cmd.Process.Signal(unix.SIGINT))
			for lines.Scan() {
			}
			if err := cmd.Wait(); err != nil || stderr.Len() != 0 {
				t.Errorf("%v; stderr: %s", err, stderr.String())
			}
		})
	}
}

// checkRow looks for the client, who has all the TIME_WAITs.
func checkRow(t *testing.T, tab table, result workload.Result) {
	t.Helper()
	pid := fmt.Sprint(result.Clients[0].PID)
	for _, row := range tab.rows {
		if row["PID"] == pid && row["COMM"] == workload.ClientComm && row["DIR"] == "out" &&
			row["PEER"] == workload.IPv4.String() && row["TW"] != "0" {
			return
		}
	}
	t.Errorf("no row of %s[%s] to %v: %+v", workload.ClientComm, pid, workload.IPv4, tab)
}

// TestTopCount prints as many tables as asked for.
func TestTopCount(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	o := ended(t, command("top", "-b", "-c", "2", "-i", "100ms", "-N", kerneltest.NetNS(t).Path()))
	if o.code != 0 || o.stderr != "" {
		t.Errorf("exit code %d, stderr %q", o.code, o.stderr)
	}
	lines, n := bufio.NewScanner(strings.NewReader(o.stdout)), 0
	for _, ok := readTable(t, lines); ok; _, ok = readTable(t, lines) {
		n++
	}
	if n != 2 {
		t.Errorf("%d tables, want 2: %s", n, o.stdout)
	}
}
