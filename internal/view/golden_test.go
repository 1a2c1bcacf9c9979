package view

import (
	"flag"
	"fmt"
	"math"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/rows"
)

var update = flag.Bool("update", false, "write the golden files anew")

func addr(s string) netip.AddrPort { return netip.MustParseAddrPort(s) }

// from is the local end of a client: its port is not the row's.
func from(s string) netip.AddrPort { return netip.AddrPortFrom(netip.MustParseAddr(s), 0) }

func lives(d ...time.Duration) (h conn.Hist) {
	for _, v := range d {
		h.Add(v)
	}
	return h
}

func closed(local, remote uint64) (c [event.BothSides + 1]uint64) {
	c[event.LocalSide], c[event.RemoteSide] = local, remote
	return c
}

func base() *State {
	return &State{
		Time: time.Date(2026, 11, 22, 22, 14, 7, 0, time.UTC), Host: "web-07", Mode: "LIVE",
		Uptime: 3*time.Minute + 12*time.Second, Interval: time.Second, SelfCPU: 0.006, SelfRSS: 31 << 20,
		Buckets: Buckets{Max: 262144, Only: true, NetNS: 4026531840},
	}
}

// pastOf is the past of s by values of an interval each, the latest last.
func pastOf(s *State, timeWait, opened, failed []uint64) Series {
	p := Series{TimeWait: timeWait, Opened: opened, Failed: failed}
	for i := range timeWait {
		p.Ended = append(p.Ended, s.Time.Add(s.Interval*time.Duration(i+1-len(timeWait))).UnixNano())
	}
	return p
}

// rising is a minute in which n was reached from two thirds of it.
func rising(n uint64) (m [rows.MinuteBins]uint32) {
	for i := range m {
		m[i] = uint32(n * uint64(22+i) / 33)
	}
	return m
}

func quiet() *State {
	s := base()
	s.Established = 12
	s.Past = pastOf(s, []uint64{0, 0, 1, 0, 0}, nil, nil)
	return s
}

func first() *State { // before the first interval has passed
	s := quiet()
	s.Interval, s.Uptime, s.Past, s.SelfCPU = 0, 0, Series{}, -1
	nan := math.NaN()
	s.Rates = rows.Rates{In: nan, Out: nan, Open: nan, Close: nan, Fail: nan}
	s.Rows = []rows.Row{{Owner: event.Proc{PID: 7, Comm: "cron"}, Role: event.Client, Remote: addr("10.0.0.1:80"), Rates: s.Rates}}
	return s
}

