package diagnose

import (
	"errors"
	"net/netip"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// owned are the states of sockets that a process can have.
var owned = kernel.States(event.Listening, event.SynSent, event.Established, event.CloseWait, event.FinWait1, event.FinWait2,
	event.Closing, event.LastAck)

// errNotSole ends the search for the only program.
var errNotSole = errors.New("there is more than one program, or one that is not known")

// sole sets the only program that owns TCP sockets in the namespace of f, where it is asked
// for: no owner is known of the ports to a destination that has few left. sock_diag shows the
// sockets, and the table knows whose they are; if it does not for one of them, there is no
// such program.
func (d *Diagnosis) sole(f *advice.Facts, snap *conn.Snapshot) {
	if d.opt.TablesOnly || !d.ownersMissing(f) {
		return
	}
	listen := make(map[netip.AddrPort][]event.Proc)
	for _, l := range d.session.Table().Listeners(f.NetNS.Inum) {
		listen[l.Local] = append(listen[l.Local], l.Process)
	}
	var all shares
	count := func(p event.Proc, n uint64) error {
		// A listener of process 1 is often made for a program that it starts.
		if p.Comm == "" || p.PID == 1 || len(all.parts) > 0 && all.find(advice.ProgramOf(p)) == nil {
			return errNotSole
		}
		all.add(&conn.Group{Owner: p, Kind: conn.GroupProcess}, n, groupCounts{})
		return nil
	}
	err := d.host.Sockets(f.NetNS, owned, func(k kernel.Socket) error {
		switch {
		case k.Inode == 0: // no process has it
			return nil
		case k.State == event.Listening:
			here := listen[k.Local]
			if len(here) == 0 {
				return errNotSole
			}
			listen[k.Local] = here[1:]
			return count(here[0], 1)
		}
		s, _ := d.session.Table().Lookup(k.Cookie)
		if s.Owner == event.Inferred {
			return errNotSole
		}
		return count(s.Process, 1)
	})
	for i := range snap.Groups { // whose sockets are in TIME_WAIT only, or who has just closed its last one
		g := &snap.Groups[i]
		if err == nil && g.NetNS == f.NetNS.Inum && g.Owner.Comm != "" && g.Alive() > 0 {
			err = count(g.Owner, 0)
		}
	}
	if c := all.contributors(0); err == nil && len(c.List) == 1 {
		f.Traffic.Sole = c.List[0]
	}
}

// ownersMissing reports whether nobody is known who holds the ports to a destination that
// has lost half of them or more.
func (d *Diagnosis) ownersMissing(f *advice.Facts) bool {
	for i := range f.Destinations {
		to := &f.Destinations[i]
		if len(to.Holders.List) == 0 && to.Holders.Total > 0 && (to.Failed > 0 || 2*to.Holders.Total >= uint64(max(f.Limits.UsablePorts(), 0))) {
			return true
		}
	}
	return false
}
