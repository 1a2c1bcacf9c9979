package advice

import (
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
)

// healthy is a namespace of an ordinary host where little happens.
func healthy() Facts {
	return Facts{
		Time:  time.Date(2026, 11, 22, 22, 14, 7, 0, time.UTC),
		Host:  kernel.Host{Hostname: "web-07", Release: "6.12.0"},
		NetNS: kernel.NetNS{Inum: 4026531840},
		Limits: kernel.Limits{PortLow: 32768, PortHigh: 60999, MaxTWBuckets: 131072, TWReuse: 2, TWReuseDelayMS: 1000,
			FinTimeout: time.Minute, Timestamps: 1, UnprivPortStart: 1024},
		MemAvailable: 4 << 30,
	}
}

// steadily spreads count sockets in TIME_WAIT over the minute that they last.
func steadily(count int) (e pressure.Expiry) {
	for i := range 60 {
		e[i] = uint32(count*(i+1)/60 - count*i/60)
	}
	return e
}

// destination is one with that many sockets in TIME_WAIT, begun steadily.
func destination(local, remote string, timeWait int) Destination {
	d := Destination{Local: netip.MustParseAddr(local), Remote: netip.MustParseAddrPort(remote), Expiry: steadily(timeWait)}
	d.States.Full[event.TimeWait] = uint32(timeWait)
	return d
}

// with adds destinations to f, and what they hold to its totals.
func (f Facts) with(all ...Destination) Facts {
	f.Destinations = append(f.Destinations, all...)
	for _, d := range all {
		f.After.TimeWait += uint64(d.States.Of(event.TimeWait)) + uint64(d.States.Parked)
		for i, n := range d.Expiry {
			f.TimeWait[i] += n
		}
	}
	f.Before = f.After
	return f
}

func find(t *testing.T, all []Finding, id string) Finding {
	t.Helper()
	for _, x := range all {
		if x.ID == id {
			return x
		}
	}
	t.Fatalf("no %s among %v", id, ids(all))
	return Finding{}
}

func ids(all []Finding) (list []string) {
	for _, x := range all {
		list = append(list, x.ID+" "+x.Severity.String())
	}
	return list
}

// harmful is what no remedy may name, whatever the finding.
var harmful = regexp.MustCompile(`tcp_fin_timeout|tcp_tw_recycle|SO_LINGER|tcp_timestamps=0|rfc1337`)

// lowered is a command that sets tcp_max_tw_buckets.
var lowered = regexp.MustCompile(`tcp_max_tw_buckets=(\d+)`)

// checkWords checks what holds for every finding.
func checkWords(t *testing.T, all []Finding) {
	t.Helper()
	for _, x := range all {
		if x.Title == "" || x.What == "" || x.Group != "host" || x.Scope.NetNS == 0 {
			t.Errorf("%s lacks something: %+v", x.ID, x)
		}
		if x.Severity >= Warn && (x.Why == "" || x.Who == "" || x.When == "" || len(x.Now) == 0 || len(x.Evidence) == 0) {
			t.Errorf("%s is %v and does not say what to do, or why: %+v", x.ID, x.Severity, x)
		}
		for _, r := range append(slices.Clone(x.Now), x.Fix...) {
			words := r.Text + " " + r.Command
			if x.ID == "TW303" {
				words = restored.ReplaceAllString(words, "")
			}
			if harmful.MatchString(words) {
				t.Errorf("%s advises what it must not: %s", x.ID, words)
			}
			if strings.Contains(r.Command, "sysctl -w") && (r.Undo == "" || r.Risk == "") {
				t.Errorf("%s: %s has no undo or no risk", x.ID, r.Command)
			}
			if to, from := lowered.FindStringSubmatch(r.Command), lowered.FindStringSubmatch(r.Undo); to != nil {
				var high, low uint64
				fmt.Sscan(to[1], &high)
				fmt.Sscan(from[1], &low)
				if high <= low {
					t.Errorf("%s lowers the limit from %d to %d", x.ID, low, high)
				}
			}
		}
	}
}

// TestRemediesOfPorts: which remedies are named depends on what would work.
func TestRemediesOfPorts(t *testing.T) {
	base := func() Facts { return healthy().with(destination("10.0.0.7", "10.2.0.9:5432", 27900)) }
	const reuse, widen = "tcp_tw_reuse", "ip_local_port_range"
	for _, tt := range []struct {
		name   string
		change func(*Facts)
		want   []string // sysctls set by commands, in order
	}{
		{"default", func(*Facts) {}, []string{reuse, widen}},
		{"timestamps off", func(f *Facts) { f.Limits.Timestamps = 0 }, []string{widen}},
		{"reuse on and in vain", func(f *Facts) { f.Limits.TWReuse = 1 }, []string{widen}},
		{"range wide already", func(f *Facts) {
			f.Limits.PortLow, f.Limits.PortHigh = 1024, 65000
			f.Destinations[0] = destination("10.0.0.7", "10.2.0.9:5432", 63500)
		}, []string{reuse}},
	} {
		f := base()
		tt.change(&f)
		var got []string
		for _, r := range find(t, Diagnose(f), "TW101").Now {
			if r.Command != "" {
				name, _, _ := strings.Cut(strings.TrimPrefix(r.Command, "sysctl -w net.ipv4."), "=")
				got = append(got, name)
			}
		}
		if !slices.Equal(got, tt.want) {
			t.Errorf("%s: commands set %v, want %v", tt.name, got, tt.want)
		}
	}
}