func storm() *State {
	s := base()
	s.TimeWait, s.Parked, s.Established, s.Polled = 28412, 17, 140, true
	s.Rates = rows.Rates{In: 1185, Out: 1152, Open: 1187, Close: 1174, Fail: 12}
	var timeWait, opened, failed []uint64
	for i := range 98 {
		timeWait = append(timeWait, uint64(min(i*1100, 18000+i*i)))
		opened = append(opened, uint64(1000+10*(i%20)))
		failed = append(failed, uint64(max(i-90, 0)))
	}
	s.Past = pastOf(s, append(timeWait, s.TimeWait), append(opened, 1187), append(failed, 12))
	s.Buckets.Used = 28429
	s.Worst = &pressure.Gauge{Key: pressure.Key{NetNS: 4026531840, Local: netip.MustParseAddr("10.0.0.7"), Remote: addr("10.2.0.9:5432")},
		TimeWait: 26911, Parked: 4, Established: 20, Limit: 28232, Outlook: pressure.Outlook{Used: 26935}, Severity: event.Crit}
	s.Severity, s.Finding = event.Crit, "TW101  ports to 10.2.0.9:5432 run out in ~41s"
	row := func(sev event.Severity, comm string, pid uint32, peer string, tw uint64, open float64, life time.Duration, l, r uint64, ports int) rows.Row {
		return rows.Row{Severity: sev, NetNS: 4026531840, Owner: event.Proc{PID: pid, Comm: comm}, PIDs: 1, Owners: 1, Peers: 1, Role: event.Client,
			Local: from("10.0.0.7"), Remote: addr(peer), TimeWait: tw, Rates: rows.Rates{In: open, Out: max(open-32, 0), Open: open, Close: open},
			Life: lives(life, life, life, 4*life), Closer: closed(l, r), Ports: ports, Usable: 28232, Minute: rising(tw)}
	}
	s.Rows = []rows.Row{
		row(event.SeverityNone, "kubelet", 811, "127.0.0.1:10248", 12, 1.2, 1100*time.Microsecond, 60, 0, 12),
		row(event.SeverityNone, "java", 6120, "10.2.9.4:9092", 38, 14, 5*time.Second, 23, 77, 40),
		row(event.Crit, "checkout", 4242, "10.2.0.9:5432", 26911, 812, 3100*time.Microsecond, 48000, 0, 26935),
		row(event.SeverityNone, "envoy", 1187, "10.2.4.17:8080", 902, 201, 41*time.Millisecond, 61, 39, 912),
		row(event.Warn, "python3", 8810, "10.2.0.31:6379", 418, 96, 900*time.Microsecond, 100, 0, 430),
		{NetNS: 4026531840, Owner: event.Proc{PID: 990, Comm: "nginx"}, PIDs: 1, Owners: 1, Peers: 1, Clients: 112, Role: event.Server,
			Local: addr("10.0.0.7:443"), TimeWait: 121, Rates: rows.Rates{Open: 61, Close: 61, In: 5, Out: 5}, Established: 80,
			Life: lives(210*time.Millisecond, 10*time.Second), Closer: closed(8, 92)},
		{NetNS: 4026531840, PreStart: true, Owners: 1, Peers: 1, Role: event.Client, Local: from("10.0.0.7"), Remote: addr("10.2.0.9:5432"),
			TimeWait: 10, Rates: rows.Rates{Out: 9}, Ports: 26935, Usable: 28232},
		{NetNS: 4026531840, Kind: conn.GroupComm, Owner: event.Proc{Comm: "curl"}, PIDs: 1204, Owners: 1, Peers: 1, Role: event.Client,
			Local: from("10.0.0.7"), Remote: addr("10.2.0.80:80"), TimeWait: 1204, Rates: rows.Rates{In: 20, Out: 20, Open: 20.4, Close: 20},
			Life: lives(12 * time.Millisecond), Closer: closed(3, 1), Ports: 1204, Usable: 28232},
	}
	s.Rows[4].Fail = 12
	for i := range s.Rows {
		s.Rows[i].Polled = true
	}
	s.Trouble = troubleOf(s)
	s.Rows[1].Owner.Who = &event.Who{PodName: "shop/ledger-0", Container: "4f1c9aa0d3b2"}
	s.Rows[4].Owner.Who = &event.Who{Unit: "cron.service"}
	return s
}

func sixes() *State {
	s := base()
	s.TimeWait = 23000
	s.Rates = rows.Rates{In: 410, Out: 410, Open: 410, Close: 410}
	s.Buckets.Used, s.Buckets.Only, s.Buckets.NetNS = 23000, false, 4026532281
	far := addr("[2001:db8:85a3:8d3:1319:8a2e:370:7348]:65535")
	s.Worst = &pressure.Gauge{Key: pressure.Key{Local: netip.MustParseAddr("2001:db8:85a3:8d3:1319:8a2e:370:1"), Remote: far},
		TimeWait: 22990, Limit: 28232, Outlook: pressure.Outlook{Used: 22990}, Severity: event.Warn}
	for i, peer := range []netip.AddrPort{far, addr("[2001:db8::1]:80"), addr("[fe80::1%eth0]:443"), addr("[2001:db8:85a3:8d3:1319:8a2e:370:7348]:80")} {
		s.Rows = append(s.Rows, rows.Row{Owner: event.Proc{PID: 4194303, Comm: "fifteen-letters"}, PIDs: 1, Owners: 1, Peers: 1, Role: event.Client,
			Local: from("2001:db8:85a3:8d3:1319:8a2e:370:1"), Remote: peer, TimeWait: 22990 / uint64(1+i*i*9), Rates: rows.Rates{In: 400, Out: 400, Open: 400},
			Life: lives(time.Minute), Closer: closed(1, 2), Ports: 22990 / (1 + i*i*9), Usable: 28232})
	}
	s.Rows[0].Severity = event.Warn
	return s
}

func hostile() *State {
	s := base()
	s.Host = "evil\x1b[2J\x1b]0;title\x07host"
	s.TimeWait = 5
	s.Rates = rows.Rates{}
	s.Finding, s.Severity = "TW201  pool missing in \x1b[31mred\x1b[m", event.Warn
	for i, comm := range []string{"\x1b[2J\x1b[31m", "a b\tc\nd", "日本語プロセス", "-", "# remark", `back\slash`, "\u202egnp.exe", "x\x9b31my", "é\u0301\u0301\u0301", "\xff\xfe", ""} {
		s.Rows = append(s.Rows, rows.Row{Owner: event.Proc{PID: uint32(100 + i), Comm: comm}, PIDs: 1, Owners: 1, Peers: 1, Role: event.Client,
			Local: from("10.0.0.7"), Remote: addr("10.0.0.8:80"), TimeWait: 5})
	}
	return s
}

