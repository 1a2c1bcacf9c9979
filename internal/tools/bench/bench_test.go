package main

import (
	"bytes"
	"io"
	"os"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/workload"
)

func TestMain(m *testing.M) {
	workload.Main()
	os.Exit(m.Run())
}

func TestSpreadOf(t *testing.T) {
	rate := func(s sample) (float64, bool) { return s.PerSecond, s.PerSecond > 0 }
	for _, test := range []struct {
		rates []float64
		want  *spread
	}{
		{nil, nil},
		{[]float64{0, 0}, nil},
		{[]float64{7}, &spread{7, 7, 7}},
		{[]float64{9, 1, 0, 2}, &spread{2, 1, 9}},
		{[]float64{8, 1, 2, 4}, &spread{3, 1, 8}},
	} {
		var samples []sample
		for _, r := range test.rates {
			samples = append(samples, sample{PerSecond: r})
		}
		got := spreadOf(samples, rate)
		if (got == nil) != (test.want == nil) || got != nil && *got != *test.want {
			t.Errorf("%v: got %v, want %v", test.rates, got, test.want)
		}
	}
}

// Ratios are taken within a round: a machine that was half as fast in the second
// round changes none of them.
func TestSummarizePairs(t *testing.T) {
	programs := func(ns ...time.Duration) (all []program) {
		for _, d := range ns {
			all = append(all, program{Name: "p", Type: "Tracing", Runs: 10, TimeNS: d, Misses: 1})
		}
		return all
	}
	lost := uint64(3)
	samples := []sample{
		{Tool: noTracer, Round: 1, Connections: 100, PerSecond: 1000},
		{Tool: reference, Round: 1, Connections: 100, PerSecond: 900, CPUNS: time.Millisecond, Lines: 400},
		{Tool: "tcplife", Round: 1, Connections: 100, PerSecond: 800, Lost: &lost},
		{Tool: noTracer, Round: 2, Connections: 100, PerSecond: 500},
		{Tool: reference, Round: 2, Connections: 100, PerSecond: 450, CPUNS: time.Millisecond, Lines: 400},
		{Tool: "tcplife", Round: 2, Connections: 100, PerSecond: 400, Lost: &lost},
		{Tool: reference, Round: 3, Statistics: true, Connections: 100, Programs: programs(200, 300)},
		{Tool: "tcplife", Round: 3, Statistics: true, Connections: 50, Programs: programs(500)},
	}
	all := summarize([]tool{{name: noTracer}, {name: reference, command: []string{"x"}}, {name: "tcplife", command: []string{"y"}}}, samples)
	none, twtrace, tcplife := all[0], all[1], all[2]

	for _, test := range []struct {
		what string
		got  *spread
		want spread
	}{
		{"no tracer's throughput", none.Throughput, spread{1, 1, 1}},
		{"twtrace's throughput", twtrace.Throughput, spread{0.9, 0.9, 0.9}},
		{"tcplife's rate", tcplife.PerSecond, spread{600, 400, 800}},
		{"tcplife's throughput", tcplife.Throughput, spread{0.8, 0.8, 0.8}},
		{"twtrace's BPF time", twtrace.BPF, spread{5, 5, 5}},
		{"tcplife's BPF ratio", tcplife.BPFRatio, spread{2, 2, 2}},
		{"twtrace's CPU", twtrace.CPU, spread{1000, 1000, 1000}},
		{"twtrace's lines", twtrace.Lines, spread{4, 4, 4}},
		{"tcplife's losses", tcplife.Lost, spread{3000, 3000, 3000}},
	} {
		if test.got == nil || *test.got != test.want {
			t.Errorf("%s: got %v, want %v", test.what, test.got, test.want)
		}
	}
	if none.BPF != nil || none.CPU != nil || none.PeakRSS != nil {
		t.Errorf("no tracer has costs: %+v", none)
	}
	if twtrace.Lost != nil {
		t.Errorf("twtrace said nothing of losses, and has %v", twtrace.Lost)
	}
	want := cost{Name: "p", Type: "Tracing", Runs: 0.2, PerRun: 25, PerConnection: 5, Misses: 2}
	if len(twtrace.Programs) != 1 || twtrace.Programs[0] != want {
		t.Errorf("programs: got %+v, want %+v", twtrace.Programs, want)
	}
}

