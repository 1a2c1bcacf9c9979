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

// rising is a minute in which n was reached from two thirds of it.
func rising(n uint64) (m [sparkBins]uint32) {
	for i := range m {
		m[i] = uint32(n * uint64(22+i) / 33)
	}
	return m
}

func quiet() *State {
	s := base()
	s.Established = 12
	s.History = []uint64{0, 0, 1, 0, 0}
	return s
}

func first() *State { // before the first interval has passed
	s := quiet()
	s.Interval, s.Uptime, s.History, s.SelfCPU = 0, 0, nil, -1
	nan := math.NaN()
	s.Rates = Rates{nan, nan, nan, nan, nan}
	s.Rows = []Row{{Owner: event.Proc{PID: 7, Comm: "cron"}, Role: event.Client, Remote: addr("10.0.0.1:80"), Rates: s.Rates}}
	return s
}

func storm() *State {
	s := base()
	s.TimeWait, s.Parked, s.Established = 28412, 17, 140
	s.Rates = Rates{In: 1185, Out: 1152, Open: 1187, Close: 1174, Fail: 12}
	for i := range 59 {
		s.History = append(s.History, uint64(18000+i*i*3))
		s.Opened = append(s.Opened, uint64(1000+10*(i%20)))
	}
	s.History, s.Opened = append(s.History, s.TimeWait), append(s.Opened, 1187)
	s.Buckets.Used = 28429
	s.Worst = &pressure.Gauge{Key: pressure.Key{NetNS: 4026531840, Local: netip.MustParseAddr("10.0.0.7"), Remote: addr("10.2.0.9:5432")},
		TimeWait: 26911, Parked: 4, Established: 20, Limit: 28232, Outlook: pressure.Outlook{Used: 26935}, Severity: event.Crit}
	s.Severity, s.Finding = Crit, "TW101  ports to 10.2.0.9:5432 run out in ~41s"
	row := func(sev Severity, comm string, pid uint32, peer string, tw uint64, open float64, life time.Duration, l, r uint64, ports int) Row {
		return Row{Severity: sev, NetNS: 4026531840, Owner: event.Proc{PID: pid, Comm: comm}, PIDs: 1, Owners: 1, Peers: 1, Role: event.Client,
			Local: from("10.0.0.7"), Remote: addr(peer), TimeWait: tw, Rates: Rates{open, max(open-32, 0), open, open, 0},
			Life: lives(life, life, life, 4*life), Closer: closed(l, r), Ports: ports, Usable: 28232, Minute: rising(tw)}
	}
	s.Rows = []Row{
		row(Fine, "kubelet", 811, "127.0.0.1:10248", 12, 1.2, 1100*time.Microsecond, 60, 0, 12),
		row(Fine, "java", 6120, "10.2.9.4:9092", 38, 14, 5*time.Second, 23, 77, 40),
		row(Crit, "checkout", 4242, "10.2.0.9:5432", 26911, 812, 3100*time.Microsecond, 48000, 0, 26935),
		row(Fine, "envoy", 1187, "10.2.4.17:8080", 902, 201, 41*time.Millisecond, 61, 39, 912),
		row(Warn, "python3", 8810, "10.2.0.31:6379", 418, 96, 900*time.Microsecond, 100, 0, 430),
		{NetNS: 4026531840, Owner: event.Proc{PID: 990, Comm: "nginx"}, PIDs: 1, Owners: 1, Peers: 1, Clients: 112, Role: event.Server,
			Local: addr("10.0.0.7:443"), TimeWait: 121, Rates: Rates{Open: 61, Close: 61, In: 5, Out: 5}, Established: 80,
			Life: lives(210*time.Millisecond, 10*time.Second), Closer: closed(8, 92)},
		{NetNS: 4026531840, PreStart: true, Owners: 1, Peers: 1, Role: event.Client, Local: from("10.0.0.7"), Remote: addr("10.2.0.9:5432"),
			TimeWait: 10, Rates: Rates{Out: 9}, Ports: 26935, Usable: 28232},
		{NetNS: 4026531840, Kind: conn.GroupComm, Owner: event.Proc{Comm: "curl"}, PIDs: 1204, Owners: 1, Peers: 1, Role: event.Client,
			Local: from("10.0.0.7"), Remote: addr("10.2.0.80:80"), TimeWait: 1204, Rates: Rates{In: 20, Out: 20, Open: 20.4, Close: 20},
			Life: lives(12 * time.Millisecond), Closer: closed(3, 1), Ports: 1204, Usable: 28232},
	}
	s.Rows[4].Fail = 12
	s.Rows[1].Owner.Who = &event.Who{PodName: "shop/ledger-0", Container: "4f1c9aa0d3b2"}
	s.Rows[4].Owner.Who = &event.Who{Unit: "cron.service"}
	return s
}

