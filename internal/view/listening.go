package view

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/rows"
)

// maxListening bounds the listeners that are shown without a connection.
const maxListening = 1000

// listening makes rows of the listeners that have no connection. States share them for as
// long as they are the same.
type listening struct {
	of   []conn.Listener
	last []rows.Row
}

// list are the rows that d arranges: on the Listen tab the listeners too that have no
// connection.
func (s *State) list(d *Display) []rows.Row {
	if d.Tab == TabListeners && s.listed != nil {
		return s.listed
	}
	return s.Rows
}

// rows are those of the listeners of a snapshot that are at no row of list.
func (l *listening) rows(s *conn.Snapshot, list []rows.Row, name func(uint32) string) []rows.Row {
	type end struct {
		netns uint32
		pid   uint32
		local netip.AddrPort
	}
	reached := make(map[end]struct{})
	for i := range list {
		if r := &list[i]; r.Role == event.Server {
			at := r.Local
			if r.Listen.IsValid() {
				at = r.Listen
			}
			reached[end{r.NetNS, r.Owner.PID, at}] = struct{}{}
		}
	}
	var idle []conn.Listener
	for _, v := range s.Listeners {
		if _, ok := reached[end{v.NetNS, v.Process.PID, v.Local}]; !ok {
			idle = append(idle, v)
		}
	}
	slices.SortFunc(idle, func(a, b conn.Listener) int {
		return cmp.Or(cmp.Compare(a.NetNS, b.NetNS), a.Local.Compare(b.Local), cmp.Compare(a.Process.PID, b.Process.PID))
	})
	idle = idle[:min(len(idle), maxListening)]
	same := func(a, b conn.Listener) bool {
		return a.NetNS == b.NetNS && a.Local == b.Local && a.Process.Is(b.Process)
	}
	if slices.EqualFunc(idle, l.of, same) {
		return l.last
	}
	l.of, l.last = idle, make([]rows.Row, 0, len(idle))
	for _, v := range idle {
		r := rows.Row{NetNS: v.NetNS, Space: name(v.NetNS), Owner: v.Process, PIDs: 1, Owners: 1, Peers: 1, Role: event.Server,
			Local: v.Local, First: v.Since, Polled: true}
		if v.Local.Addr().IsUnspecified() {
			r.Listen = v.Local
		}
		r.ID = r.KeyBy(rows.ByFlow)
		l.last = append(l.last, r)
	}
	return l.last
}
