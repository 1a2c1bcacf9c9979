package report

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/rows"
)

// owners are the processes of all rows, the most connections first.
func owners(all []rows.Row) []Owner {
	list := rows.Arrange(all, rows.ByProcess, rows.SortTimeWait)
	slices.SortStableFunc(list, func(a, b *rows.Row) int { return cmp.Compare(busy(b), busy(a)) })
	out := []Owner{}
	for _, r := range list {
		if r.PreStart { // no owner: the report counts these apart
			continue
		}
		o := Owner{Name: safe(r.Name()), PID: r.Owner.PID, Role: r.Role.String(), Opened: r.Total.Opens, Begins: r.Total.Enters,
			Closed: r.Total.Closes, Failed: r.Total.Fails.Total(), Refused: r.Total.Refused, Local: r.Closer[event.LocalSide],
			LifeP50: quantile(&r.Life, 0.5), LifeP99: quantile(&r.Life, 0.99), Alive: r.TimeWait}
		if !r.About {
			o.Processes = uint64(max(r.PIDs, 0))
		}
		for _, n := range r.Closer {
			o.Closers += n
		}
		if w := r.Owner.Who; w != nil {
			o.Exe, o.Unit = safe(w.Exe), safe(w.Unit)
			o.Container, o.ContainerName, o.Pod, o.PodName = safe(w.Container), safe(w.ContainerName), safe(w.Pod), safe(w.PodName)
		}
		out = append(out, o)
	}
	return out
}

// busy is how much happened in a row.
func busy(r *rows.Row) uint64 {
	return max(r.Total.Opens, r.Total.Enters+r.Total.Closes, r.Total.Snapshots) + r.Total.Fails.Total()
}

// quantile is nil if no lifetime is known.
func quantile[C uint16 | uint64](h *conn.Histogram[C], q float64) *int64 {
	d, ok := h.Quantile(q)
	if !ok {
		return nil
	}
	ns := int64(d)
	return &ns
}

// destinations are the remote ends of clients in all rows, with the use of their ports,
// the highest first.
func (s *gauges) destinations(all []rows.Row, names namer) []Destination {
	programs := programsOf(all)
	out := []Destination{}
	for _, r := range rows.Arrange(all, rows.ByPeer, rows.SortTimeWait) {
		if r.Role != event.Client || !r.Remote.IsValid() {
			continue
		}
		k := flowKey(r)
		d := Destination{NetNS: r.NetNS, NetNSName: names.of(r.NetNS), Laddr: addrText(r.Local.Addr()), Raddr: addrText(r.Remote.Addr()), Rport: r.Remote.Port(),
			Opened: r.Total.Opens, Begins: r.Total.Enters, Failed: r.Total.Fails.Total(),
			NoPort: r.Total.Fails.OfCause(event.Connect, event.EADDRNOTAVAIL, event.NoPort), LifeP50: quantile(&r.Life, 0.5)}
		if p, ok := s.by[k]; ok {
			d.Used, d.Blocked, d.Usable, d.UsedAt, d.share = p.used, p.blocked, p.limit, stamp(p.at), p.share
		}
		programs[k].describe(&d)
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(b.share, a.share), cmp.Compare(b.Used, a.Used), cmp.Compare(b.Opened, a.Opened))
	})
	return out
}

func flowKey(r *rows.Row) pressure.Key {
	return pressure.Key{What: pressure.Ports, NetNS: r.NetNS, Local: r.Local.Addr(), Remote: r.Remote}
}

// program is the processes of one name, in one cgroup, that connect to a destination.
type program struct {
	name   string
	cgroup uint64
	opens  uint64
	seen   uint64 // connections of which the recording has anything
	fails  uint64
	pids   map[uint32]struct{}
	crowd  int // processes in a row of many
}

// programs are those of one destination.
type programs []*program

func (p *programs) of(r *rows.Row) *program {
	for _, o := range *p {
		if o.name == r.Owner.Comm && o.cgroup == r.Owner.Cgroup() {
			return o
		}
	}
	o := &program{name: r.Owner.Comm, cgroup: r.Owner.Cgroup(), pids: make(map[uint32]struct{})}
	*p = append(*p, o)
	return o
}

// describe sets who has the most connections to a destination or, where none has any, whose
// calls fail most.
func (p programs) describe(d *Destination) {
	if len(p) == 0 {
		return
	}
	most := slices.MaxFunc(p, func(a, b *program) int {
		return cmp.Or(cmp.Compare(a.seen, b.seen), cmp.Compare(a.fails, b.fails), cmp.Compare(b.name, a.name))
	})
	d.Comm, d.Procs, d.Most, d.Others = safe(most.name), uint64(max(len(most.pids), most.crowd)), most.opens, uint64(len(p)-1)
	if len(most.pids) == 1 && d.Procs == 1 {
		for pid := range most.pids {
			d.PID = pid
		}
	}
}

// programsOf are the programs that connected or tried to, by destination.
func programsOf(all []rows.Row) map[pressure.Key]programs {
	by := make(map[pressure.Key]programs)
	for i := range all {
		r := &all[i]
		seen, fails := max(r.Total.Opens, r.Total.Enters+r.Total.Closes), r.Total.Fails.Total()
		if r.Role != event.Client || !r.Remote.IsValid() || seen+fails == 0 || r.Owner.Comm == "" {
			continue
		}
		k := flowKey(r)
		list := by[k]
		o := list.of(r)
		by[k] = list
		o.opens += r.Total.Opens
		o.seen += seen
		o.fails += fails
		if r.Owner.PID != 0 {
			o.pids[r.Owner.PID] = struct{}{}
		} else {
			o.crowd = max(o.crowd, r.PIDs)
		}
	}
	return by
}

// remoteText words a destination.
func remoteText(addr string, port uint16) string {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	return netip.AddrPortFrom(a, port).String()
}

func sortedKeys[K cmp.Ordered, T any](m map[K]T) []K { return slices.Sorted(maps.Keys(m)) }
