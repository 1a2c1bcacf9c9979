package diagnose

import (
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
)

// maxTuples is for how many connections the holder is looked up.
const maxTuples = 16

// takenTuples lists the connections that connect() could not make a second time, in the
// window, and who has them.
func (d *Diagnosis) takenTuples(f *advice.Facts, now time.Time) []advice.TakenTuple {
	var out []advice.TakenTuple
	if d.opt.TablesOnly {
		return nil
	}
	for _, t := range d.session.Table().TupleFails(f.NetNS.Inum) {
		if e := &t.Event; e.Time >= d.old.at.UnixNano() && len(out) < maxTuples {
			out = append(out, advice.TakenTuple{Local: e.Local, Remote: e.Remote, By: e.Process})
		}
	}
	if len(out) == 0 {
		return nil
	}
	for s := range d.session.Table().Sockets() {
		for i := range out {
			if t := &out[i]; s.NetNS == f.NetNS.Inum && s.Local == t.Local && s.Remote == t.Remote {
				heldBy(t, &s, now)
			}
		}
	}
	for i := range out {
		t := &out[i]
		_, t.Listens = d.session.Table().Listening(f.NetNS.Inum, t.Local)
		if t.State == event.StateNone {
			d.askHolder(f, t)
		}
	}
	return out
}

// heldBy is what the table knows of the socket that has the four numbers.
func heldBy(t *advice.TakenTuple, s *conn.Socket, now time.Time) {
	t.State, t.Holder = s.State, s.Process
	if !s.Guessed {
		t.Role = s.Role
	}
	if s.State == event.TimeWait {
		t.FreeIn = max(time.Unix(0, s.Since).Add(pressure.Hold).Sub(now), 0)
	}
}

// askHolder asks the kernel for the socket, where the table has none: one that waits for
// the answer to its own SYN, for example.
func (d *Diagnosis) askHolder(f *advice.Facts, t *advice.TakenTuple) {
	// Of a recording, or of a namespace that cannot be read, it stays unknown.
	_ = d.host.Sockets(f.NetNS, kernel.AllStates&^kernel.States(event.Listening), func(k kernel.Socket) error {
		if k.Local == t.Local && k.Remote == t.Remote {
			t.State = k.State
			if k.State == event.TimeWait {
				t.FreeIn = k.Expires
			}
		}
		return nil
	})
}