func losses() *State {
	s := storm()
	s.Host = "a-host-with-a-name-that-is-much-too-long.example.net"
	s.Lost[event.StageRing], s.Lost[event.StageMap], s.Lost[event.StageTW] = 12045, 3, 1
	s.TimeWait, s.Rates.In = 12_345_678, 1_234_567
	s.Rows[2].TimeWait, s.Rows[2].Open, s.Rows[2].In = 12_300_000, 1_200_000, 1_200_000
	s.Buckets = Buckets{Severity: event.Crit, Refusing: true, Used: 262144, Max: 262144, Only: true}
	s.Worst.Limit = 0
	for i := range 60 {
		s.Rows = append(s.Rows, rows.Row{Owner: event.Proc{PID: uint32(i + 1), Comm: "many"}, Role: event.Client, Peers: 1, Owners: 1,
			Local: from("10.0.0.7"), Remote: addr("10.9.9.9:80"), TimeWait: uint64(i), Ports: 1830})
	}
	return s
}

func processes() *State {
	s := storm()
	other := s.Rows[2]
	other.Remote, other.TimeWait, other.Ports, other.Severity = addr("10.2.0.10:5432"), 100, 100, event.SeverityNone
	s.Rows = append(s.Rows, other, rows.Row{Kind: conn.GroupOther, TimeWait: 3})
	return s
}

// thousands is a host with more rows than any screen has lines.
func thousands() *State {
	s := storm()
	for i := range 5000 {
		s.Rows = append(s.Rows, rows.Row{NetNS: 4026531840, Owner: event.Proc{PID: uint32(10000 + i), Comm: fmt.Sprintf("worker-%04d", i)}, PIDs: 1, Owners: 1,
			Peers: 1, Role: event.Client, Local: from("10.0.0.7"), Remote: addr(fmt.Sprintf("10.3.%d.%d:80", i/250, i%250)), TimeWait: uint64(i % 7),
			Rates: rows.Rates{Open: float64(i % 5)}, Usable: 28232, Ports: i % 7})
	}
	return s
}

// told is the storm with all that a trace tells of it.
func told() *State {
	s := storm()
	r := &s.Rows[2]
	r.First = s.Time.Add(-3 * time.Minute).UnixNano()
	r.Owner.Who = &event.Who{HasUID: true, UID: 1000, PPID: 4200, PComm: "bash", Exe: "/app/checkout", Unit: "checkout.service"}
	r.Total.Ways[event.ActiveClose], r.Total.Ways[event.SimultaneousClose], r.Total.Ways[event.ResetReceived] = 47000, 12, 3
	r.Total.Exits[1] = 20000
	for i := range 3 {
		r.Recent = append(r.Recent, conn.Closed{Time: s.Time.Add(-time.Duration(i) * 3 * time.Millisecond).UnixNano(), Life: 2900000,
			Remote: r.Remote, LocalPort: uint16(48213 - i), Kind: event.TimeWaitEnter, Reason: event.ActiveClose, Closer: event.LocalSide})
	}
	s.Findings = []advice.Finding{{ID: "TW101", Severity: event.Crit, Title: "ports held by TIME_WAIT", Short: "ports to 10.2.0.9:5432 run out in ~41s",
		What: "10.0.0.7 -> 10.2.0.9:5432 holds 26,935 of 28,232 ports (95%)", Who: "checkout[4242] opened 99% of them in the last 10 s",
		When: "full in about 41s, then connect() to it fails with EADDRNOTAVAIL (99)",
		Why:  "26,911 of these ports are in TIME_WAIT, which stays for 60 s with the side that closes first: this one",
		Now: []advice.Remedy{{Kind: "now", Text: "let connect() take over ports in TIME_WAIT",
			Settings: advice.Settings{Enter: "ip netns exec shop ", Set: []advice.Setting{{Name: "net.ipv4.tcp_tw_reuse", Value: "1", Before: "2"}}}, Risk: "behind NAT a port that comes back early can have its connection reset"},
			{Kind: "now", Text: "widen the ephemeral port range: 36,280 more ports for every destination", Settings: advice.Settings{Enter: "ip netns exec shop ", Set: []advice.Setting{
				{Name: "net.ipv4.ip_local_reserved_ports", Value: "8080,9000", Before: ""}, {Name: "net.ipv4.ip_local_port_range", Value: "1024 65535", Before: "32768 60999"}}}}},
		Fix:   []advice.Remedy{{Kind: "fix", Text: "reuse connections in the client: a pool, or keep-alive"}},
		Scope: advice.Scope{Comm: "checkout", PID: 4242, Laddr: "10.0.0.7", Raddr: "10.2.0.9", Rport: 5432}}}
	s.Events = toldEvents(s.Time)
	s.Conclude()
	return s
}

