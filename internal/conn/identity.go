package conn

import (
	"hash/maphash"
	"net/netip"

	"github.com/twtrace/twtrace/internal/event"
)

// socketSet holds sockets by key, in chunks that are never moved: a map of
// sockets by value grows to twice the size under churn. Memory is kept for the
// next ones.
type socketSet struct {
	ids    map[uint64]uint32
	chunks []*[chunkLen]socket
	free   []uint32
	tuples int // sockets whose key is no cookie
}

const chunkLen = 1024

// get returns the socket of k, nil if there is none.
func (s *socketSet) get(k uint64) *socket {
	id, ok := s.ids[k]
	if !ok {
		return nil
	}
	return s.at(id)
}

func (s *socketSet) at(id uint32) *socket { return &s.chunks[id/chunkLen][id%chunkLen] }

func (s *socketSet) put(k uint64, v socket) {
	if len(s.free) == 0 {
		base := uint32(len(s.chunks) * chunkLen)
		s.chunks = append(s.chunks, new([chunkLen]socket))
		for i := range uint32(chunkLen) {
			s.free = append(s.free, base+chunkLen-1-i)
		}
	}
	id := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.ids[k] = id
	*s.at(id) = v
	if k&tupleKey != 0 {
		s.tuples++
	}
}

func (s *socketSet) remove(k uint64) {
	s.free = append(s.free, s.ids[k])
	delete(s.ids, k)
	if k&tupleKey != 0 {
		s.tuples--
	}
}

// tupleKey marks the keys of sockets that have no cookie: the kernel counts
// cookies up from 1, so that none has this bit.
const tupleKey = 1 << 63

type tuple struct {
	netns         uint32
	local, remote netip.AddrPort
}

// key returns the identity of the connection: its cookie, or a hash of
// its tuple if the source knew none. A socket first seen without a cookie may
// get one later, when somebody asks the kernel for it (ss -e does).
func (t *Table) key(e *event.Event) uint64 {
	if e.Cookie != 0 {
		if t.sockets.tuples == 0 || t.sockets.get(e.Cookie) != nil {
			return e.Cookie
		}
	}
	k := tupleKey | maphash.Comparable(t.seed, tuple{e.NetNS, unmap(e.Local), unmap(e.Remote)})
	if e.Cookie == 0 {
		return k
	}
	// A new connection on the tuple is another socket; any other event is the
	// same one's, under its new name.
	if s := t.sockets.get(k); s != nil && e.Kind != event.Open && s.alive() {
		return k
	}
	return e.Cookie
}

// recent remembers the keys of sockets that ended, so that what comes late for
// one of them is known to be late. The oldest is forgotten first.
type recent struct {
	keys [4096]uint64
	next int
}

// push returns the key that is forgotten for k, 0 if none.
func (r *recent) push(k uint64) uint64 {
	old := r.keys[r.next]
	r.keys[r.next] = k
	r.next = (r.next + 1) % len(r.keys)
	return old
}
