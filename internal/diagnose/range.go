package diagnose

import (
	"net/netip"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// manyPorts is which share of the usable ports must be taken before it is worth a pass
// over all sockets to see by whom, or in which state.
const manyPorts = 0.25

// rangeTaken adds the ports of the range that are taken for every destination, and by whom.
func (d *Diagnosis) rangeTaken(f *advice.Facts) {
	table, netns := d.session.Table(), f.NetNS.Inum
	taken := &f.Traffic.Range
	taken.Ports = table.TakenPorts(netns)
	if d.opt.TablesOnly || taken.Ports == 0 || float64(taken.Ports) < manyPorts*float64(f.Limits.UsablePorts()) {
		return
	}
	seen := make(map[uint16]bool)
	ports := make(map[uint32]uint64)
	whose := make(map[uint32]event.Proc)
	add := func(port uint16, p event.Proc) {
		if f.Limits.Ephemeral(port) && !seen[port] {
			seen[port] = true
			ports[p.PID]++
			whose[p.PID] = p
		}
	}
	for _, l := range table.Listeners(netns) {
		add(l.Local.Port(), l.Process)
	}
	for _, b := range table.BoundIdle() {
		if b.NetNS == netns {
			add(b.Port, b.Process)
		}
	}
	for s := range table.Sockets() {
		if s.NetNS == netns && s.Bound {
			add(s.Local.Port(), s.Process)
		}
	}
	for pid, n := range ports {
		taken.By.Add(whose[pid], 1, n)
	}
	taken.By.Total = max(taken.By.Total, uint64(taken.Ports))
}

// closeWait tells connections in CLOSE_WAIT or FIN_WAIT2 from open ones, where they hold
// most ports to a destination: the table does not. It asks the kernel now, since a leak of
// a second ago is one too.
func (d *Diagnosis) closeWait(f *advice.Facts) {
	f.Coarse = true
	if d.opt.TablesOnly {
		return
	}
	type ends struct {
		local  netip.Addr
		remote netip.AddrPort
	}
	full := make(map[ends]*advice.Destination)
	for i := range f.Destinations {
		to := &f.Destinations[i]
		if open := to.States.Of(event.Established); float64(open) >= manyPorts*float64(f.Limits.UsablePorts()) {
			full[ends{to.Local, to.Remote}] = to
		}
	}
	if len(full) == 0 {
		return
	}
	err := d.host.Sockets(f.NetNS, closing, func(k kernel.Socket) error {
		to := full[ends{k.Local.Addr(), k.Remote}]
		if to == nil || k.Mini() || !f.Limits.Ephemeral(k.Local.Port()) || to.States.Full[event.Established] == 0 {
			return nil
		}
		to.States.Full[event.Established]--
		to.States.Full[k.State]++
		return nil
	})
	f.Coarse = err != nil
}

// closing are the states of a full socket that the table counts as ESTABLISHED.
var closing = kernel.States(event.CloseWait, event.FinWait1, event.FinWait2, event.LastAck, event.Closing)
