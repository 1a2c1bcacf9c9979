package filter

import (
	"math"
	"net/netip"
)

// Room for each list in the BPF programs. [Filter.Match] alone applies a list that is
// longer.
const (
	MaxNetNS    = 8
	MaxPorts    = 16 // ranges, each of local and remote
	MaxPrefixes = 4  // each of local and remote
	MaxPIDs     = 16
	MaxUIDs     = 8
	MaxEnds     = 8
)

// KernelFilter is the part of a filter that the BPF programs apply: a
// connection has to satisfy every list whose count is not 0. It has only facts that
// stay the same over a connection's life, and accepts a fact that is not known yet: a
// port that is 0 (the local one at SYN_SENT and at the last CLOSE), an address
// that is all zero, a namespace that is 0, no opener and no accepter. User space
// applies the lists with "!", and those of facts that only it finds out.
type KernelFilter struct {
	Family     uint8 // 4 or 6, 0 for both
	NetNSCount uint8
	LPortCount uint8
	RPortCount uint8
	LAddrCount uint8
	RAddrCount uint8
	PIDCount   uint8
	UIDCount   uint8
	EndCount   uint8
	Follow     bool // only followed processes

	NetNS  [MaxNetNS]uint32
	LPorts [MaxPorts]Ports // host order
	RPorts [MaxPorts]Ports
	LAddrs [MaxPrefixes]KernelPrefix
	RAddrs [MaxPrefixes]KernelPrefix
	PIDs   [MaxPIDs]uint32
	UIDs   [MaxUIDs]uint32
	Ends   [MaxEnds]KernelEnd // one of them has to be the local or the remote end
}

// KernelEnd is an address and a port of one end of a connection. No prefix is a mask of
// zeroes, no port the range from 0 to 65535.
type KernelEnd struct {
	KernelPrefix
	Ports Ports
}

// KernelPrefix is a prefix in network order. An IPv4 one is of the mapped
// address, ::ffff:a.b.c.d, and its mask is 96 bits longer; so the addresses
// compared with it must be mapped too.
type KernelPrefix struct {
	Addr [16]byte // masked
	Mask [16]byte
}

// Processes reports whether the programs leave out connections of other processes: a
// dump of the sockets does not show whose they are.
func (k *KernelFilter) Processes() bool { return k.PIDCount > 0 || k.UIDCount > 0 || k.Follow }

// Kernel returns the part of f that the BPF programs can apply. Whatever Match
// accepts, it accepts; the reverse does not hold.
func (f *Filter) Kernel() KernelFilter {
	var k KernelFilter
	if f == nil || f.Inverse {
		return k
	}
	k.Family = f.Family
	k.NetNSCount = fill(k.NetNS[:], f.NetNS)
	k.LPortCount = fill(k.LPorts[:], f.LPorts)
	k.RPortCount = fill(k.RPorts[:], f.RPorts)
	k.LAddrCount = fill(k.LAddrs[:], kernelPrefixes(f.LAddrs))
	k.RAddrCount = fill(k.RAddrs[:], kernelPrefixes(f.RAddrs))
	if k.Follow = f.Follow; !k.Follow { // else the programs follow the pids
		k.PIDCount = fill(k.PIDs[:], f.PIDs)
	}
	k.UIDCount = fill(k.UIDs[:], f.UIDs)
	k.EndCount = fill(k.Ends[:], kernelEnds(f.Ends))
	return k
}

// fill copies a list and returns its length, or 0, "matches all", if the programs
// have no room for it.
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

func kernelEnds(s Set[End]) Set[KernelEnd] {
	out := Set[KernelEnd]{Not: s.Not}
	for _, x := range s.Items {
		k := KernelEnd{Ports: x.Ports}
		if x.Ports == (Ports{}) {
			k.Ports.Last = math.MaxUint16
		}
		if x.Prefix.IsValid() {
			k.KernelPrefix = kernelPrefix(x.Prefix)
		}
		out.Items = append(out.Items, k)
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
