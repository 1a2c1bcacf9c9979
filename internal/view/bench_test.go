package view

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/rows"
)

// busyRows is how many rows the busy hosts have: half of them are of clients, half of
// the servers that they connect to.
var busyRows = []int{5000, 10000}

// busy is a table of so many groups, and what feeds it a second of events: at every
// row a connection that opens, enters TIME_WAIT or ends, and one of before that leaves it.
func busy(count int) (tab *conn.Table, second func(sec int64)) {
	tab = conn.New(conn.Options{Limits: limits100})
	s := script{tab: tab}
	cookie := uint64(0)
	client := event.Proc{PID: 1000, Comm: "client", Who: &event.Who{PPID: 1, PComm: "init", CgroupID: 7, Unit: "client.service"}}
	server := event.Proc{PID: 2000, Comm: "server", Who: &event.Who{PPID: 1, PComm: "init", CgroupID: 8, Unit: "server.service"}}
	end := func(i int) netip.AddrPort {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 3, byte(i / 100), 7}), uint16(5000+i%100))
	}
	return tab, func(sec int64) {
		for i := range count {
			cookie++
			kinds := []event.Kind{event.Open, event.TimeWaitEnter, event.TimeWaitExit}
			if i%2 == 1 {
				kinds = []event.Kind{event.Open, event.Close}
			}
			for _, k := range kinds {
				c := cookie
				if k == event.TimeWaitExit { // those of 20 s ago
					if c <= uint64(20*count) {
						continue
					}
					c -= uint64(20 * count)
				}
				s.apply(sec, k, c, func(e *event.Event) {
					e.Opener, e.Remote = client, end(i/2)
					if i%2 == 1 {
						e.Role, e.Opener, e.Accepter = event.Server, event.Proc{}, server
						e.Local, e.Remote = end(i/2), e.Local
					}
				})
			}
		}
	}
}

// busyState is a state of so many rows, as it is after 25 s.
func busyState(tb testing.TB, count int) (*conn.Table, *conn.Snapshot, *states, *State) {
	tb.Helper()
	tab, second := busy(count)
	for sec := range int64(25) {
		second(1000 + sec)
	}
	b, snap := newStates(limits100), new(conn.Snapshot)
	tab.Snapshot(1025e9, snap)
	st := b.of(snap)
	if len(st.Rows) != count {
		tb.Fatalf("%d rows", len(st.Rows))
	}
	return tab, snap, b, st
}

// of runs a benchmark for each number of rows.
func of(b *testing.B, run func(b *testing.B, count int)) {
	for _, n := range busyRows {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			b.ReportAllocs()
			run(b, n)
		})
	}
}

// busyModel is the program, with a state on its screen.
func busyModel(st *State) *model {
	m := newModel(newFake(), LoopOptions{Caps: Caps{true, true, true}})
	m.Update(tea.WindowSizeMsg{Width: 160, Height: 45})
	m.Update(fed{state: st})
	return m
}

// BenchmarkSecond is what the view adds to a second of a busy host beside the events
// and the diagnosis: a snapshot, its state, the journal of 15,000 events and the frame.
// One operation must take much less than 100 ms, a tenth of a core at an interval of 1 s.
func BenchmarkSecond(b *testing.B) {
	of(b, func(b *testing.B, count int) {
		tab, snap, builder, st := busyState(b, count)
		m := busyModel(st)
		var j Journal
		e := event.Event{Kind: event.TimeWaitEnter}
		for now := snap.At; b.Loop(); {
			now += int64(time.Second)
			for range 15000 {
				j.Add(&e)
			}
			tab.Snapshot(now, snap)
			st := builder.of(snap)
			st.Events = j.Entries()
			m.Update(fed{state: st})
		}
	})
}

// BenchmarkSnapshot is a copy of the table.
func BenchmarkSnapshot(b *testing.B) {
	of(b, func(b *testing.B, count int) {
		tab, snap, _, _ := busyState(b, count)
		for now := snap.At; b.Loop(); {
			now += int64(time.Second)
			tab.Snapshot(now, snap)
		}
	})
}

// BenchmarkBuild makes a state of a snapshot.
func BenchmarkBuild(b *testing.B) {
	of(b, func(b *testing.B, count int) {
		_, snap, builder, _ := busyState(b, count)
		for b.Loop() {
			snap.At += int64(time.Second)
			builder.of(snap)
		}
	})
}

// BenchmarkArrange groups and sorts rows that were not on the screen before.
func BenchmarkArrange(b *testing.B) {
	for _, k := range []Display{{}, {Sort: rows.SortLife}, {Sort: rows.SortComm}, NewDisplay(rows.ByProcess), NewDisplay(rows.ByPeer), NewDisplay(rows.ByUnit)} {
		b.Run(fmt.Sprintf("%v by %v", k.Grouping, k.Sort), func(b *testing.B) {
			of(b, func(b *testing.B, count int) {
				_, _, _, st := busyState(b, count)
				for b.Loop() {
					k.Arrange(st.Rows)
				}
			})
		})
	}
}

// BenchmarkFrame draws what was arranged before.
func BenchmarkFrame(b *testing.B) {
	of(b, func(b *testing.B, count int) {
		_, _, _, st := busyState(b, count)
		m := busyModel(st)
		for b.Loop() {
			m.lines()
		}
	})
}

// BenchmarkKey is how long a key takes until its frame is made; the renderer adds up
// to the time of a frame. None may take long, and none may sort what is sorted.
func BenchmarkKey(b *testing.B) {
	for _, k := range []tea.KeyPressMsg{{Code: 's', Text: "s"}, {Code: 'j', Text: "j"}, {Code: tea.KeyEnd}, {Code: 'g', Text: "g"},
		{Code: tea.KeyEnter}, {Code: 'D', Text: "D"}, {Code: '/', Text: "/"}} {
		b.Run(k.Key().Keystroke(), func(b *testing.B) {
			of(b, func(b *testing.B, count int) {
				_, _, _, st := busyState(b, count)
				m := busyModel(st)
				for b.Loop() {
					m.Update(k)
				}
			})
		})
	}
}
