package view

import (
	"fmt"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

// The columns come one after the other as the screen gets wider, none goes again, and
// the peer keeps room for an IPv4 address with its port.
func TestColumnsByWidth(t *testing.T) {
	titles := func(cols []placed) string {
		var out []string
		for _, c := range cols {
			out = append(out, strings.TrimSpace(c.title))
		}
		return strings.Join(out, " ")
	}
	wants := map[int]string{
		60:  "COMM PID PEER TW OPEN/s",
		72:  "COMM PID PEER TW OPEN/s LIFE50",
		80:  "COMM PID PEER TW OPEN/s LIFE50 CLOSER",
		90:  "COMM PID PEER TW PORT% OPEN/s LIFE50 CLOSER",
		100: "COMM PID PEER TW ΔTW/s PORT% OPEN/s LIFE50 CLOSER",
		110: "COMM PID PEER TW ΔTW/s PORT% OPEN/s FAIL/s LIFE50 CLOSER",
		120: "COMM PID PEER TW ΔTW/s PORT% OPEN/s CLOSE/s FAIL/s LIFE50 CLOSER",
		132: "COMM PID LOCAL PEER TW ΔTW/s PORT% OPEN/s CLOSE/s FAIL/s LIFE50 CLOSER",
		150: "COMM PID LOCAL PEER TW ΔTW/s PORT% OPEN/s CLOSE/s FAIL/s LIFE50 CLOSER 60s",
		160: "COMM PID UNIT/POD LOCAL PEER TW ΔTW/s PORT% OPEN/s CLOSE/s FAIL/s LIFE50 CLOSER 60s",
		170: "COMM PID UNIT/POD LOCAL PEER TW ΔTW/s PORT% OPEN/s CLOSE/s FAIL/s LIFE50 LIFE99 CLOSER 60s",
		220: "COMM PID UNIT/POD LOCAL PEER TW ΔTW/s PARK EST IN/s OUT/s PORT% OPEN/s CLOSE/s FAIL/s LIFE50 LIFE99 CLOSER 60s",
	}
	last := 0
	for width := minWidth; width <= 300; width++ {
		cols := new(Look).place(width)
		if want, ok := wants[width]; ok && titles(cols) != want {
			t.Errorf("at %d: %s, want %s", width, titles(cols), want)
		}
		if len(cols) < last {
			t.Errorf("at %d there are fewer columns than at %d", width, width-1)
		}
		last = len(cols)
		if peer := cols[peerAt(cols)].width; width >= 80 && peer < len("> 10.200.100.31:6379") {
			t.Errorf("at %d the peer has %d cells", width, peer)
		}
		if n := ansi.StringWidth(heading(cols, new(Look), Caps{Unicode: true})); n > width {
			t.Errorf("at %d the heading takes %d cells", width, n)
		}
		if full := (&Look{Full: true}).place(width); width >= 80 && full[peerAt(full)].width < fullPeer {
			t.Errorf("at %d a full peer has %d of %d cells: %s", width, full[peerAt(full)].width, fullPeer, titles(full))
		}
	}
}

// Any sort order is reached on a screen that shows its column, and those of columns
// that are not shown are passed over.
func TestSortsByWidth(t *testing.T) {
	for width, n := range map[int]int{80: 4, 100: 6, 220: int(sorts)} {
		for _, by := range []int{1, -1} {
			seen := make(map[Sort]bool)
			for k := (Look{}); !seen[k.Sort]; k.Sort = k.next(by, width) {
				seen[k.Sort] = true
			}
			if len(seen) != n {
				t.Errorf("at %d, by %d: %d sort orders, want %d", width, by, len(seen), n)
			}
		}
	}
}

// The last minute: spans of five seconds, those without a look as the one before.
func TestMinute(t *testing.T) {
	var m minute
	for _, v := range []struct {
		at   int64
		n    uint64
		want string
	}{
		{1000, 5, "0 0 0 0 0 0 0 0 0 0 0 5"},
		{1004, 7, "0 0 0 0 0 0 0 0 0 0 0 7"},
		{1005, 9, "0 0 0 0 0 0 0 0 0 0 7 9"},
		{1020, 2, "0 0 0 0 0 0 0 7 9 9 9 2"},
		{1019, 3, "0 0 0 0 0 0 0 7 9 9 9 3"}, // time does not go back
		{9999, 1, "3 3 3 3 3 3 3 3 3 3 3 1"},
	} {
		m.add(v.at*1e9, v.n)
		if got := strings.Trim(strings.Join(strings.Fields(fmt.Sprint(m.bins)), " "), "[]"); got != v.want {
			t.Errorf("%d at %d: %s, want %s", v.n, v.at, got, v.want)
		}
	}
	full := Row{Minute: [sparkBins]uint32{0, 1, 9, 16, 1 << 31}}
	if got, want := full.spark(Caps{Unicode: true}), "▁▁▁▁█▁▁▁▁▁▁▁"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if got, want := (&Row{Minute: [sparkBins]uint32{0, 1, 2, 4, 6, 8}}).spark(Caps{Unicode: true}), "▁▂▃▅▇█▁▁▁▁▁▁"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
}