func sixes() *State {
	s := base()
	s.TimeWait = 23000
	s.Rates = Rates{In: 410, Out: 410, Open: 410, Close: 410}
	s.Buckets.Used, s.Buckets.Only, s.Buckets.NetNS = 23000, false, 4026532281
	far := addr("[2001:db8:85a3:8d3:1319:8a2e:370:7348]:65535")
	s.Worst = &pressure.Gauge{Key: pressure.Key{Local: netip.MustParseAddr("2001:db8:85a3:8d3:1319:8a2e:370:1"), Remote: far},
		TimeWait: 22990, Limit: 28232, Outlook: pressure.Outlook{Used: 22990}, Severity: event.Warn}
	for i, peer := range []netip.AddrPort{far, addr("[2001:db8::1]:80"), addr("[fe80::1%eth0]:443"), addr("[2001:db8:85a3:8d3:1319:8a2e:370:7348]:80")} {
		s.Rows = append(s.Rows, Row{Owner: event.Proc{PID: 4194303, Comm: "fifteen-letters"}, PIDs: 1, Owners: 1, Peers: 1, Role: event.Client,
			Local: from("2001:db8:85a3:8d3:1319:8a2e:370:1"), Remote: peer, TimeWait: 22990 / uint64(1+i*i*9), Rates: Rates{In: 400, Out: 400, Open: 400},
			Life: lives(time.Minute), Closer: closed(1, 2), Ports: 22990 / (1 + i*i*9), Usable: 28232})
	}
	s.Rows[0].Severity = Warn
	return s
}

