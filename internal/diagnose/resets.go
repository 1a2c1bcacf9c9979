package diagnose

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// idlePair is a program that connects to a server, or the server as its own end sees it.
type idlePair struct {
	role   event.Role
	comm   string // of the client; "" if it is not known
	server netip.AddrPort
}

// idleSum adds up the groups of a pair.
type idleSum struct {
	advice.IdleReset
	idle conn.Hist
	most uint64 // resets of the process that is named
}

// idleResets are the connections that their server closed as idle while their client still
// used them, by program and server. The client's end knows who wrote; what the server's end
// counted beyond that is of clients elsewhere.
func (d *Diagnosis) idleResets(f *advice.Facts, snap *conn.Snapshot) []advice.IdleReset {
	sums := make(map[idlePair]*idleSum)
	written := make(map[netip.AddrPort]uint64) // by clients on this host, by server
	for i := range snap.Groups {
		g := &snap.Groups[i]
		pair := idlePair{g.Role, "", g.Local}
		if g.Role == event.Client {
			pair.comm, pair.server = g.Owner.Comm, g.Remote
			if g.NetNS == f.NetNS.Inum || !g.Remote.Addr().IsLoopback() {
				written[g.Remote] += less(g.IdleResets, d.old.groups[g.ID].idleResets)
			}
		}
		if g.NetNS != f.NetNS.Inum || g.Role == event.RoleNone {
			continue
		}
		sum := sums[pair]
		if sum == nil {
			sum = &idleSum{IdleReset: advice.IdleReset{Here: pair.role == event.Client, Server: pair.server}}
			sums[pair] = sum
		}
		sum.add(d, g)
	}
	joinUnnamed(sums)
	var out []advice.IdleReset
	for pair, sum := range sums {
		if pair.role == event.Server {
			sum.N = less(sum.N, written[pair.server])
			if pair.server.Addr().IsLoopback() && written[pair.server] > 0 {
				sum.N = 0 // nobody elsewhere can be its client: an end did not see all of it
			}
		} else {
			sum.Closed = serverAt(f.NetNS.Inum, pair.server, snap)
		}
		if sum.N == 0 {
			continue
		}
		sum.Least, _ = sum.idle.Quantile(0.1)
		sum.Idle, _ = sum.idle.Quantile(0.5)
		sum.Longest, _ = sum.idle.Quantile(0.9)
		out = append(out, sum.IdleReset)
	}
	slices.SortFunc(out, func(a, b advice.IdleReset) int {
		return cmp.Or(cmp.Compare(b.N, a.N), a.Server.Compare(b.Server), cmp.Compare(a.Wrote.Comm, b.Wrote.Comm))
	})
	return out
}

// joinUnnamed puts the clients on this host whose process is not known beside the program that
// has the most of the same resets, if there is one: nobody can act on them alone.
func joinUnnamed(sums map[idlePair]*idleSum) {
	for pair, sum := range sums {
		if pair.role != event.Client || pair.comm != "" {
			continue
		}
		var most *idleSum
		for p, s := range sums {
			if p.role == event.Client && p.comm != "" && p.server == pair.server && s.N > 0 &&
				(most == nil || s.N > most.N || s.N == most.N && s.Wrote.Comm < most.Wrote.Comm) {
				most = s
			}
		}
		if most != nil {
			most.Unnamed, sum.N = sum.N, 0
		}
	}
}

// add adds a group.
func (s *idleSum) add(d *Diagnosis, g *conn.Group) {
	before := d.old.groups[g.ID]
	n := less(g.IdleResets, before.idleResets)
	s.N += n
	s.Of += less(g.Ends, before.ends) + g.Open()
	if g.Idle != nil {
		s.idle.Merge(g.Idle)
	}
	named := &s.Wrote
	if g.Role == event.Server {
		named = &s.Closed
	} else if n > 0 {
		s.PIDs += max(g.PIDs, 1)
	}
	if n >= s.most && g.Owner.Known() {
		s.most, *named = n, g.Owner
	}
}

// serverAt is who serves at an address, if that is on this host: in the namespace, or, but for
// loopback, in another.
func serverAt(netns uint32, at netip.AddrPort, snap *conn.Snapshot) event.Proc {
	var found event.Proc
	for i := range snap.Groups {
		g := &snap.Groups[i]
		if g.Role != event.Server || g.Local != at || !g.Owner.Known() || g.NetNS != netns && at.Addr().IsLoopback() {
			continue
		}
		if found.Known() && found.Comm != g.Owner.Comm {
			return event.Proc{}
		}
		found = g.Owner
	}
	return found
}
