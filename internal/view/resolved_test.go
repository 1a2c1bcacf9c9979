package view

import (
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// TestResolved: the line of the finding says for half a minute that an outage is over, from
// the readings of a table.
func TestResolved(t *testing.T) {
	usable := 100
	limits := func(uint32) (conn.Limits, bool) {
		return conn.Limits{PortLow: 40000, PortHigh: 40099, Usable: usable, MaxTW: 9000}, true
	}
	s := script{tab: conn.New(conn.Options{Limits: limits})}
	b := newStates(limits)
	for sec := int64(1000); sec < 1100; sec++ {
		if sec == 1001 {
			for c := range uint64(100) {
				s.apply(sec, event.Open, c+1, nil)
				s.apply(sec, event.TimeWaitEnter, c+1, nil)
			}
		}
		if sec >= 1002 && sec < 1030 {
			s.apply(sec, event.Fail, 1000, func(e *event.Event) {
				e.Call, e.Errno, e.Cookie = event.Connect, event.EADDRNOTAVAIL, 0
			})
		}
		if sec == 1030 {
			usable = 28000 // the range is wider
		}
		st := b.at(s.tab, sec*int64(time.Second)+int64(time.Second)/2)
		st.Conclude()
		switch worst := worstSeverity(st); {
		case sec >= 1002 && sec < 1030 && worst != event.Crit:
			t.Errorf("second %d: %v", sec, worst)
		case sec >= 1032 && worst == event.Crit:
			t.Errorf("second %d: still critical", sec)
		}
		says := strings.HasPrefix(st.Finding, "resolved ")
		if want := sec >= 1032 && sec < 1059; says != want && (sec < 1030 || sec > 1031) && sec != 1059 {
			t.Errorf("second %d: %q", sec, st.Finding)
		}
		if sec == 1035 && st.Finding != "resolved 6s ago, lasted 28s: ports to 10.2.0.9:5432, 28 calls failed" {
			t.Errorf("second %d: %q", sec, st.Finding)
		}
	}
}
