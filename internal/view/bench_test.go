package view

import (
	"fmt"
	"testing"
	"time"

	tea "charm.land/bubbletea/v2"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// busy is a table of 5,000 groups, and what feeds it 15,000 events: five thousand
// connections that open, enter TIME_WAIT and leave it.
func busy() (tab *conn.Table, second func(sec int64)) {
	tab = conn.New(conn.Options{Limits: limits100})
	s := script{tab: tab}
	cookie := uint64(0)
	return tab, func(sec int64) {
		for i := range uint32(5000) {
			cookie++
			for _, k := range []event.Kind{event.Open, event.TimeWaitEnter, event.TimeWaitExit} {
				c := cookie
				if k == event.TimeWaitExit { // those of 20 s ago
					if c <= 100_000 {
						continue
					}
					c -= 100_000
				}
				s.apply(sec, k, c, func(e *event.Event) {
					e.Opener = event.Proc{PID: 1000 + i, Comm: "worker"}
					e.Remote = addr(fmt.Sprintf("10.3.%d.%d:80", i/250%20, i%250))
				})
			}
		}
	}
}

// BenchmarkSecond is what the view adds to a second of a busy host beside the table:
// a snapshot of 5,000 groups, the state, its frame and the journal of 15,000 events.
// One operation must take less than 100 ms, a tenth of a core at an interval of 1 s.
func BenchmarkSecond(b *testing.B) {
	tab, second := busy()
	builder := Builder{Limits: limits100}
	m := newModel(newFake(), LoopOptions{Caps: Caps{true, true, true}})
	m.Update(tea.WindowSizeMsg{Width: 160, Height: 45})
	var snap conn.Snapshot
	var j Journal
	e := event.Event{Kind: event.TimeWaitEnter}
	for sec := range int64(25) {
		second(1000 + sec)
	}
	now := int64(1025 * time.Second)
	for b.Loop() {
		for range 15000 {
			j.Add(&e)
		}
		tab.Snapshot(now, &snap)
		st := builder.Build(&snap)
		st.Events = j.Entries()
		m.Update(fed{state: st})
		now += int64(time.Second)
	}
	if n := len(m.rows()); n != 5000 {
		b.Fatalf("%d rows", n)
	}
}

// BenchmarkKey is how long a key takes until its frame is made, with 5,000 rows; the
// renderer adds up to a thirtieth of a second.
func BenchmarkKey(b *testing.B) {
	tab, second := busy()
	second(1000)
	var snap conn.Snapshot
	tab.Snapshot(1001e9, &snap)
	m := newModel(newFake(), LoopOptions{Caps: Caps{true, true, true}})
	m.Update(tea.WindowSizeMsg{Width: 160, Height: 45})
	m.Update(fed{state: (&Builder{Limits: limits100}).Build(&snap)})
	for _, k := range []tea.KeyPressMsg{{Code: 's', Text: "s"}, {Code: 'j', Text: "j"}, {Code: tea.KeyEnd}, {Code: 'g', Text: "g"}, {Code: tea.KeyEnter}} {
		b.Run(k.Key().Keystroke(), func(b *testing.B) {
			for b.Loop() {
				m.Update(k)
			}
		})
		m.Update(tea.KeyPressMsg{Code: '1', Text: "1"})
	}
}