func TestWiderRange(t *testing.T) {
	f := healthy()
	f.Enter = "ip netns exec web "
	f.Limits.ReservedPorts = "8080,9000-9010"
	for _, at := range []string{"0.0.0.0:22", "0.0.0.0:8080", "[::]:40000", "127.0.0.1:3306", "10.0.0.1:3306"} {
		f.Listeners = append(f.Listeners, Listener{Local: netip.MustParseAddrPort(at)})
	}
	got, ok := widerRange(f)
	const command = `ip netns exec web sysctl -w net.ipv4.ip_local_reserved_ports=8080,9000-9010,3306,40000 net.ipv4.ip_local_port_range="1024 65535"`
	const undo = `ip netns exec web sysctl -w net.ipv4.ip_local_port_range="32768 60999" net.ipv4.ip_local_reserved_ports=8080,9000-9010`
	if !ok || got.Command != command || got.Undo != undo {
		t.Errorf("%v\ngot  %s\nwant %s\ngot  %s\nwant %s", ok, got.Command, command, got.Undo, undo)
	}
	f.Limits.UnprivPortStart = 2000
	if got, _ := widerRange(f); !strings.Contains(got.Command, `"2000 65535"`) {
		t.Errorf("the kernel refuses a range below 2000: %s", got.Command)
	}
}

func TestWhyPortsAreHeldByLive(t *testing.T) {
	for state, want := range map[event.State]string{
		event.Established: "a pool that leaks", event.SynSent: "does not answer",
		event.CloseWait: "the client never does", event.FinWait2: "the peer does not",
	} {
		d := destination("10.0.0.7", "10.2.0.9:5432", 100)
		d.States.Full[state] = 27900
		got := find(t, Diagnose(healthy().with(d)), "TW106")
		if !strings.Contains(got.Why+got.Fix[0].Text, want) {
			t.Errorf("%v: %s; %s", state, got.Why, got.Fix[0].Text)
		}
	}
	d := destination("10.0.0.7", "10.2.0.9:5432", 100)
	d.States.Parked = 27900
	if got := find(t, Diagnose(healthy().with(d)), "TW106"); !strings.Contains(got.Why, "FIN_WAIT2") {
		t.Errorf("parked: %s", got.Why)
	}
}

func TestServerInsideThePortRange(t *testing.T) {
	f := healthy()
	f.Listeners = []Listener{{Local: netip.MustParseAddrPort("0.0.0.0:40000")}}
	f.Listeners[0].States.Full[event.TimeWait] = 5000
	x := find(t, Diagnose(f), "TW204")
	if !strings.Contains(x.What, "inside ip_local_port_range") || !strings.Contains(x.Fix[1].Command, "ip_local_reserved_ports=40000") {
		t.Errorf("%s: %+v", x.What, x.Fix)
	}
	f.Limits.ReservedPorts, f.Limits.Reserved = "40000", 1
	if x := find(t, Diagnose(f), "TW204"); strings.Contains(x.What, "inside") {
		t.Errorf("a reserved port is not in the way: %s", x.What)
	}
}

func TestMoreBuckets(t *testing.T) {
	for _, tt := range []struct {
		limit, memory uint64
		steady        float64
		want          string
	}{
		{1000, 4 << 30, 900, "tcp_max_tw_buckets=4096"},
		{131072, 4 << 30, 130000, "tcp_max_tw_buckets=262144"},
		{131072, 4 << 30, 400000, "tcp_max_tw_buckets=524288"},
		{131072, 100 << 20, 130000, ""},             // 64 MiB more of 100 are too much
		{0, 4 << 30, 0, "tcp_max_tw_buckets=4096"},  //
		{1<<31 - 1, 1 << 50, 1, ""},                 // as high as an int goes
		{1 << 30, 1 << 50, 1, "buckets=2147483647"}, //
	} {
		f := healthy()
		f.Limits.MaxTWBuckets, f.MemAvailable = tt.limit, tt.memory
		got := moreBuckets(f, use{Outlook: pressure.Outlook{Steady: tt.steady}})
		if !strings.Contains(got.Command, tt.want) || (got.Command == "") != (tt.want == "") {
			t.Errorf("%d, %d bytes: %+v, want %q", tt.limit, tt.memory, got, tt.want)
		}
	}
}

func TestMostFindings(t *testing.T) {
	f := healthy()
	f.Limits.MaxTWBuckets = 1 << 30
	for i := range 20 {
		f = f.with(destination("10.0.0.7", fmt.Sprintf("10.2.0.%d:80", i), 27000+i))
	}
	var got []string
	for _, x := range Diagnose(f) {
		if x.ID == "TW101" {
			got = append(got, x.Scope.Raddr)
		}
	}
	if want := []string{"10.2.0.19", "10.2.0.18", "10.2.0.17", "10.2.0.16", "10.2.0.15"}; !slices.Equal(got, want) {
		t.Errorf("reported %v, want the fullest five: %v", got, want)
	}
}

func TestExitCode(t *testing.T) {
	for severity, want := range map[Severity]struct {
		code    int
		verdict string
	}{Skip: {3, "unknown"}, OK: {0, "ok"}, Info: {0, "ok"}, Warn: {1, "warn"}, Crit: {2, "crit"}} {
		r := Report{Findings: []Finding{{Severity: Skip}, {Severity: severity}}}
		if r.ExitCode() != want.code || r.Verdict() != want.verdict {
			t.Errorf("%v: exit %d, %s; want %v", severity, r.ExitCode(), r.Verdict(), want)
		}
	}
	if got := (Report{}).ExitCode(); got != 3 {
		t.Errorf("an empty report exits %d", got)
	}
}

// TestRuleTable: an ID stands once, and forever for one thing.
func TestRuleTable(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range append(slices.Clone(rules), limited, nothing) {
		if seen[r.id] || !regexp.MustCompile(`^TW\d{3}$`).MatchString(r.id) || r.title == "" || r.find == nil {
			t.Errorf("rule %q comes twice or lacks something", r.id)
		}
		seen[r.id] = true
	}
}
