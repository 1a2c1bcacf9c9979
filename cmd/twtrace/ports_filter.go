package main

import (
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/pressure"
)

// shows tells whether the filter lets a gauge through. Where it names connections,
// what is not about these alone would be wrong.
func shows(f *filter.Filter, g *pressure.Gauge) bool {
	if g.Held() == 0 && g.Fails.Total() == 0 && g.Refused == 0 {
		return false
	}
	where := f.Spaces() // a recording has all the others too
	if g.What == pressure.Ports {
		where = f.Places()
	}
	if !where.Match(&event.Event{NetNS: g.NetNS, Local: netip.AddrPortFrom(g.Local, 0), Remote: g.Remote}) {
		return false
	}
	if g.What == pressure.Buckets && f.Connections().Active() || g.What == pressure.LocalPorts && f.Remotes().Active() {
		return false
	}
	who := f.Processes()
	return !who.Active() || slices.ContainsFunc(g.Holders, func(h conn.Holder) bool {
		return who.Match(&event.Event{Process: h.Process})
	})
}
