package diagnose

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// listeners adds who listens in the namespace of f, and what they have accepted.
func (d *Diagnosis) listeners(f *advice.Facts, snap *conn.Snapshot) {
	at := make(map[netip.AddrPort]*serverSum)
	of := func(local netip.AddrPort) *serverSum {
		l := at[local]
		if l == nil {
			l = &serverSum{Listener: advice.Listener{Local: local}}
			at[local] = l
		}
		return l
	}
	for i := range snap.Groups {
		if g := &snap.Groups[i]; g.NetNS == f.NetNS.Inum && g.Role == event.Server && g.Local.Port() != 0 {
			d.accepted(of(g.Local), g)
		}
	}
	if !d.opt.TablesOnly {
		for _, k := range d.session.Table().Listeners(f.NetNS.Inum) {
			if l := of(k.Local); !l.Owner.Known() {
				l.Owner = k.Process
			}
		}
	}
	list := make([]*serverSum, 0, len(at))
	for _, l := range at {
		l.alive = l.States.All()
		list = append(list, l)
	}
	slices.SortFunc(list, func(a, b *serverSum) int { return cmp.Or(cmp.Compare(b.alive, a.alive), a.Local.Compare(b.Local)) })
	f.Listeners = make([]advice.Listener, len(list))
	for i, l := range list {
		if l.life != nil {
			lifetimes(&l.Flow, l.life)
		}
		if p := l.serve.find(advice.ProgramOf(l.Owner)); p != nil {
			l.PIDs = p.processes()
		}
		l.Holders = l.holds.contributors(0)
		f.Listeners[i] = l.Listener
	}
	for i := range f.HostAfter.Queues {
		q := &f.HostAfter.Queues[i]
		if l := at[q.Local]; q.Waiting > q.Backlog && l != nil && l.Owner.Known() {
			q.Owner, q.Stopped = l.Owner, d.host.Stopped(l.Owner.PID)
		}
	}
}

// serverSum adds up the groups of a listener.
type serverSum struct {
	advice.Listener
	life  *conn.Hist // the only group's own; nil if there is none
	mixed bool       // it is not
	most  uint64
	serve shares // who accepts, by their connections and listening sockets
	holds shares // in TIME_WAIT
	alive int
}

// accepted adds a group to its listener.
func (d *Diagnosis) accepted(l *serverSum, g *conn.Group) {
	l.States.Full[event.TimeWait] += uint32(g.TimeWait)
	l.States.Full[event.Established] += uint32(g.Open())
	l.States.Parked += uint32(g.Parked)
	l.serve.add(g, max(g.Opens, g.Alive()), groupCounts{})
	l.holds.add(g, g.TimeWait, groupCounts{})
	opens := l.Opens
	d.add(&l.Flow, g)
	if opens = l.Opens - opens; g.Owner.Known() && (opens > l.most || !l.Owner.Known()) {
		l.most, l.Owner = opens, g.Owner
	}
	switch {
	case l.life == nil:
		l.life = &g.Life
		return
	case !l.mixed:
		both := *l.life
		l.life, l.mixed = &both, true
	}
	l.life.Merge(&g.Life)
}