func hostile() *State {
	s := base()
	s.Host = "evil\x1b[2J\x1b]0;title\x07host"
	s.TimeWait = 5
	s.Rates = Rates{}
	s.Finding, s.Severity = "TW201  pool missing in \x1b[31mred\x1b[m", Warn
	for i, comm := range []string{"\x1b[2J\x1b[31m", "a b\tc\nd", "日本語プロセス", "-", "# remark", `back\slash`, "\u202egnp.exe", "x\x9b31my", "é\u0301\u0301\u0301", "\xff\xfe", ""} {
		s.Rows = append(s.Rows, Row{Owner: event.Proc{PID: uint32(100 + i), Comm: comm}, PIDs: 1, Owners: 1, Peers: 1, Role: event.Client,
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
	s.Buckets = Buckets{Severity: Crit, Refusing: true, Used: 262144, Max: 262144, Only: true}
	s.Worst.Limit = 0
	for i := range 60 {
		s.Rows = append(s.Rows, Row{Owner: event.Proc{PID: uint32(i + 1), Comm: "many"}, Role: event.Client, Peers: 1, Owners: 1,
			Local: from("10.0.0.7"), Remote: addr("10.9.9.9:80"), TimeWait: uint64(i), Ports: 1830})
	}
	return s
}

func processes() *State {
	s := storm()
	other := s.Rows[2]
	other.Remote, other.TimeWait, other.Ports, other.Severity = addr("10.2.0.10:5432"), 100, 100, Fine
	s.Rows = append(s.Rows, other, Row{Kind: conn.GroupOther, TimeWait: 3})
	return s
}

// thousands is a host with more rows than any screen has lines.
func thousands() *State {
	s := storm()
	for i := range 5000 {
		s.Rows = append(s.Rows, Row{NetNS: 4026531840, Owner: event.Proc{PID: uint32(10000 + i), Comm: fmt.Sprintf("worker-%04d", i)}, PIDs: 1, Owners: 1,
			Peers: 1, Role: event.Client, Local: from("10.0.0.7"), Remote: addr(fmt.Sprintf("10.3.%d.%d:80", i/250, i%250)), TimeWait: uint64(i % 7),
			Rates: Rates{Open: float64(i % 5)}, Usable: 28232, Ports: i % 7})
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
	s.Findings = []advice.Finding{{ID: "TW101", Severity: advice.Crit, Title: "ports held by TIME_WAIT", Short: "ports to 10.2.0.9:5432 run out in ~41s",
		What: "10.0.0.7 -> 10.2.0.9:5432 holds 26,935 of 28,232 ports (95%)", Who: "checkout[4242] opened most of them of late",
		When: "full in about 41s, then connect() to it fails with EADDRNOTAVAIL (99)",
		Why:  "26,911 of these ports are in TIME_WAIT, which stays for 60 s with the side that closes first: this one",
		Now: []advice.Remedy{{Kind: "now", Text: "let connect() take over ports in TIME_WAIT", Command: "sysctl -w net.ipv4.tcp_tw_reuse=1",
			Undo: "sysctl -w net.ipv4.tcp_tw_reuse=2", Risk: "behind NAT a port that comes back early can have its connection reset"}},
		Fix:   []advice.Remedy{{Kind: "fix", Text: "reuse connections in the client: a pool, or keep-alive"}},
		Scope: advice.Scope{Comm: "checkout", PID: 4242, Laddr: "10.0.0.7", Raddr: "10.2.0.9", Rport: 5432}}}
	s.Events = []Entry{
		{s.Time.UnixNano(), Crit, 74, "connect to 10.2.0.9:5432 failed: EADDRNOTAVAIL  checkout[4242]"},
		{s.Time.Add(-time.Second).UnixNano(), Warn, 1, "storm_start ports to 10.2.0.9:5432  checkout[4242]  812/s"},
		{s.Time.Add(-2 * time.Second).UnixNano(), Fine, 2, "time_wait_exit reset to 10.2.0.31:6379  python3[8810]"},
	}
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
func on(p Page, g Grouping, comm string) Look {
	k := NewLook(g)
	for _, r := range Arrange(told().Rows, g, SortTimeWait) {
		if r.Owner.Comm == comm {
			k.Page, k.Marked, k.Cursor = p, true, r.id
		}
	}
	return k
}

// recordingOn looks at a page while the trace goes to a file.
func recordingOn(p Page) Look {
	k := on(p, ByFlow, "checkout")
	k.Page, k.Writing, k.Offers.Record = p, "/root/twtrace-20261122-221355.ndjson.zst", true
	k.Recorded = Recording{Path: k.Writing, Bytes: 91234}
	return k
}

func lookAt(t Tab) Look {
	var k Look
	k.setTab(t)
	return k
}

var scenes = []struct {
	name  string
	state func() *State
	look  Look
}{
	{"quiet", quiet, Look{}}, {"first", first, Look{}}, {"storm", storm, Look{}}, {"ipv6", sixes, Look{}},
	{"hostile", hostile, Look{}}, {"losses", losses, Look{}}, {"thousands", thousands, Look{Top: 2500}},
	{"peers", storm, Look{Tab: TabPeers, Grouping: ByPeer, Sort: SortOpen}},
	{"processes", processes, Look{Tab: TabProcesses, Grouping: ByProcess, Sort: SortComm}},
	{"listeners", storm, lookAt(TabListeners)}, {"events", told, lookAt(TabEvents)},
	{"paused", told, Look{Mode: "PAUSED 7s 53/60", Offers: Offers{Record: true, Interval: true, Reset: true, Step: true}}},
	{"recording", told, Look{Offers: Offers{Record: true}, Writing: "/root/twtrace-20261122-221355.ndjson.zst",
		Recorded: Recording{Path: "/root/twtrace-20261122-221355.ndjson.zst", Records: 14212, Bytes: 91234}}},
	{"detail-recording", told, recordingOn(PageDetail)}, {"doctor-recording", told, recordingOn(PageDoctor)}, {"help-recording", told, recordingOn(PageHelp)},
	{"replay", replayed, Look{Offers: Offers{Step: true}}},
	{"stepped", replayed, Look{Offers: Offers{Step: true}, Mode: "REPLAY 22:14:07 x4 PAUSED 53/60"}},
	{"full", sixes, Look{Full: true}}, {"names", told, Look{Full: true, Named: true, Offers: Offers{Names: true}, names: map[netip.Addr]string{
		netip.MustParseAddr("10.2.0.9"): "db-1.shop.example.net", netip.MustParseAddr("10.2.4.17"): "\x1b[31mevil"}}},
	{"asking", told, Look{Asking: true}},
	{"cursor", told, on(NoPage, ByFlow, "envoy")}, {"detail", told, on(PageDetail, ByFlow, "checkout")},
	{"behind", told, on(PageDetail, ByProcess, "nginx")}, {"doctor", told, Look{Page: PageDoctor}},
	{"help", told, Look{Page: PageHelp, Offers: Offers{Record: true, Interval: true, Reset: true, Step: true, Names: true}}},
	{"typing", told, Look{Prompt: true, Typed: "rport 54", Sort: SortOpen, Invert: true}},
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
		for _, size := range [][2]int{{60, 12}, {80, 24}, {100, 30}, {132, 43}, {160, 45}, {220, 60}} {
			for _, c := range []struct {
				name string
				Caps
			}{{"ascii", Caps{}}, {"utf8", Caps{Unicode: true}}} {
				name := fmt.Sprintf("%s-%dx%d-%s.txt", scene.name, size[0], size[1], c.name)
				t.Run(name, func(t *testing.T) {
					lines := Frame(scene.state(), scene.look, size[0], size[1], c.Caps)
					var b strings.Builder
					for _, l := range lines {
						b.WriteString(strings.TrimRight(l, " ") + "\n")
					}
					golden(t, name, b.String())
				})
			}
		}
	}
	colors := strings.Join(Frame(losses(), Look{}, 80, 24, Caps{true, true, true}), "\n")
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
					s, look := scene.state(), scene.look
					for look.Grouping = range groupings {
						lines := Frame(s, look, width, height, c)
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
		if err := Batch(&b, scene.state(), scene.look); err != nil {
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
		lines := Summary(scene.state(), 80, Caps{})
		if len(lines) != 5 {
			t.Errorf("%s: %d lines, want 5", scene.name, len(lines))
		}
		for _, l := range lines {
			if len(l) > 80 {
				t.Errorf("%s: %q takes %d cells", scene.name, l, len(l))
			}
		}
		b.WriteString(strings.Join(lines, "\n") + "\n\n")
	}
	golden(t, "summary.txt", b.String())
}
