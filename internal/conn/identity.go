package conn

import (
	"hash/maphash"

	"github.com/twtrace/twtrace/internal/event"
)

// socketSet holds sockets by key, in chunks that never move. The memory of those that
// are gone serves the next ones.
type socketSet struct {
	ids    index
	chunks []*[chunkLen]socket
	free   []uint32
	tuples int // sockets whose key is no cookie
}

const chunkLen = 1024

// get returns the socket of k, nil if there is none.
func (s *socketSet) get(k uint64) *socket {
	i, ok := s.ids.find(k, s.is)
	if !ok {
		return nil
	}
	return s.at(s.ids.slots[i].id - 1)
}

func (s *socketSet) is(id uint32, k uint64) bool { return s.at(id).key == k }

func (s *socketSet) at(id uint32) *socket { return &s.chunks[id/chunkLen][id%chunkLen] }

// put adds a socket under its key, which is not there.
func (s *socketSet) put(v socket) {
	if len(s.free) == 0 {
		base := uint32(len(s.chunks) * chunkLen)
		s.chunks = append(s.chunks, new([chunkLen]socket))
		for i := range uint32(chunkLen) {
			s.free = append(s.free, base+chunkLen-1-i)
		}
	}
	id := s.free[len(s.free)-1]
	s.free = s.free[:len(s.free)-1]
	s.ids.put(v.key, id)
	*s.at(id) = v
	if v.key&tupleKey != 0 {
		s.tuples++
	}
}

func (s *socketSet) remove(k uint64) {
	i, ok := s.ids.find(k, s.is)
	if !ok {
		return
	}
	s.free = append(s.free, s.ids.slots[i].id-1)
	s.ids.removeAt(i)
	if k&tupleKey != 0 {
		s.tuples--
	}
}

// all yields every socket. The caller must not put or remove any meanwhile.
func (s *socketSet) all(yield func(*socket) bool) {
	for _, at := range s.ids.slots {
		if at.id != 0 && !yield(s.at(at.id-1)) {
			return
		}
	}
}

// tupleKey marks the keys of sockets that have no cookie: the kernel counts
// cookies up from 1, so that none has this bit.
const tupleKey = 1 << 63

// key returns the identity of the connection: its cookie, or a hash of its tuple
// if the event has none. A socket without a cookie may get one later, when somebody
// asks the kernel for it (ss -e does).
func (t *Table) key(e *event.Event) uint64 {
	if e.Cookie != 0 {
		if t.sockets.tuples == 0 || t.sockets.get(e.Cookie) != nil {
			return e.Cookie
		}
	}
	k := tupleKey | maphash.Comparable(t.seed, e.Tuple())
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

// recent remembers the keys of the last sockets that ended, so that an event which
// comes late for one of them is known to be late.
type recent struct {
	keys [4096]uint64
	next int
}

// push remembers k, and returns the key that it replaces, 0 if none.
func (r *recent) push(k uint64) uint64 {
	old := r.keys[r.next]
	r.keys[r.next] = k
	r.next = (r.next + 1) % len(r.keys)
	return old
}