func TestGrowth(t *testing.T) {
	before := []kernel.BPFProgram{{ID: 1, Name: "a", Runs: 10, RunTime: 100, Misses: 1}, {ID: 2, Runs: 5, RunTime: 50}}
	after := []kernel.BPFProgram{
		{ID: 1, Name: "a", Type: "Tracing", Runs: 30, RunTime: 400, Misses: 3},
		{ID: 2, Runs: 9, RunTime: 90},
		{ID: 3, Runs: 1, RunTime: 7}, // loaded meanwhile
	}
	got, others := growth(before, after, map[uint32]bool{1: true})
	want := program{Name: "a", Type: "Tracing", Runs: 20, TimeNS: 300, Misses: 2}
	if len(got) != 1 || got[0] != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if others != 47 {
		t.Errorf("others took %d ns, want 47", others)
	}
}

func TestLost(t *testing.T) {
	if n, err := lostInTable(nil, nil); n != nil || err != nil {
		t.Errorf("no table: %v, %v", n, err)
	}
	for _, test := range []struct {
		name         string
		lost         func(last, stderr []byte) (*uint64, error)
		last, stderr string
		want         uint64
		fails        bool
	}{
		{name: "end", lost: lostInEnd, last: `{"event":"end","lost":{}}`},
		{name: "end with losses", lost: lostInEnd, last: `{"event":"end","lost_by_stage":{"ring":3,"recursion":4}}`, want: 7},
		{name: "end with losses, schema 1", lost: lostInEnd, last: `{"event":"end","lost":{"ring":3,"recursion":4}}`, want: 7},
		{name: "no end", lost: lostInEnd, last: `{"event":"open"}`, fails: true},
		{name: "cut off", lost: lostInEnd, last: `{"event":"en`, fails: true},
		{name: "table", lost: lostInTable, last: "# 22:14:07Z host=vm lost_total=1 parked=2\nA B\n\n# 22:14:08Z host=vm lost_total=23 parked=2\nA B\n", want: 23},
		{name: "table, schema 1", lost: lostInTable, last: "# 22:14:07Z host=vm lost=1 in_s=2\nA B\n\n# 22:14:08Z host=vm lost=23 in_s=2\nA B\n", want: 23},
		{name: "summary", lost: lostInSummary, stderr: "twtrace: 1,234 records, 5 KiB in 1 file, 6,789 lost\n", want: 6789},
		{name: "no summary", lost: lostInSummary, stderr: "twtrace: disk full\n", fails: true},
		{name: "libbpf", lost: lostInErrors},
		{name: "libbpf with losses", lost: lostInErrors, stderr: "lost 12 events on CPU #0!\nLost 30 events on CPU #1!\n", want: 42},
		{name: "too many", lost: lostInErrors, stderr: "lost 99999999999999999999 events", fails: true},
	} {
		got, err := test.lost([]byte(test.last), []byte(test.stderr))
		switch {
		case test.fails:
			if err == nil {
				t.Errorf("%s: no error", test.name)
			}
		case err != nil:
			t.Errorf("%s: %v", test.name, err)
		case *got != test.want:
			t.Errorf("%s: got %d, want %d", test.name, *got, test.want)
		}
	}
}

