package report

import (
	"bytes"
	"encoding/json"
	"flag"
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/rows"
)

var update = flag.Bool("update", false, "write docs/report.schema.json")

const (
	second = int64(time.Second)
	begin  = 1795385647 * second // 2026-11-22T22:14:07Z
)

// nasty is a name that tries to be more than one in each form.
const nasty = "</script><img src=x onerror=\"document.title='taken'\"><!-- `|*_[a](http://x) \x1b[31m\n# end -->{{.}}"

var db = netip.MustParseAddrPort("10.2.0.9:5432")

func client(kind event.Kind, at int64, port uint16, comm string) event.Event {
	return event.Event{Time: at, Kind: kind, NetNS: 7, Cookie: uint64(port), Role: event.Client, Closer: event.LocalSide, Owner: event.ByConnect,
		Local: netip.AddrPortFrom(netip.MustParseAddr("10.0.0.7"), port), Remote: db, Process: event.Proc{PID: 4242, Comm: comm}}
}

// sample is a report of a little of everything, of a process and a host of that name.
func sample(name string) *Report {
	b := NewBuilder(begin)
	table := conn.New(conn.Options{})
	add := func(e event.Event) {
		table.Apply(&e)
		b.Add(&e)
	}
	for i := range int64(20) {
		open := client(event.Open, begin+i*second, uint16(40000+i), name)
		enter := client(event.TimeWaitEnter, open.Time+3_000_000, uint16(40000+i), name)
		enter.Reason, enter.Life, enter.Old, enter.New = event.ActiveClose, 3_000_000, event.FinWait2, event.TimeWait
		add(open)
		add(enter)
		b.Level(enter.Time, uint64(i+1), 1)
	}
	fail := client(event.Fail, begin+20*second, 0, name)
	fail.Call, fail.Errno, fail.Cause = event.Connect, uint16(unix.EADDRNOTAVAIL), event.NoPort
	add(fail)
	for _, k := range []event.Kind{event.StormStart, event.StormUpdate, event.StormEnd} {
		s := client(k, begin+int64(k)*second, 0, name)
		s.Reason, s.Storm = event.Ports, event.NewStorm()
		s.Storm.Severity, s.Storm.Used, s.Storm.Usable, s.Storm.Rate, s.Storm.ExhaustsIn = event.Crit, uint64(k), 28232, 12.5, float64(k)
		b.Add(&s)
	}
	b.Add(&event.Event{Time: begin + 5*second, Kind: event.Lost, Stage: event.StageRing, Count: 3})
	g := pressure.Gauge{Key: pressure.Key{NetNS: 7, Local: netip.MustParseAddr("10.0.0.7"), Remote: db}, TimeWait: 20, Limit: 40}
	g.Used = 20
	found := advice.Finding{ID: "TW101", Severity: event.Crit, Title: "ports held by " + name, What: name, Who: advice.Who(name), When: name, Why: name,
		Now: []advice.Remedy{{Kind: "now", Text: name, Shell: advice.Shell{Run: name, Undo: name}, Risk: name}}, Evidence: []advice.Evidence{{Name: name, Value: 20, Limit: 40, Source: name}}}
	b.Sample(begin+21*second, &pressure.Reading{Gauges: []pressure.Gauge{g}}, []advice.Finding{found})
	var snapshot conn.Snapshot
	table.Snapshot(begin+21*second, &snapshot)
	list, _ := new(rows.Builder).Build(&snapshot, nil)
	return b.Report(End{Now: begin + 21*second, Rows: list, Damage: []string{name}, Limits: GroupLimits(map[uint32]map[string]string{7: {name: name}}),
		Start: &event.StartInfo{Host: name, Kernel: name, Filter: name, Version: name, BootID: name, Hooks: []string{name}, Missing: []string{name}},
		End:   &event.EndInfo{Why: name, Unnamed: map[string]uint64{name: 1}, Drift: []event.Drift{{NetNS: 7, Births: 1}}}})
}

