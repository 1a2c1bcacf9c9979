package output

import (
	"bytes"
	"encoding/csv"
	"encoding/json"
	"errors"
	"flag"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

var update = flag.Bool("update", false, "write the golden files")

const second = 1_000_000_000

// at is 2026-11-22T22:14:07.912345678Z.
const at = 1795385647_912345678

// full is a record in which every field of a connection is known.
func full() event.Event {
	return event.Event{
		Time: at, Cookie: 0x1f, NetNS: 4026531840, NetNSName: "web-blue", Kind: event.TimeWaitEnter, Reason: event.ActiveClose,
		Old: event.FinWait2, New: event.TimeWait, Role: event.Client, Closer: event.LocalSide,
		Owner: event.ByConnect, Stamps: event.Yes, Bound: true,
		Local: netip.MustParseAddrPort("10.0.0.7:48213"), Remote: netip.MustParseAddrPort("10.2.0.9:5432"),
		Process: event.Proc{PID: 4242, Comm: "checkout", Who: &event.Who{Start: 5150, HasUID: true, PPID: 977, PComm: "bash",
			Exe: "/app/checkout", Cmdline: "/app/checkout -v", Cgroup: "/system.slice/cri.scope", Unit: "cri.scope", Container: "8f3e", ContainerName: "shop",
			Runtime: "cri-o", Pod: "5b1c", PodName: "web/shop-0"}},
		Opener:   event.Proc{PID: 4242, Comm: "checkout"},
		Accepter: event.Proc{PID: 811, Comm: "inetd"}, CloseProc: event.Proc{PID: 4243, Comm: "npm start"},
		Life: 3_100_000, Idle: 3_000_000, DataLost: true, InState: 12_345, Remaining: 60 * second, Rearms: 2,
		Call: event.Connect, Errno: uint16(unix.EADDRNOTAVAIL), Cause: event.NoPort, Count: 3, Stage: event.StageRing,
	}
}

// trace is a short trace with a record of many kinds.
func trace() []event.Event {
	enter := full()
	enter.Accepter, enter.Call, enter.Errno, enter.Count, enter.Stage, enter.Remaining = event.Proc{}, 0, 0, 0, 0, 0
	enter.DataLost, enter.Cause = false, event.CauseNone
	exit := enter
	exit.Time, exit.Kind, exit.Reason, exit.InState = at+60*second, event.TimeWaitExit, event.Expired, 60*second
	bad := enter
	bad.Process = event.Proc{PID: 4194303, Comm: "\x1b[2J\"a,b\\\n\xff"}
	bad.Local, bad.Remote = netip.MustParseAddrPort("[2001:db8::7]:65535"), netip.MustParseAddrPort("[2001:db8:ffff:ffff:ffff:ffff:ffff:ffff]:65535")
	bad.Closer, bad.Reason, bad.Life = event.BothSides, event.SimultaneousClose, 59*60*second
	wide := enter
	wide.Process = event.Proc{PID: 1234567, Comm: "fifteen-bytes-x"}
	wide.Remote = netip.MustParseAddrPort("192.168.100.200:65535")
	wide.Kind, wide.Reason = event.TimeWaitRefused, event.Buckets
	fail := event.Event{Time: at + 5, Kind: event.Fail, NetNS: 4026531840, Call: event.Connect, Errno: uint16(unix.EADDRNOTAVAIL),
		Remote: netip.MustParseAddrPort("[::ffff:10.2.0.9]:5432"), Process: event.Proc{PID: 8810, Comm: "-"}, Role: event.Client}
	return []event.Event{
		{Time: at, Kind: event.Start, Start: &event.StartInfo{Version: "0.1.0", Schema: Schema, Host: "web-07", Kernel: "6.18.44",
			BootID: "b3d5", Hooks: []string{"tp_btf/inet_sock_set_state", "timer"}, Missing: []string{"retransmits; no kprobes"},
			Limits: map[string]string{"net.ipv4.tcp_max_tw_buckets": "262144", "net.ipv4.ip_local_port_range": "32768\t60999"},
			Filter: "remote port 5432"}},
		enter, {Time: at, Kind: event.Parked}, fail, bad, exit, wide, enter,
		{Time: at + 61*second, Kind: event.Lost, Count: 12, Stage: event.StageRing},
		{Time: at + 62*second, Kind: event.End, End: &event.EndInfo{Why: "signal", Births: 30, Parked: 7, Promoted: 5, Begins: 28,
			Ends: map[string]uint64{"expired": 20, "reused": 3, "reset": 0}, Refused: 1, Alive: 7,
			Lost: map[string]uint64{"ring": 12}, Unnamed: map[string]uint64{"gone": 8, "throttled": 2}, Drift: []event.Drift{{NetNS: 4026531840, Births: 2, Reused: -1}}}},
		{Kind: event.End, End: &event.EndInfo{}},
	}
}

// render writes events to a Writer and returns what came out.
func render(t *testing.T, opts Options, events []event.Event) string {
	t.Helper()
	var out bytes.Buffer
	w, err := New(&out, opts)
	if err != nil {
		t.Fatal(err)
	}
	for i := range events {
		if err := w.Write(&events[i]); err != nil {
			t.Fatal(err)
		}
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// golden compares got with a file in testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s differs (write it anew with -update); got:\n%s\nwant:\n%s", path, got, want)
	}
}

func TestGolden(t *testing.T) {
	for f := Text; f <= CSV; f++ {
		golden(t, "trace."+f.String(), render(t, Options{Format: f, Banner: f == Wide}, trace()))
	}
	golden(t, "fields.text", render(t, Options{Fields: []string{"comm", "life_ns", "timestamps", "closer_comm"}}, trace()))
}

// TestJSON checks that every line is an object whose members are the fields
// that are known, by name and value.
func TestJSON(t *testing.T) {
	events := []event.Event{full()}
	var got map[string]any
	if err := json.Unmarshal([]byte(render(t, Options{Format: JSON}, events)), &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"time": "2026-11-22T22:14:07.912345678Z", "event": "time_wait_enter", "cookie": "1f", "netns": 4026531840.0, "netns_name": "web-blue",
		"ip": 4.0, "laddr": "10.0.0.7", "lport": 48213.0, "raddr": "10.2.0.9", "rport": 5432.0, "role": "client",
		"closed_by": "local", "pid": 4242.0, "comm": "checkout", "owner": "connect", "opener_pid": 4242.0,
		"opener_comm": "checkout", "accepter_pid": 811.0, "accepter_comm": "inetd", "closer_pid": 4243.0,
		"closer_comm": "npm start", "pid_start_ticks": 5150.0, "uid": 0.0, "ppid": 977.0, "pcomm": "bash",
		"exe": "/app/checkout", "cmdline": "/app/checkout -v", "cgroup": "/system.slice/cri.scope", "unit": "cri.scope", "container": "8f3e", "container_name": "shop",
		"runtime": "cri-o", "pod": "5b1c", "pod_name": "web/shop-0",
		"oldstate": "FIN_WAIT2", "newstate": "TIME_WAIT", "reason": "active_close",
		"life_ns": 3100000.0, "idle_ns": 3000000.0, "data_lost": true, "timestamps": true, "bound": true, "state_ns": 12345.0, "remaining_ns": 6e10, "rearms": 2.0,
		"call": "connect", "errno": "EADDRNOTAVAIL", "cause": "no_port", "count": 3.0, "stage": "ring",
	}
	for k, v := range want {
		if got[k] != v {
			t.Errorf("%s is %v, want %v", k, got[k], v)
		}
	}
	if len(got) != len(want) || len(want) != len(connFields) {
		t.Errorf("%d members, want %d, of %d fields", len(got), len(want), len(connFields))
	}
}

// TestFieldsOfJSON checks that --fields picks and orders members, but thins
// neither start nor lost nor end.
func TestFieldsOfJSON(t *testing.T) {
	events := trace()
	lines := strings.Split(render(t, Options{Format: JSON, Fields: []string{"rport", "comm"}}, events), "\n")
	if lines[1] != `{"rport":5432,"comm":"checkout"}` {
		t.Errorf("selected fields: %s", lines[1])
	}
	all := strings.Split(render(t, Options{Format: JSON}, events), "\n")
	for i, l := range lines {
		isAbout := strings.Contains(all[i], `"event":"start"`) || strings.Contains(all[i], `"event":"lost"`) || strings.Contains(all[i], `"event":"end"`)
		if isAbout != (l == all[i]) && l != "" {
			t.Errorf("line %d: %s", i, l)
		}
	}
}

func TestCSV(t *testing.T) {
	rows, err := csv.NewReader(strings.NewReader(render(t, Options{Format: CSV}, trace()))).ReadAll()
	if err != nil {
		t.Fatal(err)
	}
	if len(rows) != 11 {
		t.Errorf("%d rows, want a header and 10", len(rows))
	}
	if !slices.Equal(rows[0], names(all)) {
		t.Errorf("header %q", rows[0])
	}
	cell := func(row int, name string) string { return rows[row][slices.Index(rows[0], name)] }
	comm, err := Unescape(cell(4, "comm"))
	if want := "\x1b[2J\"a,b\\\n\xff"; err != nil || comm != want {
		t.Errorf("comm %q, %v, want %q", comm, err, want)
	}
	for name, want := range map[string]string{"event": "end", "time_wait_exits_by_reason": "expired=20;reset=0;reused=3", "lost_by_stage": "ring=12",
		"drift": "netns=4026531840,births=2,reused=-1,refused=0,alive=0", "alive": "7", "pid": ""} {
		if got := cell(9, name); got != want {
			t.Errorf("end: %s is %q, want %q", name, got, want)
		}
	}
	if got, want := cell(1, "missing"), `retransmits\x3b no kprobes`; got != want {
		t.Errorf("start: missing is %q, want %q", got, want)
	}
	some := render(t, Options{Format: CSV, Fields: []string{"comm", "count"}}, trace())
	if n := strings.Count(some, "\n"); n != 7 {
		t.Errorf("without event there are %d lines, want a header and 6 connections:\n%s", n, some)
	}
	some = render(t, Options{Format: CSV, Fields: []string{"count", "event"}}, trace())
	if !strings.Contains(some, "\n12,lost\n") {
		t.Errorf("with event there is no lost row:\n%s", some)
	}
}

// TestNothing checks what is printed where there are no records.
func TestNothing(t *testing.T) {
	for f, want := range map[Format]string{Text: "RADDR LIFE", Wide: "RADDR LIFE", CSV: "raddr,life_ns", JSON: ""} {
		got := render(t, Options{Format: f, Fields: []string{"raddr", "life_ns"}}, nil)
		if strings.Join(strings.Fields(got), " ") != want {
			t.Errorf("%s prints %q, want %q", f, got, want)
		}
	}
}

func TestNewErrors(t *testing.T) {
	for _, tt := range []struct {
		opts Options
		want string
	}{
		{Options{Fields: []string{"pid", "portx"}}, `no field "portx"; did you mean port?`},
		{Options{Fields: []string{"pid", "pid"}}, `field "pid" is named twice`},
		{Options{Fields: []string{""}}, `no field ""; the first line of -o csv has all names`},
		{Options{Format: 9}, `bad output format format(9)`},
	} {
		if w, err := New(io.Discard, tt.opts); err == nil || !strings.HasPrefix(err.Error(), tt.want) {
			t.Errorf("New(%v) = %v, %v, want error %s", tt.opts, w, err, tt.want)
		}
	}
	if _, err := ParseFormat("xml"); err == nil || err.Error() != `bad output format "xml": use text, wide, json, csv` {
		t.Errorf("ParseFormat: %v", err)
	}
	if f, err := ParseFormat("csv"); err != nil || f != CSV {
		t.Errorf("ParseFormat(csv) = %v, %v", f, err)
	}
}

// TestClosedPipe checks that a reader that went away is EPIPE, at once or when
// the buffer is full, and stays it.
func TestClosedPipe(t *testing.T) {
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	r.Close()
	pr, pw := io.Pipe()
	pr.Close()
	for name, dst := range map[string]io.Writer{"os": w, "io": pw} {
		out, err := New(dst, Options{Format: JSON})
		if err != nil {
			t.Fatal(err)
		}
		e := full()
		for range 1000 {
			if err = out.Write(&e); err != nil {
				break
			}
		}
		if !errors.Is(err, unix.EPIPE) {
			t.Errorf("%s: Write: %v, want EPIPE", name, err)
		}
		if again := out.Write(&e); again != err {
			t.Errorf("%s: then Write: %v", name, again)
		}
		if again := out.Flush(); again != err {
			t.Errorf("%s: then Flush: %v", name, again)
		}
	}
}

// lineWriter fails the test if it does not get whole lines.
type lineWriter struct {
	t      *testing.T
	writes int
}

func (w *lineWriter) Write(p []byte) (int, error) {
	w.writes++
	if len(p) == 0 || p[len(p)-1] != '\n' {
		w.t.Errorf("write %d ends within a line", w.writes)
	}
	return len(p), nil
}

func TestBuffer(t *testing.T) {
	dst := &lineWriter{t: t}
	w, err := New(dst, Options{Format: JSON})
	if err != nil {
		t.Fatal(err)
	}
	e := full()
	e.Process.Comm = strings.Repeat("\x00", 4096)
	for range 100 {
		if err := w.Write(&e); err != nil {
			t.Fatal(err)
		}
	}
	if dst.writes < 10 || dst.writes > 99 {
		t.Errorf("%d writes of 100 records of 16 KiB, want one for every 32 KiB or so", dst.writes)
	}
	before := dst.writes
	for range 2 { // the second has nothing to write
		if err := w.Flush(); err != nil {
			t.Fatal(err)
		}
	}
	if dst.writes > before+1 {
		t.Errorf("an empty buffer was written")
	}
}

func TestAllocs(t *testing.T) {
	for f := Text; f <= CSV; f++ {
		w, err := New(io.Discard, Options{Format: f})
		if err != nil {
			t.Fatal(err)
		}
		e := full()
		write := func() {
			if err := w.Write(&e); err != nil {
				t.Fatal(err)
			}
		}
		write()
		if n := testing.AllocsPerRun(1000, write); n != 0 {
			t.Errorf("%s allocates %v times a record", f, n)
		}
	}
}

func BenchmarkWrite(b *testing.B) {
	for f := Text; f <= CSV; f++ {
		b.Run(f.String(), func(b *testing.B) {
			w, err := New(io.Discard, Options{Format: f})
			if err != nil {
				b.Fatal(err)
			}
			e := trace()[1]
			b.ReportAllocs()
			for b.Loop() {
				e.Time += 1000
				if err := w.Write(&e); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "records/s")
		})
	}
}