func TestOutput(t *testing.T) {
	long := strings.Repeat("x", 3*maxTail/2)
	for _, test := range []struct {
		name, text, last string
		lines            uint64
	}{
		{"nothing", "", "", 0},
		{"no line", "half", "half", 0},
		{"lines", "first\nsecond\nend\n", "end", 3},
		{"longer than is kept", long + "\n" + long + "\nend\n", "end", 3},
	} {
		for how, reader := range map[string]func(io.Reader) io.Reader{
			"whole": func(r io.Reader) io.Reader { return r }, "bytewise": iotest.OneByteReader,
		} {
			o := newOutput()
			if err := o.read(reader(strings.NewReader(test.text))); err != nil {
				t.Fatal(err)
			}
			<-o.first // closed in any case
			if o.firstTime.IsZero() != (test.lines == 0) {
				t.Errorf("%s, %s: the first line came at %v", test.name, how, o.firstTime)
			}
			if got := string(o.last()); got != test.last || o.lines != test.lines {
				t.Errorf("%s, %s: %d lines, last %.20q; want %d, %q", test.name, how, o.lines, got, test.lines, test.last)
			}
		}
	}
}

func TestField(t *testing.T) {
	text := []byte("pos:\t0\nprog_id:\t123\nVmHWM:\t  4096 kB\n")
	for name, want := range map[string]string{"prog_id:": "123", "VmHWM:": "4096 kB"} {
		if got, err := field(text, name); err != nil || got != want {
			t.Errorf("%s got %q, %v; want %q", name, got, err, want)
		}
	}
	if got, err := field(text, "none:"); err == nil {
		t.Errorf("a field that is not there is %q", got)
	}
}

func TestPrint(t *testing.T) {
	seven := &spread{7, 6, 8}
	r := result{
		Kernel: "6.18", Connections: 10, Absent: map[string]string{"tcplife": "tcplife is not installed"},
		Tools: []summary{
			{Tool: noTracer, PerSecond: &spread{100, 100, 100}},
			{Tool: reference, BPF: seven, Programs: []cost{{Name: "state", Type: "Tracing", Runs: 10, PerRun: 200, PerConnection: 2000}}},
		},
		Samples: []sample{{Tool: reference, Statistics: true, Connections: 10, OthersNS: 500}},
	}
	var out bytes.Buffer
	if err := r.print(&out); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{
		"BPF NS/CONN", "7 (6..8)", "no tracer      100 ", "state        Tracing  10.00", "not measured: tcplife: tcplife is not installed",
		"for 50 ns a connection",
	} {
		if !strings.Contains(out.String(), want) {
			t.Errorf("%q is missing in\n%s", want, out.String())
		}
	}
	r.Tools[1].BPF = &spread{7000, 6000, 8000}
	if got, want := r.markdown(), "| twtrace trace | - | 7.0 us (6.0 to 8.0) | - | - | - |\n"; !strings.HasSuffix(got, want) {
		t.Errorf("got\n%swant it to end with\n%s", got, want)
	}
}

// The delay of a record is from its time to when it was read; other lines have none.
func TestLatency(t *testing.T) {
	o := newOutput()
	if p50, p99 := o.latency(); p50 != 0 || p99 != 0 {
		t.Errorf("of nothing: %v, %v", p50, p99)
	}
	var b bytes.Buffer
	b.WriteString("no record\n")
	for range 100 {
		b.WriteString(timeField + time.Now().Add(-time.Second).Format(time.RFC3339Nano) + "\"}\n" + `{"event":"lost"}` + "\n")
	}
	o.take(b.Bytes())
	p50, p99 := o.latency()
	if len(o.delays) != timed || p50 < time.Second || p99 < p50 || p99 > time.Minute {
		t.Errorf("%d delays, %v, %v", len(o.delays), p50, p99)
	}
}

// What -only names is measured beside the two that all are compared with.
func TestOnly(t *testing.T) {
	for _, tt := range []struct{ before, only, want string }{
		{"", "bpftrace,tcplife", "no tracer,twtrace trace,tcplife,bpftrace"},
		{"old", "twtrace trace before,nothing", "no tracer,twtrace trace,twtrace trace before,nothing"},
	} {
		var got []string
		some, err := tools("twtrace", tt.before, "", tt.only)
		for _, t := range some {
			got = append(got, t.name)
		}
		if err != nil || strings.Join(got, ",") != tt.want {
			t.Errorf("%q, %v; want %q", got, err, tt.want)
		}
	}
}
