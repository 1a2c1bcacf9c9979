package output

import (
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/event"
)

// changed returns a usual record with changes.
func changed(change func(*event.Event)) event.Event {
	e := full()
	e.Accepter, e.Call, e.Errno, e.Cause, e.Stage = event.Proc{}, 0, 0, event.CauseNone, event.StageNone
	change(&e)
	return e
}

// mixed is what a busy host prints: both directions, all kinds, long names, IPv6, and a
// name made to break tables.
func mixed() []event.Event {
	client := func(e *event.Event) { e.Role = event.Client }
	server := func(e *event.Event) {
		e.Role, e.Local, e.Remote = event.Server, netip.MustParseAddrPort("10.78.0.1:80"), netip.MustParseAddrPort("10.78.0.2:51726")
		e.Process = event.Proc{PID: 17452, Comm: "nginx"}
	}
	return []event.Event{
		{Time: at, Kind: event.Start, Start: &event.StartInfo{Version: "0.1.0", Host: "web-07", Kernel: "6.18.44", Filter: "comm nginx",
			Missing: []string{"accepters (the closer or the listener is shown instead; --syscalls on)", "bind(), accept() and socket() that fail"}}},
		changed(func(e *event.Event) { client(e); e.Kind = event.Snapshot; e.Reason = event.ReasonNone }),
		changed(client),
		changed(server),
		changed(func(e *event.Event) {
			client(e)
			e.Process, e.Remote = event.Proc{PID: 1234567, Comm: "payment-gw-prod"}, netip.MustParseAddrPort("192.168.100.200:65535")
			e.Kind, e.Reason = event.TimeWaitExit, event.Expired
		}),
		changed(func(e *event.Event) {
			e.Kind, e.Reason, e.Life, e.Local = event.Fail, event.ReasonNone, 0, netip.AddrPort{}
			e.Errno = full().Errno
		}),
		changed(func(e *event.Event) { server(e); e.Kind, e.Reason = event.TimeWaitRefused, event.Buckets }),
		changed(func(e *event.Event) {
			e.Kind, e.Old, e.New, e.Reason = event.StateChange, event.SynSent, event.Established, event.ReasonNone
		}),
		changed(func(e *event.Event) {
			e.Process.Comm = "\x1b[2J\x1b[H\x00\x01\x02\x03\x04\x05\x06\x07" // 15 bytes
		}),
		changed(func(e *event.Event) {
			e.Local, e.Remote = netip.MustParseAddrPort("[2001:db8::7]:48213"), netip.MustParseAddrPort("[2001:db8:a:b:c::443]:443")
		}),
		changed(func(e *event.Event) {
			e.Local = netip.MustParseAddrPort("[fe80:1111:2222:3333:4444:5555:6666:7777]:48213")
			e.Remote = netip.MustParseAddrPort("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535")
			e.Reason = event.SimultaneousClose
		}),
		changed(client),
		{Time: at + second, Kind: event.End, End: &event.EndInfo{Why: "duration", Alive: 75107, Begins: 14}},
	}
}

// table is one heading and the rows below it.
type table struct {
	heading string
	rows    []string
}

// tables splits text at its headings; remarks are left out.
func tables(text, first string) (out []table) {
	for _, l := range strings.Split(strings.TrimSuffix(text, "\n"), "\n") {
		switch {
		case strings.HasPrefix(l, "#"):
		case strings.HasPrefix(l, first):
			out = append(out, table{heading: l})
		case len(out) == 0:
			out = append(out, table{rows: []string{l}})
		default:
			out[len(out)-1].rows = append(out[len(out)-1].rows, l)
		}
	}
	return out
}

// starts are the columns of a terminal where the words of a line start, or end.
func starts(line string, ends bool) (out []int) {
	in := false
	for i, r := range line + " " {
		at := width([]byte(line[:min(i, len(line))]))
		if word := r != ' '; word != in {
			if word != ends {
				out = append(out, at)
			}
			in = word
		}
	}
	return out
}

// checkAligned wants every value of a row to start where its heading does, or to end
// there; and as many values as headings, and no space at the end.
func checkAligned(t *testing.T, what, text, first string) {
	t.Helper()
	for _, x := range tables(text, first) {
		hs, he := starts(x.heading, false), starts(x.heading, true)
		for _, row := range x.rows {
			rs, re := starts(row, false), starts(row, true)
			if len(rs) != len(hs) || strings.HasSuffix(row, " ") {
				t.Errorf("%s: %d values under %d headings:\n%s\n%s", what, len(rs), len(hs), x.heading, row)
				continue
			}
			for i := range rs {
				if rs[i] != hs[i] && re[i] != he[i] {
					t.Errorf("%s: value %d is not under its heading:\n%s\n%s", what, i, x.heading, row)
					break
				}
			}
		}
	}
}

