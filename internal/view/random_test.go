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
	"github.com/twtrace/twtrace/internal/rows"
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

func randomRow(r *rand.Rand) rows.Row {
	n := func() uint64 { return r.Uint64() >> r.IntN(64) }
	rate := func() float64 { return math.Ldexp(r.Float64(), r.IntN(40)-5) }
	v := rows.Row{Severity: event.Severity(r.IntN(3)), NetNS: r.Uint32(), PreStart: r.IntN(9) == 0, Owners: 1, Peers: 1 + r.IntN(2)*r.IntN(9999),
		Owner: event.Proc{PID: r.Uint32() >> r.IntN(32), Comm: randomText(r)}, PIDs: r.IntN(1 << r.IntN(20)), Clients: r.IntN(1 << r.IntN(20)),
		Role: event.Role(r.IntN(3)), Local: randomAddr(r), Remote: randomAddr(r), TimeWait: n(), Parked: n(), Established: n(),
		Rates: rows.Rates{In: rate(), Out: rate(), Open: rate(), Close: rate(), Fail: rate()}, Ports: r.IntN(65536), Usable: r.IntN(2) * r.IntN(65536)}
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

// randomEvent is one of any kind.
func randomEvent(r *rand.Rand) *event.Event {
	e := &event.Event{Kind: event.Kind(r.IntN(17)), Reason: event.Reason(r.IntN(17)), Role: event.Role(r.IntN(3)), Errno: uint16(r.IntN(200)), NetNS: r.Uint32(),
		Local: randomAddr(r), Remote: randomAddr(r), Process: event.Proc{PID: r.Uint32() >> r.IntN(32), Comm: randomText(r)}}
	if r.IntN(2) == 0 {
		e.Storm = &event.StormInfo{Severity: event.Severity(r.IntN(3)), Rate: r.ExpFloat64() * 1000, Used: r.Uint64() >> r.IntN(64), Usable: r.Uint64() >> r.IntN(64),
			Fails: r.Uint64() >> r.IntN(64), Outage: r.NormFloat64() * 100, Resolved: r.IntN(2) == 0}
	}
	return e
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
			s.Events = append(s.Events, Entry{Time: int64(r.Uint64() >> 1), Severity: event.Severity(r.IntN(3)), Count: r.Uint64(), Text: randomText(r), ID: uint64(len(s.Events)), Event: randomEvent(r)})
		}
		for _, c := range []Caps{{}, {Unicode: true}, {true, true, true}} {
			for tab := range tabs {
				for p := NoPage; p <= PageColumns; p++ {
					display := Display{Sort: rows.Sort(r.IntN(int(rows.Sorts))), Words: randomText(r), Typed: randomText(r), Prompt: r.IntN(4) == 0,
						Full: r.IntN(3) == 0, Asking: r.IntN(9) == 0, Writing: randomText(r), Named: r.IntN(3) == 0, names: named}
					display.setTab(tab)
					display.Page = p
					display.EventMarked, display.Event, display.Choice = r.IntN(4) > 0, uint64(r.IntN(30)), r.IntN(len(columns))
					for _, col := range columns {
						if r.IntN(40) == 0 && !col.fixed() {
							display.Columns = map[string]bool{strings.TrimSpace(col.title): r.IntN(2) == 0}
						}
					}
					if r.IntN(9) == 0 {
						display.Clip = &Clip{Words: randomText(r), Text: randomText(r) + " " + randomText(r)}
					}
					if list := display.Arrange(s.Rows); len(list) > 0 {
						display.Marked, display.Cursor = true, list[r.IntN(len(list))].ID
					}
					height := 12 + r.IntN(50)
					checkFrame(t, fmt.Sprintf("%v page %d at %dx%d", tab, p, width, height), Frame(s, display, width, height, c), width, height, c)
				}
			}
		}
	}
}

var sgr = regexp.MustCompile("\x1b\\[(|1|7|31|33)m")

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
		b := newStates(limits100)
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
			st := b.at(tab, sec*int64(time.Second))
			for _, g := range rows.Groupings() {
				addsUp(t, fmt.Sprintf("seed %d at %d by %v", seed, sec, g), st, rows.Arrange(st.Rows, g, rows.SortTimeWait))
			}
			shownAddsUp(t, st)
		}
	}
}

func addsUp(t *testing.T, what string, s *State, list []*rows.Row) {
	t.Helper()
	var tw, parked, est uint64
	var in, out, end, fail float64
	for _, r := range list {
		tw, parked, est = tw+r.TimeWait, parked+r.Parked, est+r.Established
		if n := r.Minute[rows.MinuteBins-1]; uint64(n) != r.TimeWait {
			t.Fatalf("%s: %s has %d in TIME_WAIT, and its last minute ends with %d", what, r.Name(), r.TimeWait, n)
		}
		in, out, end, fail = in+r.In, out+r.Out, end+r.Rates.Close, fail+r.Fail
	}
	if tw != s.TimeWait || parked != s.Parked || est != s.Established {
		t.Fatalf("%s: rows have %d, %d, %d; the totals are %d, %d, %d", what, tw, parked, est, s.TimeWait, s.Parked, s.Established)
	}
	if !rows.Known(s.Rates.In) {
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
	lines := Frame(s, Display{Sort: rows.SortTimeWait}, 160, 100, Caps{})
	var total, sum uint64
	fmt.Sscanf(strings.ReplaceAll(lines[1], ",", ""), "TIME_WAIT %d", &total)
	at, heading := -1, 0
	for i, l := range lines {
		if strings.HasPrefix(l, "  COMM") {
			heading, at = i, strings.Index(l, "TWv")+3
		}
	}
	for _, l := range lines[heading+1 : len(lines)-1] {
		if l == "" { // what is below explains a row
			break
		}
		if len(l) < at {
			continue
		}
		f := strings.Fields(l[:at])
		n, _ := strconv.ParseUint(strings.ReplaceAll(f[len(f)-1], ",", ""), 10, 64)
		sum += n
	}
	if total != s.TimeWait || sum != total {
		t.Fatalf("the screen says %d in TIME_WAIT, its rows %d, the table %d:\n%s", total, sum, s.TimeWait, strings.Join(lines, "\n"))
	}
}
