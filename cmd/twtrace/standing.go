package main

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// standing knows which connections stay in CLOSE_WAIT or FIN_WAIT2. No event tells
// of the one, and under load every connection is in them for a moment: only what is
// there again at a later look stands.
type standing struct {
	wanted bool      // somebody wants to know
	begun  time.Time // of the first look: what that showed may have been there for long
	first  map[uint64]stood
}

// stood is a connection in CLOSE_WAIT or FIN_WAIT2.
type stood struct {
	sighting
	at time.Time // of the first look that showed it so
}

const (
	// standsAfter is how long a connection must have been seen so.
	standsAfter = 3 * time.Second
	// maxStanding bounds those that are known.
	maxStanding = 1 << 17
)

// note takes over what a look showed.
func (s *standing) note(at time.Time, seen []sighting) {
	before := s.first
	if before == nil && s.wanted {
		s.begun = at
	}
	s.first = make(map[uint64]stood, len(seen))
	for _, k := range seen {
		if len(s.first) == maxStanding {
			return
		}
		now := stood{k, at}
		if was, ok := before[k.Cookie]; ok && was.State == k.State {
			now.at = was.at
		}
		s.first[k.Cookie] = now
	}
}

// facts are those of a namespace, by owner; since is when the window began.
func (s *standing) facts(t *conn.Table, netns uint32, since, now time.Time) []advice.Standing {
	type key struct {
		state  event.State
		comm   string
		local  netip.AddrPort
		remote netip.AddrPort
	}
	sums := make(map[key]*advice.Standing)
	for cookie, k := range s.first {
		if k.netns != netns || now.Sub(k.at) < standsAfter {
			continue
		}
		by, _ := t.Lookup(cookie)
		v := advice.Standing{State: k.State, Process: by.Process}
		if by.Role == event.Server {
			v.Local = k.Local
		} else {
			v.Local, v.Remote = netip.AddrPortFrom(k.Local.Addr(), 0), k.Remote
		}
		id := key{v.State, v.Process.Comm, v.Local, v.Remote}
		sum := sums[id]
		if sum == nil {
			sum = &v
			sums[id] = sum
		}
		sum.N++
		if k.at.After(s.begun) && k.at.Sub(since) > waitersEvery {
			sum.Grown++
		}
	}
	out := make([]advice.Standing, 0, len(sums))
	for _, v := range sums {
		out = append(out, *v)
	}
	return out
}