var widths = []int{0, 60, 80, 100, 132, 200}

// TestAligned: whatever comes, a row stands under its heading, on terminals of any width
// and in a pipe, and no line is wider than the terminal.
func TestAligned(t *testing.T) {
	for _, n := range widths {
		for _, o := range []Options{{Width: n}, {Width: n, States: true}, {Width: n, Clock: clock.In(time.FixedZone("+0545", 20700))}} {
			got := render(t, o, mixed())
			what := fmt.Sprintf("%d columns, states %v", n, o.States)
			checkAligned(t, what, got, "TIME")
			for _, l := range strings.Split(got, "\n") {
				if n > 0 && width([]byte(l)) > n {
					t.Errorf("%s: a line of %d: %s", what, width([]byte(l)), l)
				}
			}
		}
	}
	checkAligned(t, "wide", render(t, Options{Format: Wide, States: true}, mixed()), "TIME")
}

// TestTextWidths pins the screens.
func TestTextWidths(t *testing.T) {
	for _, n := range widths[1:] {
		golden(t, fmt.Sprintf("trace.%d.text", n), render(t, Options{Width: n}, mixed()))
		golden(t, fmt.Sprintf("states.%d.text", n), render(t, Options{Width: n, States: true}, mixed()))
	}
	golden(t, "states.text", render(t, Options{States: true}, mixed()))
	golden(t, "mixed.text", render(t, Options{Snapshots: true}, mixed()))
}

// TestPipe: what is no terminal gets everything, and nothing cut, under one heading as long
// as names and IPv4 are the usual ones.
func TestPipe(t *testing.T) {
	got := render(t, Options{}, mixed())
	for _, want := range []string{"payment-gw-prod", "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", `\x1b[2J\x1b[H\x00\x01\x02\x03\x04\x05\x06\x07`, "EADDRNOTAVAIL", "simultaneous_close"} {
		if !strings.Contains(got, want) {
			t.Errorf("no %s in\n%s", want, got)
		}
	}
	usual := slices.DeleteFunc(mixed(), func(e event.Event) bool {
		return e.Kind == event.TimeWaitRefused || e.Remote.Addr().Is6() || strings.Contains(e.Process.Comm, "\x1b")
	})
	if got := render(t, Options{}, usual); strings.Count(got, "COMM") != 1 || !strings.HasPrefix(got, "TIME(UTC) ") {
		t.Errorf("not one heading, at the top:\n%s", got)
	}
}

// TestLastLine: it speaks of what was printed, and of the host only without a filter.
func TestLastLine(t *testing.T) {
	last := func(events []event.Event) string {
		lines := strings.Split(render(t, Options{}, events), "\n")
		return lines[slices.IndexFunc(lines, func(l string) bool { return strings.HasPrefix(l, "# end") })]
	}
	all := mixed()
	if got, want := last(all), "# end, of comm nginx: 6 entered TIME_WAIT, 1 left it (1 expired), 1 refused TIME_WAIT, 1 failed, 1 other transition; "+
		"no event lost; stopped by duration"; got != want {
		t.Errorf("a filtered trace:\n%s\nwant\n%s", got, want)
	}
	all[0].Start.Filter = ""
	if got := last(all); !strings.Contains(got, "# end: 6 entered") || !strings.Contains(got, "; 75107 sockets in TIME_WAIT or FIN_WAIT2 now; ") {
		t.Errorf("a trace of all: %s", got)
	}
	if got, want := last([]event.Event{{Kind: event.End, End: &event.EndInfo{Why: "signal", Lost: map[string]uint64{"ring": 12, "map": 3}}}}),
		"# end: no records; 0 sockets in TIME_WAIT or FIN_WAIT2 now; 15 events lost (3 map, 12 ring)"; got != want {
		t.Errorf("nothing:\n%s\nwant\n%s", got, want)
	}
}

// TestFinish: a part of a recording, which has no end record, has a last line too, once.
func TestFinish(t *testing.T) {
	for n, want := range map[int]string{3: "# end, of comm nginx: 1 entered TIME_WAIT\n", len(mixed()): ""} {
		var out strings.Builder
		w, err := New(&out, Options{})
		if err != nil {
			t.Fatal(err)
		}
		for _, e := range mixed()[:n] {
			if err := w.Write(&e); err != nil {
				t.Fatal(err)
			}
		}
		if err := w.(Finisher).Finish(); err != nil {
			t.Fatal(err)
		}
		if got := out.String(); strings.Count(got, "# end") != 1 || !strings.HasSuffix(got, want) {
			t.Errorf("after %d records:\n%s", n, got)
		}
	}
}