func written(t *testing.T, write func(*bytes.Buffer, *Report) error, r *Report) string {
	t.Helper()
	var b bytes.Buffer
	if err := write(&b, r); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func html(t *testing.T, r *Report) string {
	return written(t, func(b *bytes.Buffer, r *Report) error { return WriteHTML(b, r) }, r)
}

func markdown(t *testing.T, r *Report) string {
	return written(t, func(b *bytes.Buffer, r *Report) error { return WriteMarkdown(b, r) }, r)
}

func TestReportTellsWhatHappened(t *testing.T) {
	r := sample("checkout")
	if r.Totals != (Totals{Opened: 20, Ended: 20, Begins: 20, Failed: 1, Lost: 3}) {
		t.Errorf("totals %+v", r.Totals)
	}
	if r.Verdict != "crit" || len(r.Findings) != 1 || len(r.Storms) != 1 || len(r.Owners) != 1 || len(r.Destinations) != 1 || len(r.Failures) != 1 {
		t.Fatalf("verdict %s, %d findings, %d storms, %d owners, %d destinations, %d failures; want crit and one of each",
			r.Verdict, len(r.Findings), len(r.Storms), len(r.Owners), len(r.Destinations), len(r.Failures))
	}
	s := r.Storms[0]
	if s.Begin != stamp(begin+int64(event.StormStart)*second) || s.End != stamp(begin+int64(event.StormEnd)*second) ||
		s.Used != uint64(event.StormEnd) || *s.Foreseen != float64(event.StormStart) {
		t.Errorf("storm %+v", s)
	}
	d := r.Destinations[0]
	if d.Used != 20 || d.Usable != 40 || d.Opened != 20 || d.NoPort != 1 || d.Comm != "checkout" || d.PID != 4242 {
		t.Errorf("destination %+v", d)
	}
	o := r.Owners[0]
	if o.Name != "checkout" || o.Opened != 20 || o.Begins != 20 || o.Local != 20 || o.Closers != 20 || o.Failed != 1 {
		t.Errorf("owner %+v", o)
	}
	if p := r.Peaks; p.TimeWait.Value != 20 || p.PortsShare.Value != 0.5 {
		t.Errorf("peaks %+v", p)
	}
	if l := r.Lifetimes; l.Known != 20 || len(l.Bars) != 1 || l.Bars[0].Client != 20 || l.Bars[0].From > 3_000_000 || l.Bars[0].To <= 3_000_000 {
		t.Errorf("lifetimes %+v", l)
	}
}

// TestNamesStayNames: in no form does a name from outside become more than text.
func TestNamesStayNames(t *testing.T) {
	r := sample(nasty)
	page := html(t, r)
	for _, bad := range []string{"<img", "<!--", "onerror=\"", "\x1b"} {
		if strings.Contains(strings.ReplaceAll(page, uplotScript, ""), bad) {
			t.Errorf("the page has %q", bad)
		}
	}
	if n := strings.Count(page, "<script"); n != 3 || strings.Count(page, "</script>") != 3 {
		t.Errorf("%d scripts begin and %d end, want 3", n, strings.Count(page, "</script>"))
	}
	if n := strings.Count(page, "&lt;img src=x"); n < 10 {
		t.Errorf("the name is there %d times only", n)
	}
	md := markdown(t, r)
	spans := regexp.MustCompile("`[^`\n]*`")
	for _, line := range strings.Split(md, "\n") {
		rest := spans.ReplaceAllString(line, "")
		for _, bad := range []string{`<`, `[`, "`"} {
			if i := strings.Index(rest, bad); i > 0 && rest[i-1] != '\\' || i == 0 {
				t.Errorf("Markdown has a bare %q: %s", bad, line)
			}
		}
	}
	if strings.Contains(md, "\n# end") || strings.Contains(md, "\x1b") {
		t.Error("Markdown has a line or an escape of the name's own")
	}
	data, err := r.chartData()
	if err != nil || !json.Valid(data) || bytes.ContainsAny(data, "<>&") {
		t.Errorf("the data of the charts: %v: %s", err, data)
	}
}

// TestTableRowsFit: a name takes no row apart.
func TestTableRowsFit(t *testing.T) {
	bars := regexp.MustCompile(`\\\|`)
	columns := 0
	for _, line := range strings.Split(markdown(t, sample(nasty)), "\n") {
		n := strings.Count(bars.ReplaceAllString(line, ""), "|")
		if !strings.HasPrefix(line, "|") {
			columns = 0
			continue
		}
		if columns == 0 {
			columns = n
		}
		if n != columns {
			t.Errorf("%d bars, want %d: %s", n, columns, line)
		}
	}
}

var (
	policyOf = regexp.MustCompile(`http-equiv="Content-Security-Policy" content="([^"]*)"`)
	inlineOf = regexp.MustCompile(`(?s)<(script|style)>(.*?)</(?:script|style)>`)
)

// TestPolicyFitsThePage: the policy lets nothing run or style but what is there.
func TestPolicyFitsThePage(t *testing.T) {
	page := html(t, sample("checkout"))
	policy := strings.NewReplacer("&#39;", "'", "&#43;", "+").Replace(policyOf.FindStringSubmatch(page)[1])
	if !strings.HasPrefix(policy, "default-src 'none';") || strings.Contains(policy, "unsafe") || strings.Contains(policy, "http") {
		t.Errorf("the policy is %s", policy)
	}
	inline := inlineOf.FindAllStringSubmatch(page, -1)
	if len(inline) != 3 {
		t.Fatalf("%d scripts and styles, want 3", len(inline))
	}
	for _, m := range inline {
		if !strings.Contains(policy, m[1]+"-src ") || !strings.Contains(policy, hash(m[2])) {
			t.Errorf("the policy lacks %s %s", m[1], hash(m[2]))
		}
	}
	if strings.Count(policy, "sha256-") != 3 || strings.Contains(page, " style=") {
		t.Error("the policy has other hashes, or the page has styles in attributes")
	}
	if !strings.Contains(page, "Permission is hereby granted") {
		t.Error("the page lacks the licence of uPlot")
	}
}

func TestSameBytes(t *testing.T) {
	one, two := sample("checkout"), sample("checkout")
	if html(t, one) != html(t, two) || markdown(t, one) != markdown(t, two) {
		t.Error("the same events make different pages")
	}
}

// TestEmpty: a recording of nothing has a report.
func TestEmpty(t *testing.T) {
	r := NewBuilder(begin).Report(End{Now: begin, Start: &event.StartInfo{}})
	if r.Verdict != "unknown" {
		t.Errorf("verdict %s, want unknown", r.Verdict)
	}
	for _, text := range []string{html(t, r), markdown(t, r)} {
		if !strings.Contains(text, "No client connections.") || strings.Contains(text, "NaN") {
			t.Errorf("%s", text)
		}
	}
}

// TestSchemaIsPublished checks docs/report.schema.json against the types.
func TestSchemaIsPublished(t *testing.T) {
	path := filepath.Join("..", "..", "docs", "report.schema.json")
	if *update {
		if err := os.WriteFile(path, JSONSchema(), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, JSONSchema()) {
		t.Error("docs/report.schema.json is not up to date: go test ./internal/report -update")
	}
	if strings.Contains(string(got), `"description": ""`) {
		t.Error("a field has no description")
	}
}

func TestFindings(t *testing.T) {
	var f findings
	see := func(at int64, s event.Severity, used float64, who string) {
		f.see(at, &advice.Finding{ID: "TW101", Severity: s, Who: advice.Who(who), When: who, Evidence: []advice.Evidence{{Value: used}}, Scope: advice.Scope{Raddr: "10.2.0.9"}})
	}
	see(begin, event.Warn, 10, "a")
	see(begin+second, event.Crit, 20, "b")
	see(begin+2*second, event.Crit, 15, "c")
	f.see(begin, &advice.Finding{ID: "TW000", Severity: event.OK})
	got, _ := f.report(nil)
	if len(got) != 1 {
		t.Fatalf("%d findings, want one: %+v", len(got), got)
	}
	if x := got[0]; x.Who != "b" || x.At != stamp(begin+second) || x.First != stamp(begin) || x.Last != stamp(begin+2*second) {
		t.Errorf("%+v", x)
	}
	f = findings{}
	f.see(begin, &advice.Finding{ID: "TW000", Severity: event.OK})
	if got, _ := f.report(nil); len(got) != 1 {
		t.Errorf("%d findings where nothing is wrong, want the one that says so", len(got))
	}
}

// TestFindingsUnderAnother: what is part of another finding's story is reported there, also
// if it was found alone before that, unless it was worse then.
func TestFindingsUnderAnother(t *testing.T) {
	ports := func(s event.Severity) advice.Finding {
		return advice.Finding{ID: "TW106", Severity: s, Short: "ports run out", Scope: advice.Scope{Raddr: "10.2.0.9"}}
	}
	for _, tt := range []struct {
		alone, together event.Severity
		want            string
	}{
		{event.Warn, event.Warn, "TW207 warn [TW106 ports run out]; "},
		{event.Crit, event.Warn, "TW106 crit []; TW207 warn [TW106 ports run out]; "},
	} {
		var f findings
		alone, leak := ports(tt.alone), advice.Finding{ID: "TW207", Severity: tt.together, Under: []advice.Finding{ports(tt.together)}}
		f.see(begin, &alone)
		f.see(begin+second, &leak)
		got := ""
		list, _ := f.report(nil)
		for _, x := range list {
			var under []string
			for _, c := range x.Consequences {
				under = append(under, c.ID+" "+c.What)
			}
			got += fmt.Sprintf("%s %s %v; ", x.ID, x.Severity, under)
		}
		if got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

func TestGaugesAreBounded(t *testing.T) {
	var g gauges
	for i := range 3 * maxGauges {
		at := netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, byte(i >> 16), byte(i >> 8), byte(i)}), 80)
		v := pressure.Gauge{Key: pressure.Key{Remote: at}, Limit: 100_000, Established: i + 1}
		v.Used = float64(i + 1)
		g.see(begin, &v)
	}
	if len(g.by) > maxGauges {
		t.Errorf("%d gauges are held", len(g.by))
	}
	if top := g.by[g.sorted()[0]].used; top != 3*maxGauges {
		t.Errorf("the fullest was %d, want %d", top, 3*maxGauges)
	}
}

func TestFailuresAreBounded(t *testing.T) {
	var f failures
	for i := range 3 * maxHeld {
		f.add(&event.Event{Kind: event.Fail, Time: begin, Call: event.Connect, Errno: 111, Process: event.Proc{PID: uint32(i + 1)}})
	}
	list, left := f.report()
	if len(list) != maxFailures || uint64(len(list))+left != 3*maxHeld {
		t.Errorf("%d kinds and %d calls left out, want %d calls in all", len(list), left, 3*maxHeld)
	}
	if !slices.ContainsFunc(list, func(x Failure) bool { return x.Errno == "ECONNREFUSED" }) {
		t.Errorf("%+v", list)
	}
}

// TestNames: a name of the report that is public elsewhere means the same, and has its
// type; none is one that was given up; and each has its documentation.
func TestNames(t *testing.T) {
	terms := output.Terms()
	var check func(in reflect.Type)
	check = func(in reflect.Type) {
		for i := range in.NumField() {
			f := in.Field(i)
			name, _ := strings.CutSuffix(f.Tag.Get("json"), ",omitempty")
			if name == "" {
				continue
			}
			of := f.Type
			list := of.Kind() == reflect.Slice
			for of.Kind() == reflect.Pointer || of.Kind() == reflect.Slice {
				of = of.Elem()
			}
			at := in.Name() + "." + name
			if description(name, f.Tag.Get("doc")) == "" {
				t.Errorf("%s has no documentation", at)
			}
			term, ok := output.FindTerm(name)
			switch number := of.Kind() == reflect.Uint64 || of.Kind() == reflect.Float64 || of == reflect.TypeFor[Peak](); {
			case !ok || list:
			case term.Type == output.TypeDuration && of.Kind() != reflect.Int64, (term.Type == output.TypeUint || term.Type == output.TypeFloat) && !number && of.Kind() != reflect.Uint32 && of.Kind() != reflect.Uint16:
				t.Errorf("%s is a %s, and elsewhere %v", at, f.Type, term.Type)
			}
			for _, term := range terms {
				if term.WasIn(name, "report") && !list {
					t.Errorf("%s is now called %s", at, term.Name)
				}
			}
			if of.Kind() == reflect.Struct && of != reflect.TypeFor[Drift]() { // an item of the term drift, with differences
				check(of)
			}
		}
	}
	check(reflect.TypeFor[Report]())
}

// TestSeveralShare: workers of one program stand together, with their number and how many
// other programs there are; none of them alone.
func TestSeveralShare(t *testing.T) {
	e := event.Event{Time: begin, Kind: event.StormStart, NetNS: 7, Reason: event.Ports, Process: event.Proc{Comm: "nginx"},
		Local: netip.MustParseAddrPort("10.0.0.7:0"), Remote: netip.MustParseAddrPort("10.2.0.9:5432"),
		Storm: &event.StormInfo{Severity: event.Crit, Used: 20, Usable: 40, PIDs: 2, Held: 12, Others: 1, ExhaustsIn: -1}}
	b := NewBuilder(begin)
	b.Add(&e)
	table := conn.New(conn.Options{})
	for c := range uint64(10) {
		pid, comm := uint32(3959+c%2), "nginx"
		if c >= 8 {
			pid, comm = 7, "orders"
		}
		table.Apply(&event.Event{Time: begin, Kind: event.Open, Cookie: 1 + c, NetNS: 7, Role: event.Client, Local: netip.AddrPortFrom(e.Local.Addr(), uint16(40000+c)),
			Remote: e.Remote, Opener: event.Proc{PID: pid, Comm: comm}})
	}
	var snapshot conn.Snapshot
	table.Snapshot(begin+second, &snapshot)
	list, _ := new(rows.Builder).Build(&snapshot, nil)
	r := b.Report(End{Now: begin + second, Rows: list, Start: &event.StartInfo{}})
	if s := r.Storms[0]; s.Comm != "nginx" || s.PID != 0 || s.Processes != 2 || s.Others != 1 {
		t.Errorf("storm %+v", s)
	}
	if d := r.Destinations[0]; d.Comm != "nginx" || d.PID != 0 || d.Procs != 2 || d.Most != 8 || d.Opened != 10 || d.Others != 1 {
		t.Errorf("destination %+v", d)
	}
	if n := strings.Count(markdown(t, r), "nginx (2 processes) +1 more"); n != 3 { // in the storm, its start, and the destination
		t.Errorf("named %d times, want 3:\n%s", n, markdown(t, r))
	}
}

// TestPeakCounted: a call that found no port counts what is in use; how many ports connect()
// would take over is an estimate.
func TestPeakCounted(t *testing.T) {
	g := pressure.Gauge{Key: pressure.Key{Remote: netip.MustParseAddrPort("127.0.0.1:80")}, TimeWait: 100, Reusable: 50, Limit: 100}
	g.Used = 50
	for refused, want := range map[uint64]float64{0: 50, 1: 100} {
		g.Refused = refused
		if c := counted(&g); c.Used != want {
			t.Errorf("%d refused: %v ports in use, want %v", refused, c.Used, want)
		}
	}
}
