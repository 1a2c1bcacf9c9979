package view

import (
	"net/netip"
	"strconv"

	tea "charm.land/bubbletea/v2"
)

// What names are asked for: those of the peers on the screen, so many at once, and so
// many are kept.
const (
	namesAtOnce = 8
	mostNames   = 4096
)

// nameMsg tells the name of an address, "" if it has none.
type nameMsg struct {
	addr netip.Addr
	name string
}

// nextPeer goes from the short address of a peer to the whole one, to its name where
// that can be asked for, and back.
func (k *Look) nextPeer() {
	switch {
	case !k.Full:
		k.Full = true
	case !k.Named && k.Offers.Names:
		k.Named = true
	default:
		k.Full, k.Named = false, false
	}
}

// peerKey is what the key for that does next.
func (k *Look) peerKey() string {
	switch {
	case !k.Full:
		return "p full peer"
	case !k.Named && k.Offers.Names:
		return "p peer names"
	}
	return "p short peer"
}

// askNames asks for the names of the peers on the screen, if they are to be shown.
func (m *model) askNames() tea.Cmd {
	k := &m.look
	if !k.Named || k.Tab == TabEvents {
		return nil
	}
	if len(k.names) > mostNames {
		k.names = nil
	}
	if k.names == nil {
		k.names = make(map[netip.Addr]string)
	}
	rows := m.rows()
	from, to := window(len(rows), tableRoom(k, m.width, m.height), k.Top, k.index(rows))
	var ask []tea.Cmd
	for _, r := range rows[from:to] {
		a := r.Remote.Addr()
		if _, asked := k.names[a]; asked || !a.IsValid() || m.naming == namesAtOnce {
			continue
		}
		k.names[a] = ""
		m.naming++
		ask = append(ask, func() tea.Msg { return nameMsg{a, m.opt.Name(a)} })
	}
	return tea.Batch(ask...)
}

// named takes a name.
func (m *model) named(n nameMsg) {
	m.naming--
	if m.look.names != nil {
		m.look.names[n.addr] = n.name
	}
}

// peerNamed is peer with the name of the remote end in the place of its address, where
// it has one.
func (k *Look) peerNamed(r *Row, c Caps, width int) string {
	name := k.names[r.Remote.Addr()]
	if name == "" || r.Peers > 1 {
		return r.peer(c, width)
	}
	return r.arrow(c) + " " + c.shorten(c.safe(name)+":"+strconv.Itoa(int(r.Remote.Port())), width-2)
}
