package view

import (
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/rows"
)

// The columns come one after the other as the screen gets wider, none goes again, and
// the peer keeps room for an IPv4 address with its port. What shows a trouble comes first.
func TestColumnsByWidth(t *testing.T) {
	titles := func(cols []placed) string {
		var out []string
		for _, c := range cols {
			out = append(out, strings.TrimSpace(c.title))
		}
		return strings.Join(out, " ")
	}
	for name, tt := range map[string]struct {
		Trouble
		wants map[int]string
	}{
		"no trouble": {Trouble{}, map[int]string{
			60:  "COMM PID PEER TW OPEN/s",
			72:  "COMM PID PEER TW OPEN/s LIFE50",
			80:  "COMM PID PEER TW OPEN/s LIFE50 CLOSER",
			90:  "COMM PID PEER TW PORT% OPEN/s LIFE50 CLOSER",
			100: "COMM PID PEER TW ΔTW/s PORT% OPEN/s LIFE50 CLOSER",
			110: "COMM PID PEER TW ΔTW/s PORT% FAIL/s OPEN/s LIFE50 CLOSER",
			120: "COMM PID PEER TW ΔTW/s PORT% FAIL/s OPEN/s CLOSE/s LIFE50 CLOSER",
			132: "COMM PID LOCAL PEER TW ΔTW/s PORT% FAIL/s OPEN/s CLOSE/s LIFE50 CLOSER",
			150: "COMM PID LOCAL PEER TW ΔTW/s PORT% FAIL/s OPEN/s CLOSE/s LIFE50 CLOSER 60s",
			160: "COMM PID UNIT/POD LOCAL PEER TW ΔTW/s PORT% FAIL/s OPEN/s CLOSE/s LIFE50 CLOSER 60s",
			170: "COMM PID UNIT/POD LOCAL PEER TW ΔTW/s PORT% FAIL/s OPEN/s CLOSE/s LIFE50 LIFE99 CLOSER 60s",
			220: "COMM PID UNIT/POD LOCAL PEER TW ΔTW/s PARK EST CLWAIT IN/s OUT/s PORT% FAIL/s OPEN/s CLOSE/s LIFE50 LIFE99 CLOSER 60s",
		}},
		"calls fail": {Trouble{Fails: true, Ports: true}, map[int]string{
			60:  "COMM PID PEER TW PORT% FAIL/s",
			76:  "COMM PID PEER TW PORT% FAIL/s OPEN/s",
			80:  "COMM PID PEER TW PORT% FAIL/s OPEN/s",
			90:  "COMM PID PEER TW PORT% FAIL/s OPEN/s LIFE50",
			132: "COMM PID LOCAL PEER TW ΔTW/s PORT% FAIL/s OPEN/s CLOSE/s LIFE50 CLOSER",
		}},
		"a leak": {Trouble{CloseWait: true}, map[int]string{
			60: "COMM PID PEER TW OPEN/s",
			80: "COMM PID PEER TW CLWAIT OPEN/s LIFE50",
		}},
		"ports run out": {Trouble{Ports: true, Parked: true}, map[int]string{
			60: "COMM PID PEER TW PORT% OPEN/s",
			80: "COMM PID PEER TW PARK PORT% OPEN/s LIFE50",
		}},
		"all of it": {Trouble{true, true, true, true, true}, map[int]string{
			60:  "COMM PID PEER TW PORT% FAIL/s",
			80:  "COMM PID PEER TW PARK CLWAIT PORT% FAIL/s",
			132: "COMM PID NETNS PEER TW PARK EST CLWAIT PORT% FAIL/s OPEN/s LIFE50 CLOSER",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s := &State{Trouble: tt.Trouble}
			for width := minWidth; width <= 300; width++ {
				cols := new(Display).place(s, nil, width, Caps{})
				if want, ok := tt.wants[width]; ok && titles(cols) != want {
					t.Errorf("at %d: %s, want %s", width, titles(cols), want)
				}
				if peer := cols[peerAt(cols)].width; peer < min(leastPeer, width/4) {
					t.Errorf("at %d the peer has %d cells", width, peer)
				}
				if n := ansi.StringWidth(heading(cols, new(Display), Caps{Unicode: true})); n > width {
					t.Errorf("at %d the heading takes %d cells", width, n)
				}
			}
		})
	}
}

// A full peer takes as much room as the longest on the screen needs, and no more.
func TestFullPeer(t *testing.T) {
	row := func(peer string) *rows.Row { return &rows.Row{Role: event.Client, Remote: addr(peer), Peers: 1} }
	long := row("[2001:db8:85a3:8d3:1319:8a2e:370:7348]:65535")
	for _, width := range []int{80, 100, 132, 200} {
		d := &Display{Full: true}
		short := d.place(&State{}, []*rows.Row{row("10.2.0.9:5432")}, width, Caps{})
		if plain := new(Display).place(&State{}, nil, width, Caps{}); len(short) != len(plain) {
			t.Errorf("at %d short addresses leave %d columns of %d", width, len(short), len(plain))
		}
		full := d.place(&State{}, []*rows.Row{long, row("10.2.0.9:5432")}, width, Caps{})
		if n := full[peerAt(full)].width; n < len("> [2001:db8:85a3:8d3:1319:8a2e:370:7348]:65535") {
			t.Errorf("at %d a long address has %d cells", width, n)
		}
	}
}

// Any sort order is reached on a screen that shows its column, and those of columns
// that are not shown are passed over.
func TestSortsByWidth(t *testing.T) {
	for width, n := range map[int]int{80: 5, 100: 7, 220: int(rows.Sorts)} {
		for _, by := range []int{1, -1} {
			seen := make(map[rows.Sort]bool)
			for k := (Display{}); !seen[k.Sort]; k.Sort = k.next(by, &State{}, width, Caps{}) {
				seen[k.Sort] = true
			}
			if len(seen) != n {
				t.Errorf("at %d, by %d: %d sort orders, want %d", width, by, len(seen), n)
			}
		}
	}
}

// The last minute is drawn to a scale that is a power of two.
func TestSparkCell(t *testing.T) {
	full := &rows.Row{Minute: [rows.MinuteBins]uint32{0, 1, 9, 16, 1 << 31}}
	if got, want := sparkCell(full, Caps{Unicode: true}), "▁▁▁▁█▁▁▁▁▁▁▁"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := sparkCell(&rows.Row{Minute: [rows.MinuteBins]uint32{0, 1, 2, 4, 6, 8}}, Caps{Unicode: true}), "▁▂▃▅▇█▁▁▁▁▁▁"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