// toldEvents are what a journal has of some events.
func toldEvents(now time.Time) []Entry {
	var j Journal
	at := func(ago time.Duration, e event.Event) {
		e.Time, e.NetNS, e.Role = now.Add(-ago).UnixNano(), base().Buckets.NetNS, event.Client
		j.Add(&e)
	}
	checkout, db := event.Proc{PID: 4242, Comm: "checkout"}, addr("10.2.0.9:5432")
	at(2*time.Second, event.Event{Kind: event.TimeWaitExit, Reason: event.Reset, Count: 2, Process: event.Proc{PID: 8810, Comm: "python3"}, Remote: addr("10.2.0.31:6379")})
	storm := event.NewStorm()
	storm.Severity, storm.Rate, storm.Demand, storm.ShortShare, storm.LifeP50 = event.Warn, 812, 824, 0.99, 3100000
	storm.Used, storm.Usable, storm.ExhaustsIn, storm.Fails, storm.Outage, storm.Held = 26935, 28232, 41, 74, 1, 26911
	at(time.Second, event.Event{Kind: event.StormStart, Reason: event.Ports, Process: checkout, Local: from("10.0.0.7"), Remote: db, Storm: storm})
	at(time.Second, event.Event{Kind: event.Fail, Call: event.Connect, Errno: 99, Count: 73, Process: checkout, Remote: db})
	at(0, event.Event{Kind: event.Fail, Call: event.Connect, Errno: 99, Process: checkout, Remote: db})
	return j.Entries()
}

// eventAt looks at one of these.
func eventAt(p Page, i int) Display {
	k := lookAt(TabEvents)
	k.Page, k.EventMarked, k.Event = p, true, toldEvents(base().Time)[i].ID
	return k
}

// inShop is how commands get into the network namespace of some scenes.
func inShop(uint32) string { return "ip netns exec shop " }

// cured is the storm some seconds after its cure: what was refused is over.
func cured() *State {
	s := storm()
	s.Rates.Fail = 0
	s.Worst.Severity, s.Worst.Outlook.Used, s.Worst.Reusable = event.SeverityNone, 812, 26123
	s.Rows[2].Severity, s.Rows[2].Ports = event.SeverityNone, 812
	g := *s.Worst
	to := s.Time.Add(-4 * time.Second)
	g.Outage = pressure.Outage{From: to.Add(-72 * time.Second).UnixNano(), To: to.UnixNano(), Refused: 4069}
	s.Pressure.Gauges = []pressure.Gauge{g}
	s.Severity, s.Finding = event.SeverityNone, ""
	s.Findings = []advice.Finding{{ID: "TW101", Severity: event.Warn, Over: true, Title: "ports held by TIME_WAIT", Short: "ports to 10.2.0.9:5432: resolved 4s ago, after 1m12s"}}
	s.Conclude()
	return s
}

// replayed is a moment of a recording.
func replayed() *State {
	s := told()
	s.Mode = "REPLAY 22:14:07 x4"
	return s
}

// on looks at a page, with the cursor on the row of a comm.
func on(p Page, g rows.Grouping, comm string) Display {
	k := NewDisplay(g)
	for _, r := range rows.Arrange(told().Rows, g, rows.SortSeverity) {
		if r.Owner.Comm == comm {
			k.Page, k.Marked, k.Cursor = p, true, r.ID
		}
	}
	return k
}

// recordingOn looks at a page while the trace goes to a file.
func recordingOn(p Page) Display {
	k := on(p, rows.ByFlow, "checkout")
	k.Page, k.Writing, k.Offers.Record = p, "/root/twtrace-20261122-221355.ndjson.zst", true
	k.Recorded = Recording{Path: k.Writing, Bytes: 91234}
	return k
}

