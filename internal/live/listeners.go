package live

import (
	"github.com/twtrace/twtrace/internal/event"
)

// addListeners adds the listeners from before the trace to the table, as listen
// events. A process that cannot be read stays unknown; its port is taken all the same.
func (t *Trace) addListeners(d *dump) {
	for i := range d.sockets {
		k := &d.sockets[i]
		if k.State != event.Listening {
			continue
		}
		t.table.Apply(&event.Event{Time: d.end.UnixNano(), Kind: event.Listen, NetNS: k.netns,
			Cookie: k.Cookie, Local: k.Local, Process: d.owners[uint64(k.Inode)], Owner: event.ByProc})
	}
}
