package view

import (
	"net/netip"
	"strconv"

	tea "charm.land/bubbletea/v2"

	"github.com/twtrace/twtrace/internal/rows"
)

// Names are asked for the peers on the screen: so many at once, and so many are kept.
const (
	namesAtOnce = 8
	maxNames    = 4096
)

// nameMsg is the name of an address, "" if it has none.
type nameMsg struct {
	addr netip.Addr
	name string
}

// nextPeer goes from the short address of a peer to the whole one, to its name where
// that can be asked for, and back.
func (d *Display) nextPeer() {
	switch {
	case !d.Full:
		d.Full = true
	case !d.Named && d.Offers.Names:
		d.Named = true
	default:
		d.Full, d.Named = false, false
	}
}

// peerKey is what the key for that does next.
func (d *Display) peerKey() string {
	switch {
	case !d.Full:
		return "p full peer"
	case !d.Named && d.Offers.Names:
		return "p peer names"
	}
	return "p short peer"
}

// askNames asks for the names of the peers on the screen, if they are to be shown.
func (m *model) askNames() tea.Cmd {
	d := &m.display
	if !d.Named || d.Tab == TabEvents {
		return nil
	}
	if len(d.names) > maxNames {
		d.names = nil
	}
	if d.names == nil {
		d.names = make(map[netip.Addr]string)
	}
	list := m.rows()
	from, to := window(len(list), tableRoom(d, m.width, m.height), d.Top, d.index(list))
	var ask []tea.Cmd
	for _, r := range list[from:to] {
		a := r.Remote.Addr()
		if _, asked := d.names[a]; asked || !a.IsValid() || m.naming == namesAtOnce {
			continue
		}
		d.names[a] = ""
		m.naming++
		ask = append(ask, func() tea.Msg { return nameMsg{a, m.opt.Name(a)} })
	}
	return tea.Batch(ask...)
}

// named takes a name.
func (m *model) named(n nameMsg) {
	m.naming--
	if m.display.names != nil {
		m.display.names[n.addr] = n.name
	}
}

// peerNamed is peer with the name of the remote end in the place of its address, where
// it has one.
func (d *Display) peerNamed(r *rows.Row, c Caps, width int) string {
	name := d.names[r.Remote.Addr()]
	if name == "" || r.Peers > 1 {
		return peerCell(r, c, width)
	}
	return arrow(r, c) + " " + c.shorten(c.safe(name)+":"+strconv.Itoa(int(r.Remote.Port())), width-2)
}
