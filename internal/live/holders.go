package live

import (
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/process"
)

// Holders returns the sockets on a local port of a network namespace, as sock_diag shows
// them now: also what the table does not hold, such as one that is only bound. Their
// processes are those of the table, or who has them open; no socket if the namespace
// cannot be read.
func (t *Trace) Holders(ns kernel.NetNS, port uint16, now time.Time) []conn.Socket {
	var seen []kernel.Socket
	if err := ns.SocketsOn(port, func(k kernel.Socket) error { seen = append(seen, k); return nil }); err != nil {
		return nil
	}
	var open map[uint64]event.Proc
	out := make([]conn.Socket, 0, len(seen))
	for _, k := range seen {
		s, _ := t.table.Lookup(k.Cookie)
		s.Cookie, s.NetNS, s.State, s.Local, s.Remote = k.Cookie, ns.Inum, k.State, k.Local, k.Remote
		switch k.State {
		case event.TimeWait:
			s.Since = now.Add(k.Expires - pressure.Hold).UnixNano()
		case event.Listening, event.Closed:
		default:
			if !k.Mini() {
				s.State = event.Established
			}
		}
		if !s.Process.Known() && k.Inode != 0 {
			if open == nil {
				open, _ = process.SocketOwners() // of those that it may read
				if open == nil {
					open = make(map[uint64]event.Proc)
				}
			}
			if p, ok := open[uint64(k.Inode)]; ok {
				s.Process, s.Owner = t.stream.resolver.Describe(p), event.ByProc
			}
		}
		out = append(out, s)
	}
	return out
}
