package diagnose

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
)

// nothing is a sentence whose number is nought.
var nothing = regexp.MustCompile(`(^|[ (])0(\.0+)?(/s|s| s| entered| calls| ports| sockets)\b`)

// TestRightAfterItFilled: a range fills within two seconds, and is judged some seconds
// after. What is said of the rate is of the time that it names, whether the trace saw it
// or came late.
func TestRightAfterItFilled(t *testing.T) {
	const ports, filled = 500, 3 * time.Second // start is 22:14:07: it fills from 22:14:08 to 22:14:10
	for _, late := range []bool{false, true} {
		for _, fails := range []bool{false, true} {
			for _, after := range []time.Duration{0, 1, 5, 15, 59} {
				after *= time.Second
				t.Run(fmt.Sprintf("late %v, fails %v, %v after", late, fails, after), func(t *testing.T) {
					b := newBench(t, ports, Options{})
					var entered []event.Event
					for i := range ports {
						b.at = filled - 2*time.Second + time.Duration(i)*2*time.Second/ports
						open := b.event(checkout, postgres, uint64(i+1), event.Open)
						enter := b.event(checkout, postgres, uint64(i+1), event.TimeWaitEnter)
						enter.Life, enter.Closer = int64(time.Millisecond), event.LocalSide
						if entered = append(entered, enter); !late {
							b.apply(open, enter)
						}
					}
					b.at = filled + after
					for _, e := range entered {
						if late { // the trace starts now, and reads their timers
							left := max(int64(event.TimeWaitLen)-(start.Add(b.at).UnixNano()-e.Time), 1)
							e.Kind, e.Remaining, e.Time = event.Snapshot, left, start.Add(b.at).UnixNano()
							e.New, e.Opener, e.Life, e.Closer = event.TimeWait, event.Proc{}, 0, event.SideNone
							b.apply(e)
						}
					}
					if fails {
						for i := range 4 {
							b.at = filled + after + time.Duration(i)*200*time.Millisecond
							b.fail(checkout, event.Connect, event.EADDRNOTAVAIL, netip.AddrPortFrom(laddr, 0), postgres)
						}
					}
					b.at = filled + after + 700*time.Millisecond
					checkEntered(t, advice.Diagnose(b.all()...), after, fails)
				})
			}
		}
	}
}

// checkEntered checks what the findings say about a range of 500 that filled so long ago.
func checkEntered(t *testing.T, found []advice.Finding, after time.Duration, fails bool) {
	t.Helper()
	told := false
	for _, x := range found {
		for _, words := range []string{x.What, string(x.Who), x.When, x.Why} {
			for _, w := range regexp.MustCompile(`[;.] `).Split(words, -1) {
				if nothing.MatchString(w) {
					t.Errorf("%s: %q", x.ID, w)
				}
			}
		}
		if x.ID != "TW101" {
			continue
		}
		told = true
		// It filled from 22:14:08 to 22:14:10: the whole second that it ended in may count.
		want := regexp.MustCompile(`500 entered TIME_WAIT between 22:14:0[78] and 22:14:10 UTC, about 250/s; none for \d+s; the last of these ports is free in about \d+s, by 22:15:1\d UTC`)
		if after < time.Second {
			want = regexp.MustCompile(`500 entered TIME_WAIT in the last [23] s, (250|167)/s on average`)
		} else if after > 50*time.Second { // timers are late by now: nobody knows when it started
			want = regexp.MustCompile(`500 entered TIME_WAIT by 22:14:10 UTC; none for \d+s; the last of these ports is free in about \d+s, by 22:15:1\d UTC`)
		} else if after < quiet {
			want = regexp.MustCompile(`500 entered TIME_WAIT between 22:14:0[78] and 22:14:10 UTC, about 250/s; none for \d+s`)
		}
		if !want.MatchString(x.Why) {
			t.Errorf("why: %s\nwant %v", x.Why, want)
		}
		if fails && (x.Severity.String() != "crit" || !strings.Contains(x.When, "4 connect() calls failed")) {
			t.Errorf("%v, when: %s", x.Severity, x.When)
		}
		if after >= quiet && !strings.Contains(x.When, "in about") {
			t.Errorf("when: %s", x.When)
		}
	}
	if !told {
		t.Error("no TW101")
	}
}

// quiet is how long nothing must enter for it to be over.
const quiet = 4 * time.Second
