package report

import (
	"cmp"
	"maps"
	"net/netip"
	"slices"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/view"
)

// owners are the processes of rows, those with most connections first.
func owners(rows []view.Row) []Owner {
	list := view.Arrange(rows, view.ByProcess, view.SortTimeWait)
	slices.SortStableFunc(list, func(a, b *view.Row) int { return cmp.Compare(busy(b), busy(a)) })
	out := []Owner{}
	for _, r := range list {
		if r.PreStart { // nobody, and told apart
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
			o.Container, o.Pod = safe(cmp.Or(w.ContainerName, w.Container)), safe(cmp.Or(w.PodName, w.Pod))
		}
		out = append(out, o)
	}
	return out
}

// busy is how much happened in a row.
func busy(r *view.Row) uint64 {
	return max(r.Total.Opens, r.Total.Enters+r.Total.Closes, r.Total.Snapshots) + r.Total.Fails.Total()
}

func quantile(h *conn.Hist, q float64) *int64 {
	d, ok := h.Quantile(q)
	if !ok {
		return nil
	}
	ns := int64(d)
	return &ns
}

// destinations are the remote ends of clients in rows, with how full their port
// ranges were, the fullest first.
func (s *gauges) destinations(rows []view.Row) []Destination {
	top := topOwners(rows)
	out := []Destination{}
	for _, r := range view.Arrange(rows, view.ByPeer, view.SortTimeWait) {
		if r.Role != event.Client || !r.Remote.IsValid() {
			continue
		}
		k := flowKey(r)
		d := Destination{NetNS: r.NetNS, Laddr: addrText(r.Local.Addr()), Raddr: addrText(r.Remote.Addr()), Rport: r.Remote.Port(),
			Opened: r.Total.Opens, Begins: r.Total.Enters, Failed: r.Total.Fails.Total(),
			NoPort: r.Total.Fails.Of(event.Connect, uint16(unix.EADDRNOTAVAIL)), LifeP50: quantile(&r.Life, 0.5)}
		if p, ok := s.by[k]; ok {
			d.Used, d.Usable, d.UsedAt, d.share = p.used, p.limit, stamp(p.at), p.share
		}
		if o := top[k]; o != nil {
			d.PID, d.Comm = o.Owner.PID, safe(o.Owner.Comm)
		}
		out = append(out, d)
	}
	slices.SortStableFunc(out, func(a, b Destination) int {
		return cmp.Or(cmp.Compare(b.share, a.share), cmp.Compare(b.Used, a.Used), cmp.Compare(b.Opened, a.Opened))
	})
	return out
}

func flowKey(r *view.Row) pressure.Key {
	return pressure.Key{What: pressure.Ports, NetNS: r.NetNS, Local: r.Local.Addr(), Remote: r.Remote}
}

// topOwners are, of each destination, the row that most happened in.
func topOwners(rows []view.Row) map[pressure.Key]*view.Row {
	top := make(map[pressure.Key]*view.Row)
	for i := range rows {
		r := &rows[i]
		if r.Role != event.Client || !r.Remote.IsValid() {
			continue
		}
		k := flowKey(r)
		was := top[k]
		if was == nil || cmp.Or(cmp.Compare(busy(r), busy(was)), cmp.Compare(was.Owner.PID, r.Owner.PID), cmp.Compare(was.Owner.Comm, r.Owner.Comm)) > 0 {
			top[k] = r
		}
	}
	return top
}

// sameRemote tells destinations apart in words.
func sameRemote(addr string, port uint16) string {
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return addr
	}
	return netip.AddrPortFrom(a, port).String()
}

func sortedKeys[K cmp.Ordered, T any](m map[K]T) []K { return slices.Sorted(maps.Keys(m)) }
