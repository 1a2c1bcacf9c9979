package view

import (
	"fmt"
	"math"
	"math/rand/v2"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// hostileText is what comms, cgroups and hosts can be made of.
var hostileText = []string{"nginx", "", "-", "\x1b[2J", "\x1b]0;t\x07", "\r\n", "\x9b31m", "日本語", "e\u0301\u0301", "\u202e", "👩\u200d👩\u200d👧", "🇩🇪",
	"! CRIT TW101", "\x00", "\xff\xfe", "a b", "\\x1b", "ｗｉｄｅ", "\u00ad", "กำ", "[LIVE]"}

func randomText(r *rand.Rand) string {
	var b strings.Builder
	for range r.IntN(4) {
		b.WriteString(hostileText[r.IntN(len(hostileText))])
	}
	return b.String()
}

func randomAddr(r *rand.Rand) netip.AddrPort {
	var b [16]byte
	for i := range b {
		b[i] = byte(r.Uint32())
	}
	a := netip.AddrFrom16(b)
	switch r.IntN(3) {
	case 0:
		a = netip.AddrFrom4([4]byte(b[:4]))
	case 1:
		a = a.WithZone(randomText(r))
	}
	return netip.AddrPortFrom(a, uint16(r.Uint32()))
}

func randomRow(r *rand.Rand) Row {
	n := func() uint64 { return r.Uint64() >> r.IntN(64) }
	rate := func() float64 { return math.Ldexp(r.Float64(), r.IntN(40)-5) }
	v := Row{Severity: Severity(r.IntN(3)), NetNS: r.Uint32(), PreStart: r.IntN(9) == 0, Owners: 1, Peers: 1 + r.IntN(2)*r.IntN(9999),
		Owner: event.Proc{PID: r.Uint32() >> r.IntN(32), Comm: randomText(r)}, PIDs: r.IntN(1 << r.IntN(20)), Clients: r.IntN(1 << r.IntN(20)),
		Role: event.Role(r.IntN(3)), Local: randomAddr(r), Remote: randomAddr(r), TimeWait: n(), Parked: n(), Established: n(),
		Rates: Rates{rate(), rate(), rate(), rate(), rate()}, Ports: r.IntN(65536), Usable: r.IntN(2) * r.IntN(65536)}
	if r.IntN(2) == 0 {
		v.Owner.Who = &event.Who{Exe: randomText(r), Unit: randomText(r), Container: randomText(r), PComm: randomText(r), PPID: r.Uint32()}
	}
	for range r.IntN(9) {
		v.Life.Add(time.Duration(n()))
		v.Recent = append(v.Recent, conn.Closed{Time: int64(n() >> 1), Life: int64(n() >> 1), Remote: randomAddr(r), Reason: event.Reason(r.IntN(17))})
	}
	for i := range v.Minute {
		v.Minute[i] = r.Uint32() >> r.IntN(32)
	}
	v.Closer[1+r.IntN(3)] = n()
	v.Total.Ways[r.IntN(17)] = r.Uint32()
	return v
}

// Of all widths, with rows of any kind, every line is as wide as the screen at most,
// by both ways to count cells that terminals have, and nothing in it is a control.
func TestFramesFitAnyWidth(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	s := storm()
	every := 1
	if testing.Short() {
		every = 7
	}
	for width := 60; width <= 300; width += every {
		s.Host, s.Filter, s.Finding = randomText(r), randomText(r), randomText(r)
		s.Rows, s.Events = nil, nil
		named := make(map[netip.Addr]string)
		for range 30 {
			s.Rows = append(s.Rows, randomRow(r))
			named[s.Rows[len(s.Rows)-1].Remote.Addr()] = randomText(r)
			s.Events = append(s.Events, Entry{Time: int64(r.Uint64() >> 1), Severity: Severity(r.IntN(3)), Count: r.Uint64(), Text: randomText(r)})
		}
		for _, c := range []Caps{{}, {Unicode: true}, {true, true, true}} {
			for tab := range tabs {
				for p := NoPage; p <= PageHelp; p++ {
					look := Look{Sort: Sort(r.IntN(int(sorts))), Words: randomText(r), Typed: randomText(r), Prompt: r.IntN(4) == 0,
						Full: r.IntN(3) == 0, Asking: r.IntN(9) == 0, Writing: randomText(r), Named: r.IntN(3) == 0, names: named}
					look.setTab(tab)
					look.Page = p
					if rows := look.Arrange(s.Rows); len(rows) > 0 {
						look.Marked, look.Cursor = true, rows[r.IntN(len(rows))].id
					}
					height := 12 + r.IntN(50)
					checkFrame(t, fmt.Sprintf("%v page %d at %dx%d", tab, p, width, height), Frame(s, look, width, height, c), width, height, c)
				}
			}
		}
	}
}

var sgr = regexp.MustCompile("\x1b\\[(|7|31|33)m")

func checkFrame(t *testing.T, what string, lines []string, width, height int, c Caps) {
	t.Helper()
	if len(lines) != height {
		t.Fatalf("%s: %d lines", what, len(lines))
	}
	for i, l := range lines {
		plain := l
		if c.Color {
			plain = sgr.ReplaceAllString(l, "")
		}
		if n, m := ansi.StringWidth(plain), ansi.StringWidthWc(plain); n > width || n != m {
			t.Fatalf("%s: line %d takes %d or %d cells: %q", what, i+1, n, m, l)
		}
		for _, r := range plain {
			if r < ' ' || r >= 0x7f && r < 0xa0 || !c.Unicode && r > '~' {
				t.Fatalf("%s: %q in line %d: %q", what, r, i+1, l)
			}
		}
	}
}

// What frames show of a random stream of events never contradicts itself: the rows
// of every grouping add up to the totals above them.
func TestFramesAddUp(t *testing.T) {
	seeds := uint64(20)
	if testing.Short() {
		seeds = 5
	}
	for seed := range seeds {
		r := rand.New(rand.NewPCG(seed, 3))
		tab := conn.New(conn.Options{Limits: limits100, MaxGroups: 5 + r.IntN(50)})
		b := Builder{Limits: limits100}
		var snap conn.Snapshot
		s := script{tab: tab}
		for sec := int64(1000); sec < 1030; sec++ {
			for range r.IntN(200) {
				kinds := []event.Kind{event.Open, event.TimeWaitEnter, event.TimeWaitExit, event.Close, event.Parked, event.Fail, event.TimeWaitRefused, event.Snapshot}
				s.apply(sec, kinds[r.IntN(len(kinds))], 1+r.Uint64N(300), func(e *event.Event) {
					e.Role = event.Role(e.Cookie % 3)
					e.Opener = event.Proc{PID: uint32(e.Cookie % 7), Comm: "c" + strconv.Itoa(int(e.Cookie%5))}
					e.Remote = netip.AddrPortFrom(e.Remote.Addr(), uint16(e.Cookie%11))
				})
			}
			tab.Snapshot(sec*int64(time.Second), &snap)
			st := b.Build(&snap)
			for g := range allGroupings {
				if g != groupings {
					addsUp(t, fmt.Sprintf("seed %d at %d by %v", seed, sec, g), st, Arrange(st.Rows, g, SortTimeWait))
				}
			}
			shownAddsUp(t, st)
		}
	}
}

func addsUp(t *testing.T, what string, s *State, rows []*Row) {
	t.Helper()
	var tw, parked, est uint64
	var in, out, end, fail float64
	for _, r := range rows {
		tw, parked, est = tw+r.TimeWait, parked+r.Parked, est+r.Established
		if n := r.Minute[sparkBins-1]; uint64(n) != r.TimeWait {
			t.Fatalf("%s: %s has %d in TIME_WAIT, and its last minute ends with %d", what, r.name(), r.TimeWait, n)
		}
		in, out, end, fail = in+r.In, out+r.Out, end+r.Rates.Close, fail+r.Fail
	}
	if tw != s.TimeWait || parked != s.Parked || est != s.Established {
		t.Fatalf("%s: rows have %d, %d, %d; the totals are %d, %d, %d", what, tw, parked, est, s.TimeWait, s.Parked, s.Established)
	}
	if !known(s.Rates.In) {
		return
	}
	for _, v := range [][2]float64{{in, s.Rates.In}, {out, s.Rates.Out}, {end, s.Rates.Close}, {fail, s.Rates.Fail}} {
		if math.Abs(v[0]-v[1]) > 1e-6 {
			t.Fatalf("%s: rates of rows add up to %v, the total is %v", what, v[0], v[1])
		}
	}
}

// shownAddsUp reads the numbers back from the screen.
func shownAddsUp(t *testing.T, s *State) {
	t.Helper()
	lines := Frame(s, Look{}, 160, 100, Caps{})
	var total, rows uint64
	fmt.Sscanf(strings.ReplaceAll(lines[1], ",", ""), "TIME_WAIT %d", &total)
	at, heading := -1, 0
	for i, l := range lines {
		if strings.HasPrefix(l, "  COMM") {
			heading, at = i, strings.Index(l, "TWv")+3
		}
	}
	for _, l := range lines[heading+1 : len(lines)-1] {
		if len(l) < at {
			continue
		}
		f := strings.Fields(l[:at])
		n, _ := strconv.ParseUint(strings.ReplaceAll(f[len(f)-1], ",", ""), 10, 64)
		rows += n
	}
	if total != s.TimeWait || rows != total {
		t.Fatalf("the screen says %d in TIME_WAIT, its rows %d, the table %d:\n%s", total, rows, s.TimeWait, strings.Join(lines, "\n"))
	}
}
