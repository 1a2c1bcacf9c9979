package main

import (
	"github.com/twtrace/twtrace/internal/event"
)

// knowListeners tells the table of the listeners that were there before the
// trace, as listen events. Whose process cannot be read stays unknown.
func (s *session) knowListeners(l *look) {
	for i := range l.sockets {
		k := &l.sockets[i]
		if k.State != event.Listening {
			continue
		}
		if p, ok := l.owners[uint64(k.Inode)]; ok {
			s.table.Apply(&event.Event{Time: l.end.UnixNano(), Kind: event.Listen, NetNS: k.netns,
				Cookie: k.Cookie, Local: k.Local, Process: p, Owner: event.ByProc})
		}
	}
}
