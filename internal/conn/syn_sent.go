package conn

import "net/netip"

// SynSent is how many sockets from one local address to one remote end are in
// SYN_SENT: their client has sent a SYN and has no answer yet.
type SynSent struct {
	NetNS  uint32
	Local  netip.Addr
	Remote netip.AddrPort
	N      int
	Resent int      // of N, those that have sent their SYN again
	By     []Holder // whose they are, as far as that is known
}

// SetSynSent sets how many sockets are in SYN_SENT, from a dump of the kernel's
// sockets at that time (ns since the epoch): no event says it. It replaces what
// the dump before had.
func (t *Table) SetSynSent(at int64, list []SynSent) {
	for _, d := range t.dests.all {
		if d != nil {
			d.synSent, d.synSentBy, d.resent = 0, nil, 0
		}
	}
	for _, s := range list {
		k := destKey{netns: s.NetNS, laddr: s.Local.As16(), raddr: s.Remote.Addr().As16(), rport: s.Remote.Port()}
		if d := t.dests.get(t.destinationOf(k, at)); d != nil {
			d.synSent, d.synSentBy, d.resent = uint32(s.N), s.By, uint32(s.Resent)
			if d.flow == nil && d.synSent >= busyPorts {
				d.flow = d.startFlow(d.opens, t.now)
			}
			d.last = max(d.last, at)
		}
	}
}
