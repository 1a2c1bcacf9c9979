package filter

import (
	"fmt"
	"math/rand/v2"
	"net/netip"
	"slices"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// accepts is what the C code does with a KernelFilter: the reference for it.
func (k *KernelFilter) accepts(e *event.Event) bool {
	return (k.Family == 0 || e.IP() == 0 || k.Family == e.IP()) &&
		(k.NetNSCount == 0 || e.NetNS == 0 || slices.Contains(k.NetNS[:k.NetNSCount], e.NetNS)) &&
		portAccepted(k.LPorts[:k.LPortCount], e.Local.Port()) &&
		portAccepted(k.RPorts[:k.RPortCount], e.Remote.Port()) &&
		addrAccepted(k.LAddrs[:k.LAddrCount], e.Local.Addr()) &&
		addrAccepted(k.RAddrs[:k.RAddrCount], e.Remote.Addr()) &&
		k.endsAccepted(e) &&
		k.procsAccepted(e)
}

// procsAccepted is wanted_procs(): the kernel knows of two processes.
func (k *KernelFilter) procsAccepted(e *event.Event) bool {
	origin := e.Opener
	if e.Role == event.Server {
		origin = e.Accepter
	}
	either := func(in func(event.Proc) bool) bool { return !origin.Known() || in(origin) || in(e.CloseProc) }
	return (k.PIDCount == 0 || either(func(p event.Proc) bool { return slices.Contains(k.PIDs[:k.PIDCount], p.PID) })) &&
		(k.UIDCount == 0 || either(func(p event.Proc) bool { return p.Known() && slices.Contains(k.UIDs[:k.UIDCount], p.Who.UID) })) &&
		(!k.Follow || either(func(p event.Proc) bool { return p.Known() && p.Who.Followed }))
}

func portAccepted(ranges []Ports, port uint16) bool {
	return len(ranges) == 0 || port == 0 ||
		slices.ContainsFunc(ranges, func(r Ports) bool { return r.First <= port && port <= r.Last })
}

func addrAccepted(prefixes []KernelPrefix, a netip.Addr) bool {
	if len(prefixes) == 0 || !a.IsValid() || a.Unmap().IsUnspecified() {
		return true
	}
	b := a.As16()
	return slices.ContainsFunc(prefixes, func(p KernelPrefix) bool {
		for i := range b {
			if b[i]&p.Mask[i] != p.Addr[i] {
				return false
			}
		}
		return true
	})
}

// endsAccepted is end_in().
func (k *KernelFilter) endsAccepted(e *event.Event) bool {
	is := func(x KernelEnd, a netip.AddrPort) bool {
		return portAccepted([]Ports{x.Ports}, a.Port()) && addrAccepted([]KernelPrefix{x.KernelPrefix}, a.Addr())
	}
	return k.EndCount == 0 || slices.ContainsFunc(k.Ends[:k.EndCount], func(x KernelEnd) bool { return is(x, e.Local) || is(x, e.Remote) })
}

func TestKernel(t *testing.T) {
	f := Filter{Family: 4, PIDs: pids("1"), LPorts: ports("80,90-95"), RPorts: ports("!80"),
		LAddrs: addrs("10.0.0.0/9"), RAddrs: addrs("2001:db8::/33"), NetNS: Set[uint32]{Items: []uint32{7, 8}}}
	k := f.Kernel()
	if k.Family != 4 || k.NetNSCount != 2 || k.NetNS[1] != 8 || k.LPortCount != 2 || k.LPorts[1] != (Ports{90, 95}) {
		t.Errorf("Kernel() = %+v", k)
	}
	if k.RPortCount != 0 {
		t.Error("the kernel was given a list with !")
	}
	want := KernelPrefix{
		Addr: [16]byte{10: 0xff, 11: 0xff, 12: 10},
		Mask: [16]byte{255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 0x80},
	}
	if k.LAddrCount != 1 || k.LAddrs[0] != want {
		t.Errorf("local prefix %v, want %v", k.LAddrs[0], want)
	}
	want = KernelPrefix{Addr: [16]byte{0x20, 1, 0x0d, 0xb8}, Mask: [16]byte{255, 255, 255, 255, 0x80}}
	if k.RAddrCount != 1 || k.RAddrs[0] != want {
		t.Errorf("remote prefix %v, want %v", k.RAddrs[0], want)
	}
	if k.PIDCount != 1 || k.PIDs[0] != 1 || !k.Processes() {
		t.Errorf("the kernel got %d pids of 1", k.PIDCount)
	}
	for _, f := range []*Filter{nil, {}, {PIDs: pids("!1"), Comms: comms("a"), RPorts: ports("!80"), Roles: enum[event.Role]("client")}} {
		if k := f.Kernel(); k != (KernelFilter{}) {
			t.Errorf("%v: the kernel has something to do: %+v", f, k)
		}
	}
}

// TestKernelFull checks that a list that does not fit is left out, not cut.
func TestKernelFull(t *testing.T) {
	var f Filter
	for i := range MaxPorts + 1 {
		f.LPorts.Items = append(f.LPorts.Items, Ports{uint16(2*i + 1), uint16(2*i + 1)})
		if k, want := f.Kernel(), (i+1)%(MaxPorts+1); int(k.LPortCount) != want {
			t.Errorf("%d ranges: the kernel got %d, want %d", i+1, k.LPortCount, want)
		}
	}
	for i := range MaxNetNS + 1 {
		f.NetNS.Items = append(f.NetNS.Items, uint32(i+1))
		if k, want := f.Kernel(), (i+1)%(MaxNetNS+1); int(k.NetNSCount) != want {
			t.Errorf("%d namespaces: the kernel got %d, want %d", i+1, k.NetNSCount, want)
		}
	}
	for i := range MaxPrefixes + 1 {
		f.RAddrs.Items = append(f.RAddrs.Items, netip.MustParsePrefix(fmt.Sprintf("10.%d.0.0/16", i)))
		if k, want := f.Kernel(), (i+1)%(MaxPrefixes+1); int(k.RAddrCount) != want {
			t.Errorf("%d prefixes: the kernel got %d, want %d", i+1, k.RAddrCount, want)
		}
	}
}

// TestKernelFollow: with --follow the trace starts with the pids, and they are not all.
func TestKernelFollow(t *testing.T) {
	k := (&Filter{PIDs: pids("1"), Follow: true}).Kernel()
	if k.PIDCount != 0 || !k.Follow || !k.Processes() {
		t.Errorf("Kernel() = %+v", k)
	}
}

// TestKernelSuperset checks of random filters and events that the kernel side
// never refuses what Match accepts. Both come from a small world, so that they
// meet often.
func TestKernelSuperset(t *testing.T) {
	const rounds = 200_000
	rng := rand.New(rand.NewPCG(1, 2))
	var matched, refused, spared int
	for range rounds {
		f, e := randomFilter(rng), randomEvent(rng)
		k := f.Kernel()
		m, a := f.Match(&e), k.accepts(&e)
		switch {
		case m && !a:
			t.Fatalf("filter %q: Match accepts %+v, the kernel does not: %+v", f.String(), e, k)
		case m:
			matched++
		case !a:
			refused++
		default:
			spared++
		}
	}
	t.Logf("of %d: %d matched, %d refused by the kernel, %d left to Match", rounds, matched, refused, spared)
	if matched < rounds/100 || refused < rounds/100 || spared < rounds/100 {
		t.Errorf("of %d only %d matched, %d were refused by the kernel and %d left to Match: the test proves little",
			rounds, matched, refused, spared)
	}
}

var (
	worldAddrs = []string{"10.0.0.1", "10.0.0.2", "10.128.0.1", "::ffff:10.0.0.1", "192.0.2.1", "::1", "2001:db8::1",
		"2001:db8:8000::1", "fe80::1%lo", "::", "0.0.0.0", "::ffff:0.0.0.0", ""}
	worldPrefixes = []string{"10.0.0.1", "10.0.0.0/8", "10.0.0.0/9", "0.0.0.0/0", "::/0", "::1", "2001:db8::/32",
		"2001:db8::/33", "::ffff:10.0.0.0/104", "fe80::/10", "0.0.0.0", "::"}
	worldPorts = []string{"1", "2-3", "5", "7-9", "9-20", "65535"}
)

// randomSet returns, in half of the cases, up to 6 things, sometimes negated.
func randomSet[T any](rng *rand.Rand, parse func(string) (Set[T], error), world []string) Set[T] {
	if rng.IntN(2) == 0 {
		return Set[T]{}
	}
	var out Set[T]
	for range 1 + rng.IntN(6) {
		out.Items = append(out.Items, must(parse(world[rng.IntN(len(world))])).Items...)
	}
	out.Not = rng.IntN(4) == 0
	return out
}

func randomFilter(rng *rand.Rand) *Filter {
	f := &Filter{
		LPorts: randomSet(rng, ParsePorts, worldPorts), RPorts: randomSet(rng, ParsePorts, worldPorts),
		LAddrs: randomSet(rng, ParsePrefixes, worldPrefixes), RAddrs: randomSet(rng, ParsePrefixes, worldPrefixes),
		NetNS:  randomSet(rng, ParsePIDs, []string{"1", "2", "3"}),
		Family: []uint8{0, 0, 0, 4, 6}[rng.IntN(5)],
	}
	f.Ends = randomSet(rng, ParseEnds, []string{":2-3", ":9-20", "10.0.0.1", "10.0.0.0/9:1-9", "[2001:db8::]/33:5", "[::1]:7-20", "0.0.0.0/0"})
	if rng.IntN(4) == 0 {
		f.All = []*Filter{{RPorts: randomSet(rng, ParsePorts, worldPorts), Inverse: rng.IntN(2) == 0}}
	}
	f.Inverse = rng.IntN(8) == 0
	f.PIDs = randomSet(rng, ParsePIDs, []string{"1", "2", "3"})
	f.UIDs = randomSet(rng, ParseUIDs, []string{"0", "1", "2"})
	f.Follow = rng.IntN(8) == 0 && !f.PIDs.Not
	if rng.IntN(8) == 0 { // too long for the kernel
		for i := range MaxPorts {
			f.LPorts.Items = append(f.LPorts.Items, Ports{uint16(3*i + 1), uint16(3*i + 1)})
		}
	}
	return f
}

// randomEvent returns an event about a connection: the others never meet the
// kernel's filter.
func randomEvent(rng *rand.Rand) event.Event {
	e := event.Event{
		Kind: event.Snapshot + event.Kind(rng.IntN(int(event.Fail-event.Snapshot)+1)), NetNS: uint32(rng.IntN(4)),
		Local: randomEnd(rng), Remote: randomEnd(rng), Role: event.Role(rng.IntN(3)), CloseProc: randomProc(rng),
	}
	if e.Role == event.Server {
		e.Accepter = randomProc(rng)
	} else {
		e.Opener = randomProc(rng)
	}
	e.Process, e.Owner = e.KnownOwner()
	if !e.Opener.Known() && !e.Accepter.Known() {
		e.Process = randomProc(rng) // from a table: what /proc says, or a listener
	}
	return e
}

func randomProc(rng *rand.Rand) event.Proc {
	pid := uint32(rng.IntN(4))
	if pid == 0 {
		return event.Proc{}
	}
	return event.Proc{PID: pid, Who: &event.Who{Start: 1, HasUID: true, UID: uint32(rng.IntN(3)), Followed: rng.IntN(2) == 0}}
}

func randomEnd(rng *rand.Rand) netip.AddrPort {
	port := uint16(rng.IntN(22))
	if port == 21 {
		port = 65535
	}
	s := worldAddrs[rng.IntN(len(worldAddrs))]
	if s == "" {
		return netip.AddrPortFrom(netip.Addr{}, port)
	}
	return netip.AddrPortFrom(netip.MustParseAddr(s), port)
}

// A filter in words is for the kernel what the flags are.
func TestKernelOfWords(t *testing.T) {
	l := &Language{NetNS: spaces}
	for _, tt := range []struct {
		line  string
		flags Filter
	}{
		{"pid 42 rport 443", Filter{PIDs: pids("42"), RPorts: ports("443")}},
		{"-p 42,43 -L 80 -4", Filter{PIDs: pids("42,43"), LPorts: ports("80"), Family: 4}},
		{"laddr 10.77 raddr ::1 uid 0", Filter{LAddrs: addrs("10.77.0.0/16"), RAddrs: addrs("::1"), UIDs: must(ParseUIDs("0"))}},
		{"netns ux-web nginx", Filter{NetNS: Set[uint32]{Items: []uint32{4026532247}}}},
		{":8080", Filter{Ends: Set[End]{Items: []End{{Ports: Ports{8080, 8080}}}}}},
		{"10.77.0.2:8080 !:80", Filter{Ends: Set[End]{Items: []End{{netip.MustParsePrefix("10.77.0.2/32"), Ports{8080, 8080}}}}}},
		{"nginx comm x role client", Filter{}}, {"! :8080", Filter{}},
	} {
		f, err := l.ParseLine(tt.line)
		if err != nil {
			t.Fatal(err)
		}
		if f.Kernel() != tt.flags.Kernel() {
			t.Errorf("%q: the kernel gets %+v, and by flags %+v", tt.line, f.Kernel(), tt.flags.Kernel())
		}
	}
	f, _ := l.ParseLine(":8080 10.77")
	if k := f.Kernel(); k.EndCount != 1 || k.Ends[0].Ports != (Ports{8080, 8080}) || k.Ends[0].Mask != [16]byte{} {
		t.Errorf("the kernel gets %+v", k)
	}
}
