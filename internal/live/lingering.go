package live

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/session"
)

// lingering knows which connections stay in CLOSE_WAIT or FIN_WAIT2. No event shows
// that, and under load every connection is in them for a moment: only what is there
// again at a later poll lingers.
type lingering struct {
	wanted  bool      // somebody asked
	started time.Time // of the first poll: what that showed may have been there for long
	sockets map[uint64]lingeringSocket
	ends    map[tuple][]uint64 // their cookies, by their ends: more than one in as many namespaces
}

type tuple struct{ local, remote netip.AddrPort }

// lingeringSocket is a connection in CLOSE_WAIT or FIN_WAIT2.
type lingeringSocket struct {
	sighting
	seen time.Time // of the first poll that showed it so
}

const (
	// lingersAfter is how long a connection must have been seen so.
	lingersAfter = 3 * time.Second
	// maxLingering bounds those that are known.
	maxLingering = 1 << 17
)

// note takes over what a poll showed.
func (l *lingering) note(at time.Time, seen []sighting) {
	before := l.sockets
	if before == nil && l.wanted {
		l.started = at
	}
	l.sockets = make(map[uint64]lingeringSocket, len(seen))
	l.ends = make(map[tuple][]uint64, len(seen))
	for _, k := range seen {
		if len(l.sockets) == maxLingering {
			return
		}
		now := lingeringSocket{k, at}
		if was, ok := before[k.Cookie]; ok && was.State == k.State {
			now.seen = was.seen
		}
		l.sockets[k.Cookie] = now
		end := tuple{k.Local, k.Remote}
		l.ends[end] = append(l.ends[end], k.Cookie)
	}
}

// peer is the other end of k, if it is one of these too. A connection over loopback stays
// in its namespace. In two namespaces with the same addresses, nobody knows which it is.
func (l *lingering) peer(k *lingeringSocket) (peer lingeringSocket, ok bool) {
	for _, cookie := range l.ends[tuple{k.Remote, k.Local}] {
		o := l.sockets[cookie]
		switch {
		case cookie == k.Cookie || k.Local.Addr().IsLoopback() && o.netns != k.netns:
		case o.netns == k.netns:
			return o, true
		case ok:
			return lingeringSocket{}, false
		default:
			peer, ok = o, true
		}
	}
	return peer, ok
}

// WatchLingering has Lingering know something from the next poll on.
func (t *Trace) WatchLingering() { t.lingering.wanted = true }

// Lingering returns the connections of a network namespace that stay in CLOSE_WAIT or
// FIN_WAIT2 at now. Grown is set on those that came after the first poll, and later
// than a poll after since.
func (t *Trace) Lingering(netns uint32, since, now time.Time) []session.Lingering {
	var out []session.Lingering
	for _, k := range t.lingering.sockets {
		if k.netns != netns || now.Sub(k.seen) < lingersAfter {
			continue
		}
		v := session.Lingering{Socket: t.holds(&k), Seen: k.seen,
			Grown: k.seen.After(t.lingering.started) && k.seen.Sub(since) > waitersEvery}
		if peer, ok := t.lingering.peer(&k); ok {
			v.Peer = t.holds(&peer)
		}
		out = append(out, v)
	}
	return out
}

// holds is k with its owner, as the table has it.
func (t *Trace) holds(k *lingeringSocket) conn.Socket {
	by, _ := t.table.Lookup(k.Cookie)
	by.Cookie, by.NetNS, by.State, by.Local, by.Remote = k.Cookie, k.netns, k.State, k.Local, k.Remote
	return by
}