// withClip has copied a command from the page of a row.
func withClip(words string, undo bool) Display {
	k := on(PageDetail, rows.ByFlow, "checkout")
	k.Enter = inShop
	k.Clip = &Clip{Words: words, Text: told().Findings[0].Now[1].Command(), Undo: undo}
	if undo {
		k.Clip.Text = told().Findings[0].Now[1].Undo()
	}
	return k
}

func lookAt(t Tab) Display {
	var k Display
	k.setTab(t)
	return k
}

var scenes = []struct {
	name    string
	state   func() *State
	display Display
}{
	{"quiet", quiet, Display{}}, {"first", first, Display{}}, {"storm", storm, Display{}}, {"cured", cured, Display{}}, {"ipv6", sixes, Display{}},
	{"hostile", hostile, Display{}}, {"losses", losses, Display{}}, {"thousands", thousands, Display{Top: 2500}},
	{"peers", storm, Display{Tab: TabPeers, Grouping: rows.ByPeer, Sort: rows.SortOpen}},
	{"processes", processes, Display{Tab: TabProcesses, Grouping: rows.ByProcess, Sort: rows.SortComm}},
	{"listeners", storm, lookAt(TabListeners)}, {"listening", listeningOnly, lookAt(TabListeners)}, {"wildcard", wildcard, lookAt(TabListeners)},
	{"failing", failing, Display{}}, {"leak", leak, Display{}}, {"parked", parkedOut, Display{}}, {"namespaces", spaces, Display{}},
	{"by-netns", spaces, NewDisplay(rows.ByNetNS)}, {"idle", idle, Display{}}, {"unpolled", unpolled, Display{}}, {"events", told, lookAt(TabEvents)},
	{"paused", told, Display{Mode: "PAUSED 22:14:00 UTC 7s ago 53/60", Offers: Offers{Record: true, Interval: true, Reset: true, Step: true}}},
	{"recording", told, Display{Offers: Offers{Record: true}, Writing: "/root/twtrace-20261122-221355.ndjson.zst",
		Recorded: Recording{Path: "/root/twtrace-20261122-221355.ndjson.zst", Records: 14212, Bytes: 91234}}},
	{"detail-recording", told, recordingOn(PageDetail)}, {"doctor-recording", told, recordingOn(PageDoctor)}, {"help-recording", told, recordingOn(PageHelp)},
	{"replay", replayed, Display{Offers: Offers{Step: true}}},
	{"stepped", replayed, Display{Offers: Offers{Step: true}, Mode: "REPLAY 22:14:07 x4 PAUSED 53/60"}},
	{"full", sixes, Display{Full: true}}, {"names", told, Display{Full: true, Named: true, Offers: Offers{Names: true}, names: map[netip.Addr]string{
		netip.MustParseAddr("10.2.0.9"): "db-1.shop.example.net", netip.MustParseAddr("10.2.4.17"): "\x1b[31mevil"}}},
	{"asking", told, Display{Asking: true}},
	{"cursor", told, on(NoPage, rows.ByFlow, "envoy")}, {"detail", told, on(PageDetail, rows.ByFlow, "checkout")},
	{"behind", told, on(PageDetail, rows.ByProcess, "nginx")}, {"doctor", told, Display{Page: PageDoctor}},
	{"help", told, Display{Page: PageHelp, Offers: Offers{Record: true, Interval: true, Reset: true, Step: true, Names: true, Mouse: true}}},
	{"event", told, eventAt(PageEvent, 0)}, {"event-storm", told, eventAt(PageEvent, 1)}, {"event-cursor", told, eventAt(NoPage, 1)},
	{"columns", told, Display{Page: PageColumns, Choice: 7, Columns: map[string]bool{"PID": false, "PARK": true, "FAIL/s": true}}},
	{"chosen", told, Display{Columns: map[string]bool{"PID": false, "PARK": true, "FAIL/s": true}}},
	{"copied", told, withClip("copied to tmux, C-b ] pastes it", false)}, {"copied-undo", told, withClip("sent to the terminal's clipboard", true)},
	{"typing", told, Display{Prompt: true, Typed: "rport 54", Sort: rows.SortOpen, Invert: true}},
	{"prompt", told, typedKeys("")},
	{"prompt-means", told, typedKeys("che :5432 !netns ux-app")},
	{"prompt-tab", told, typedKeys("che rport ", "tab", "tab")},
	{"prompt-error", told, typedKeys("dport 8080")},
	{"prompt-netns", told, typedKeys("netns ux-wbe")},
}

