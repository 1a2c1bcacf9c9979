package filter

import (
	"net/netip"
)

// Room for each list in the BPF programs. A list that is longer is left to
// [Filter.Match] as a whole.
const (
	MaxNetNS    = 8
	MaxPorts    = 16 // ranges, each of local and remote
	MaxPrefixes = 4  // each of local and remote
)

// KernelFilter is the part of a filter that the BPF programs apply: a
// connection has to satisfy every list whose count is not 0. It speaks of what
// stays the same over a connection's life, and accepts what is not known yet: a
// port that is 0 (the local one at SYN_SENT and at the last CLOSE), an address
// that is all zero, a namespace that is 0. Lists with "!" and everything about
// processes, reasons and roles stay in user space.
type KernelFilter struct {
	Family     uint8 // 4 or 6, 0 for both
	NetNSCount uint8
	LPortCount uint8
	RPortCount uint8
	LAddrCount uint8
	RAddrCount uint8

	NetNS  [MaxNetNS]uint32
	LPorts [MaxPorts]Ports // host order
	RPorts [MaxPorts]Ports
	LAddrs [MaxPrefixes]KernelPrefix
	RAddrs [MaxPrefixes]KernelPrefix
}

// KernelPrefix is a prefix in network order. An IPv4 one is of the mapped
// address, ::ffff:a.b.c.d, and its mask is 96 bits longer; so the addresses
// compared with it must be mapped too.
type KernelPrefix struct {
	Addr [16]byte // masked
	Mask [16]byte
}

// Active reports whether the programs have anything to apply.
func (k *KernelFilter) Active() bool { return *k != KernelFilter{} }

// Kernel returns the part of f that the BPF programs can apply. Whatever Match
// accepts, it accepts; the reverse does not hold.
func (f *Filter) Kernel() KernelFilter {
	var k KernelFilter
	if f == nil {
		return k
	}
	k.Family = f.Family
	k.NetNSCount = fill(k.NetNS[:], f.NetNS)
	k.LPortCount = fill(k.LPorts[:], f.LPorts)
	k.RPortCount = fill(k.RPorts[:], f.RPorts)
	k.LAddrCount = fill(k.LAddrs[:], kernelPrefixes(f.LAddrs))
	k.RAddrCount = fill(k.RAddrs[:], kernelPrefixes(f.RAddrs))
	return k
}

// fill copies a list and returns its length, or 0, "no limit", if the kernel
// cannot take it.
func fill[T any](dst []T, s Set[T]) uint8 {
	if s.Not || len(s.Items) > len(dst) {
		return 0
	}
	return uint8(copy(dst, s.Items))
}

func kernelPrefixes(s Set[netip.Prefix]) Set[KernelPrefix] {
	out := Set[KernelPrefix]{Not: s.Not}
	for _, p := range s.Items {
		out.Items = append(out.Items, kernelPrefix(p))
	}
	return out
}

func kernelPrefix(p netip.Prefix) KernelPrefix {
	k := KernelPrefix{Addr: p.Masked().Addr().As16()}
	bits := p.Bits()
	if p.Addr().Is4() {
		bits += 96
	}
	for i := range bits {
		k.Mask[i/8] |= 0x80 >> (i % 8)
	}
	return k
}
