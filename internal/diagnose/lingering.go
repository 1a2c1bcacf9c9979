package diagnose

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/session"
)

// lingeringSum adds up the lingering connections of an owner.
type lingeringSum struct {
	advice.Lingering
	pids map[uint32]struct{}
}

// lingering sums up connections that stay in CLOSE_WAIT or FIN_WAIT2, by owner.
func lingering(list []session.Lingering) []advice.Lingering {
	type key struct {
		state  event.State
		comm   string
		local  netip.AddrPort
		remote netip.AddrPort
	}
	sums := make(map[key]*lingeringSum)
	for i := range list {
		k := &list[i]
		v := advice.Lingering{State: k.State, Process: k.Process}
		if k.Role == event.Server {
			v.Local = k.Local
		} else {
			v.Local, v.Remote = netip.AddrPortFrom(k.Local.Addr(), 0), k.Remote
		}
		id := key{v.State, v.Process.Comm, v.Local, v.Remote}
		sum := sums[id]
		if sum == nil {
			sum = &lingeringSum{v, make(map[uint32]struct{})}
			sums[id] = sum
		}
		sum.N++
		if k.Grown {
			sum.Grown++
		}
		if k.Process.Known() {
			sum.pids[k.Process.PID] = struct{}{}
		}
		sum.peer(&k.Peer)
	}
	out := make([]advice.Lingering, 0, len(sums))
	for _, v := range sums {
		v.PIDs = len(v.pids)
		slices.SortFunc(v.Peers, func(a, b advice.Peer) int {
			return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Process.PID, b.Process.PID))
		})
		out = append(out, v.Lingering)
	}
	return out
}

// peer counts the other end of a connection, if there is one.
func (s *lingeringSum) peer(k *conn.Socket) {
	if k.State == event.StateNone {
		return
	}
	i := slices.IndexFunc(s.Peers, func(p advice.Peer) bool {
		return p.Process.Comm == k.Process.Comm && p.NetNS == k.NetNS && p.State == k.State
	})
	if i < 0 {
		i = len(s.Peers)
		s.Peers = append(s.Peers, advice.Peer{Process: k.Process, NetNS: k.NetNS, State: k.State})
	}
	s.Peers[i].N++
}