// TestHeadings: a heading is printed first, not at all, or again where the clock changes.
func TestHeadings(t *testing.T) {
	if got := render(t, Options{NoHeading: true}, mixed()); strings.Contains(got, "COMM") {
		t.Errorf("a heading that nobody wants:\n%s", got)
	}
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("this host has no time zones")
	}
	summer := time.Date(2026, 10, 25, 0, 59, 59, 0, time.UTC).UnixNano()
	var events []event.Event
	for i := range 4 {
		events = append(events, changed(func(e *event.Event) { e.Time = summer + int64(i)*second/2 }))
	}
	got := render(t, Options{Clock: clock.In(berlin)}, events)
	if x := tables(got, "TIME"); len(x) != 2 || !strings.HasPrefix(x[0].heading, "TIME(CEST)") || !strings.HasPrefix(x[1].heading, "TIME(CET)") ||
		len(x[0].rows) != 2 || !strings.HasPrefix(x[0].rows[0], "02:59:59") || !strings.HasPrefix(x[1].rows[0], "02:00:00") {
		t.Errorf("when summer time ends:\n%s", got)
	}
}

// TestMeasured: columns of rows that are known before are as wide as their values.
func TestMeasured(t *testing.T) {
	var out strings.Builder
	w, err := New(&out, Options{Width: 80, Arrangements: [][]string{
		{"pid", "comm", "owner", "laddr", "lport", "raddr", "rport"}, {"comm", "raddr", "rport"}}})
	if err != nil {
		t.Fatal(err)
	}
	e := changed(func(e *event.Event) { e.Remote = netip.MustParseAddrPort("[2001:db8:a:b:c::443]:443") })
	w.(Measurer).Measure(&e)
	if err := w.Write(&e); err != nil {
		t.Fatal(err)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	if want := " PID COMM     OWNER   LADDR    LPORT RADDR               RPORT\n" +
		"4242 checkout connect 10.0.0.7 48213 2001:db8:a:b:c::443   443\n"; out.String() != want {
		t.Errorf("got\n%swant\n%s", out.String(), want)
	}
}

// TestFieldNames: --fields takes names, headings and old names, in any case, and for what
// is none offers the nearest.
func TestFieldNames(t *testing.T) {
	for _, tt := range []struct{ list, want, err string }{
		{"pid, comm", "pid,comm", ""},
		{"TIME,COMM,LIFE", "time,comm,life_ns", ""},
		{"time(CET),Comm,in_state,DIR,PORT", "time,comm,state_ns,dir,port", ""},
		{"closer", "closed_by", ""},
		{"USE%,FULL_IN", "used_pct,exhausts_in_s", ""},
		{"pid,lifetime", "", `no field "lifetime"; did you mean life_ns?`},
		{"comn", "", `no field "comn"; did you mean comm?`},
		{"zzzzzz", "", `no field "zzzzzz"; the first line of -o csv has all names`},
		{"life,LIFE", "", `field "LIFE" is named twice`},
	} {
		got, err := ParseFields(tt.list, Text)
		if s := strings.Join(got, ","); s != tt.want || (err == nil) != (tt.err == "") || err != nil && err.Error() != tt.err {
			t.Errorf("%s: %q, %v; want %q, %s", tt.list, s, err, tt.want, tt.err)
		}
	}
	if _, err := ParseFields("DIR", JSON); err == nil || err.Error() != `field "dir" is one of text; json has role` {
		t.Errorf("a column of text in JSON: %v", err)
	}
	for _, layout := range slices.Concat(textArrangements, stateArrangements) {
		a, err := parseArrangement(layout)
		if err != nil {
			t.Fatal(err)
		}
		for _, c := range a {
			if _, err := ParseFields(c.field.heading(), Text); err != nil {
				t.Errorf("a heading that is printed is no field: %v", err)
			}
		}
	}
}

func TestShorten(t *testing.T) {
	for _, tt := range []struct {
		in   string
		n    int
		want string
	}{
		{"10.0.0.7", 8, "10.0.0.7"},
		{"2001:db8:ffff::443", 10, "2001:~:443"},
		{"abcdef", 1, "~"},
		{"日本語日本語", 6, "日~語"},
	} {
		if got := string(shorten([]byte(tt.in), tt.n)); got != tt.want || width([]byte(got)) > tt.n {
			t.Errorf("%q in %d columns: %q, want %q", tt.in, tt.n, got, tt.want)
		}
	}
}
