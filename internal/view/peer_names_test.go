package view

import (
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"

	tea "charm.land/bubbletea/v2"
)

// p shows peers in full, then by name, whatever the name is made of, then as before.
// Names are asked for once, and not before.
func TestPeerNames(t *testing.T) {
	p := openPTY(t)
	src := newFake()
	var asked atomic.Int32
	wait := p.start(t.Context(), src, LoopOptions{Name: func(a netip.Addr) string {
		asked.Add(1)
		switch a.String() {
		case "10.2.0.9":
			return "db.example.net"
		case "10.2.4.17":
			return "\x1b[31mevil"
		}
		return ""
	}})
	p.Await("waiting")
	src.states <- told()
	p.Await("> 10.2.0.9:5432")
	p.Press("p")
	p.Press("?") // the key before it has done its work
	p.Await("twtrace: keys")
	p.Press("?")
	p.Await("[1 Flows]")
	if n := asked.Load(); n != 0 {
		t.Errorf("%d names asked for, and nobody wanted them", n)
	}
	p.Press("p")
	p.Await("> db.example.net:5432")
	p.Await(`> \x1b[31mevil:8080`)
	p.Await("> 10.2.9.4:9092") // it has none
	p.Press("j")
	p.Press("p")
	p.Await("> 10.2.0.9:5432")
	p.Await("PORT%")
	p.Press("q")
	if err := wait(); err != nil {
		t.Error(err)
	}
	if n := asked.Load(); n != 6 {
		t.Errorf("asked %d times for the names of 6 addresses", n)
	}
}

// Of a screen full of peers a few are asked for at a time, and each once.
func TestNamesAreBounded(t *testing.T) {
	_, _, _, st := busyState(t, 200)
	m := newModel(newFake(), LoopOptions{Name: func(a netip.Addr) string { return "host-" + a.String() }})
	m.Update(tea.WindowSizeMsg{Width: 160, Height: 45})
	m.Update(fed{state: st})
	m.display.Full, m.display.Named = true, true
	if m.askNames(); m.naming != 1 { // all have one address
		t.Errorf("%d names are asked for, want 1", m.naming)
	}
	m.named(nameMsg{netip.MustParseAddr("10.3.0.7"), "host"})
	if m.askNames(); m.naming != 0 || !strings.Contains(strings.Join(m.lines(), "\n"), "host:5000") {
		t.Errorf("%d names are asked for again, or it is not shown", m.naming)
	}
	for i := range st.Rows {
		st.Rows[i].Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 0, byte(i)}), 80)
	}
	if m.askNames(); m.naming != namesAtOnce {
		t.Errorf("%d names are asked for at once, want %d", m.naming, namesAtOnce)
	}
}