// golden compares got with a file, or writes it with -update.
func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.MkdirAll("testdata", 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatalf("%v (run the test with -update to write it)", err)
	}
	if got != string(want) {
		t.Errorf("%s is not as before; look at it, and run with -update if it is right. Now:\n%s", file, got)
	}
}

func TestFrames(t *testing.T) {
	for _, scene := range scenes {
		for _, size := range [][2]int{{60, 12}, {80, 24}, {132, 43}, {200, 60}} {
			for _, c := range []struct {
				name string
				Caps
			}{{"ascii", Caps{}}, {"utf8", Caps{Unicode: true}}} {
				name := fmt.Sprintf("%s-%dx%d-%s.txt", scene.name, size[0], size[1], c.name)
				t.Run(name, func(t *testing.T) {
					lines := Frame(scene.state(), scene.display, size[0], size[1], c.Caps)
					var b strings.Builder
					for _, l := range lines {
						b.WriteString(strings.TrimRight(l, " ") + "\n")
					}
					golden(t, name, b.String())
				})
			}
		}
	}
	colors := strings.Join(Frame(losses(), Display{}, 80, 24, Caps{true, true, true}), "\n")
	golden(t, "losses-80x24-color.txt", strings.ReplaceAll(colors, "\x1b", "ESC")+"\n")
}

// Whatever the state and the size, a frame fills the screen and never leaves it.
func TestFramesFit(t *testing.T) {
	for _, scene := range scenes {
		if testing.Short() && scene.name == "thousands" { // takes longer than all the others
			continue
		}
		for _, width := range []int{1, 10, 59, 60, 61, 72, 79, 80, 90, 99, 100, 110, 120, 131, 132, 150, 200, 400} {
			for _, height := range []int{1, 11, 12, 24, 100} {
				for _, c := range []Caps{{}, {Unicode: true}, {true, true, true}} {
					s, display := scene.state(), scene.display
					for display.Grouping = range rows.ByPeer + 1 {
						lines := Frame(s, display, width, height, c)
						if want := height; width >= minWidth && height >= minHeight && len(lines) != want {
							t.Fatalf("%s at %dx%d: %d lines", scene.name, width, height, len(lines))
						}
						for i, l := range lines {
							if n := ansi.StringWidth(l); n > width {
								t.Fatalf("%s at %dx%d: line %d takes %d cells: %q", scene.name, width, height, i+1, n, l)
							}
							if plain := ansi.Strip(l); c.Color && strings.ContainsAny(plain, "\x1b\n\r\t\x07") || !c.Color && strings.ContainsAny(l, "\x1b\n\r\t\x07") {
								t.Fatalf("%s at %dx%d: line %d has control characters: %q", scene.name, width, height, i+1, l)
							}
							if !c.Unicode {
								for _, r := range l {
									if r > 126 || r < 32 {
										t.Fatalf("%s: %q in ASCII: %q", scene.name, r, l)
									}
								}
							}
						}
					}
				}
			}
		}
	}
}

func TestBatch(t *testing.T) {
	for _, scene := range scenes {
		var b strings.Builder
		if err := Batch(&b, scene.state(), scene.display); err != nil {
			t.Fatal(err)
		}
		golden(t, scene.name+"-batch.txt", b.String())
		for line := range strings.Lines(b.String()) {
			if strings.HasPrefix(line, "#") {
				continue
			}
			if n := len(strings.Fields(line)); n != len(rowFields) {
				t.Errorf("%s: %d cells, want %d: %q", scene.name, n, len(rowFields), line)
			}
			if strings.ContainsAny(strings.TrimSuffix(line, "\n"), "\x1b\n\r\t\x07\u202e") {
				t.Errorf("%s: control characters in %q", scene.name, line)
			}
		}
	}
}

func TestSummary(t *testing.T) {
	var b strings.Builder
	for _, scene := range scenes {
		state := scene.state()
		lines := Summary(state, 80, Caps{})
		if n := len(lines) - 5; n < 0 || n > 8 || n > 0 != (len(state.Findings) > 0) {
			t.Errorf("%s: %d lines, want 5, and a verdict if there are findings", scene.name, len(lines))
		}
		for _, l := range lines {
			if len(l) > 80 && !strings.Contains(l, "sysctl") {
				t.Errorf("%s: %q takes %d cells", scene.name, l, len(l))
			}
		}
		b.WriteString(strings.Join(lines, "\n") + "\n\n")
	}
	golden(t, "summary.txt", b.String())
}
