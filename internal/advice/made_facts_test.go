package advice

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"reflect"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/pressure"
)

// maker makes facts at random: those of scenarios, mixed, with numbers, processes and
// settings changed. It walks the structs by reflection, so a new field is covered at once.
type maker struct {
	*rand.Rand
	base []func() Facts
}

func newMaker(seed uint64) *maker {
	m := &maker{Rand: rand.New(rand.NewPCG(seed, 14))}
	for _, id := range slices.Sorted(maps.Keys(scenarios)) {
		for _, s := range scenarios[id] {
			m.base = append(m.base, s.facts)
		}
	}
	return m
}

// procs are programs with names of their own: several processes of one, one in a unit, a
// group of many whose pid is not known, and nobody.
var procs = []event.Proc{
	{PID: 4242, Comm: "orders"}, {PID: 4243, Comm: "orders"}, {PID: 51, Comm: "billing", Who: &event.Who{Unit: "billing.service", PPID: 1, PComm: "systemd"}},
	{PID: 77, Comm: "search"}, {Comm: "cronjob"}, {},
}

// facts are one namespace: a scenario, lists of others added to its own, and then changes.
func (m *maker) facts() Facts {
	f := m.base[m.IntN(len(m.base))]()
	for range m.IntN(4) {
		m.mix(reflect.ValueOf(&f).Elem(), reflect.ValueOf(m.base[m.IntN(len(m.base))]()))
	}
	m.change(reflect.ValueOf(&f).Elem(), []float64{0, 0.02, 0.1, 0.3}[m.IntN(4)])
	f.NetNS = kernel.NetNS{Inum: 4026531840 + uint32(m.IntN(3))}
	f.Enter = []string{"", "ip netns exec web ", "nsenter --net=/proc/4242/ns/net "}[m.IntN(3)]
	m.settings(&f)
	m.possible(&f)
	return f
}

// mix adds lists of other to those of v.
func (m *maker) mix(v, other reflect.Value) {
	switch v.Kind() {
	case reflect.Struct:
		if v.Type() == reflect.TypeFor[time.Time]() || v.Type() == reflect.TypeFor[kernel.Limits]() {
			return
		}
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				m.mix(v.Field(i), other.Field(i))
			}
		}
	case reflect.Slice:
		if m.IntN(2) == 0 && v.Len() < 12 {
			v.Set(reflect.AppendSlice(v.Slice3(0, v.Len(), v.Len()), other))
		}
	}
}

// kept are types whose values are not changed one by one.
var kept = []reflect.Type{reflect.TypeFor[time.Time](), reflect.TypeFor[kernel.Limits](), reflect.TypeFor[kernel.Host](),
	reflect.TypeFor[kernel.NetNS](), reflect.TypeFor[pressure.Expiry](), reflect.TypeFor[*pressure.Gauge](),
	reflect.TypeFor[netip.Addr](), reflect.TypeFor[netip.AddrPort](), reflect.TypeFor[event.State](), reflect.TypeFor[event.Role](), reflect.TypeFor[event.Call]()}

// change changes each value of v with a chance.
func (m *maker) change(v reflect.Value, chance float64) {
	if v.Type() == reflect.TypeFor[event.Proc]() {
		if m.Float64() < chance {
			v.Set(reflect.ValueOf(procs[m.IntN(len(procs))]))
		}
		return
	}
	if slices.Contains(kept, v.Type()) {
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				m.change(v.Field(i), chance)
			}
		}
		return
	case reflect.Slice:
		own := reflect.MakeSlice(v.Type(), v.Len(), v.Len()) // a scenario may share its own
		reflect.Copy(own, v)
		if v.Len() > 0 {
			v.Set(own)
		}
		for i := range v.Len() {
			m.change(v.Index(i), chance)
		}
		return
	case reflect.Array:
		for i := range v.Len() {
			m.change(v.Index(i), chance)
		}
		return
	}
	if m.Float64() >= chance || !v.CanSet() {
		return
	}
	switch {
	case v.CanUint():
		v.SetUint(min(m.count(v.Uint()), 1<<(8*v.Type().Size()-1)-1))
	case v.CanInt():
		v.SetInt(int64(m.count(uint64(max(v.Int(), 0)))))
	case v.CanFloat():
		v.SetFloat([]float64{0, v.Float() / 2, m.Float64()}[m.IntN(3)])
	case v.Kind() == reflect.Bool:
		v.SetBool(!v.Bool())
	}
}

// count is a number in place of n.
func (m *maker) count(n uint64) uint64 {
	return []uint64{0, 0, 1, 2, n / 2, n + 1, 2 * n, m.Uint64N(n + 20), m.Uint64N(60000)}[m.IntN(9)]
}

// settings changes those of the kernel.
func (m *maker) settings(f *Facts) {
	l := &f.Limits
	switch m.IntN(12) {
	case 0:
		l.TWReuse = m.IntN(3)
	case 1:
		l.Timestamps = m.IntN(2)
	case 2:
		l.PortLow, l.PortHigh = 40000, 40000+uint16(m.IntN(2000)+3)
		*l = l.WithRange(l.PortLow, l.PortHigh)
	case 3:
		l.ReservedPorts = "9000-9005,40001"
		*l = l.WithRange(l.PortLow, l.PortHigh)
	case 4:
		l.MaxTWBuckets = []int64{0, 10, 5000, 1 << 20}[m.IntN(4)]
	case 5:
		l.TWReuseDelayMS = []int{-1, 1, 1000}[m.IntN(3)]
	}
}

// possible takes back what no host can be like: parts are at most their whole, counters
// only grow, and sums are sums.
func (m *maker) possible(f *Facts) {
	for _, c := range []struct{ before, after any }{{&f.Before, &f.After}} {
		atMost(reflect.ValueOf(c.before).Elem(), reflect.ValueOf(c.after).Elem())
	}
	usable := uint32(f.Limits.UsablePorts())
	for i := range f.Destinations {
		d := &f.Destinations[i]
		flowPossible(&d.Flow)
		for all := uint32(d.States.All()); all > usable; all = uint32(d.States.All()) {
			for s := range d.States.Full {
				d.States.Full[s] /= 2
			}
			d.States.Parked /= 2
		}
		d.Resent = min(d.Resent, uint32(d.States.Of(event.SynSent)))
		tw := d.States.Of(event.TimeWait)
		if d.Expiry.Total() != tw {
			d.Expiry = steadily(tw)
		}
		d.Begun = min(d.Begun, tw)
		d.Stamped = min(d.Stamped, d.Begun)
		if d.Gauge != nil && m.IntN(2) == 0 {
			d.Gauge = gauge(float64(d.States.All()), f.perSecond(d.Opens))
			d.Gauge.Limit, d.Gauge.Outlook.Limit = int(usable), float64(usable)
		}
	}
	listsOf(reflect.ValueOf(f).Elem())
	for i := range f.Listeners {
		flowPossible(&f.Listeners[i].Flow)
	}
	t := &f.Traffic
	for i := range t.Owners {
		o := &t.Owners[i]
		flowPossible(&o.Flow)
		o.Came = min(o.Came, o.PIDs)
		o.Destinations = min(o.Destinations, int(o.Opens))
		o.System = min(o.System, 64)
	}
	for i := range t.Lingering {
		t.Lingering[i].Grown = min(t.Lingering[i].Grown, t.Lingering[i].N)
	}
	t.Lingering = slices.DeleteFunc(t.Lingering, func(l Lingering) bool { return l.N == 0 })
	for i := range t.Descriptors {
		t.Descriptors[i].Used = min(t.Descriptors[i].Used, t.Descriptors[i].Limit)
	}
	for i := range t.Taken {
		for j := range t.Taken[i].Holders {
			h := &t.Taken[i].Holders[j]
			h.N = max(h.N, 1)
			h.FreeIn = min(h.FreeIn, time.Minute)
		}
	}
	t.Fails = slices.DeleteFunc(t.Fails, func(v Fail) bool { return v.N == 0 || v.Errno == 0 })
	f.Traced = f.Traced || !reflect.ValueOf(*t).IsZero() ||
		slices.ContainsFunc(f.Destinations, func(d Destination) bool { return d.Failed+d.Opens+d.TimeWaitEnds > 0 }) ||
		slices.ContainsFunc(f.Listeners, func(l Listener) bool { return l.TimeWaitEnds > 0 || l.Ends > 0 })
	for i := range t.Owners {
		t.Owners[i].Process = somebody(t.Owners[i].Process)
	}
	for i := range t.Fails {
		t.Fails[i].Process = somebody(t.Fails[i].Process)
	}
	for i := range t.Taken {
		t.Taken[i].By = somebody(t.Taken[i].By)
	}
	for _, d := range []*time.Duration{&f.Window, &t.Window, &t.Seen, &t.OwnersIn} {
		*d = (*d).Round(time.Second)
	}
	if f.Traced {
		f.Window, t.Seen = max(f.Window, time.Second), max(t.Seen, time.Second)
	}
	if f.Window == 0 {
		f.Before, f.HostBefore = f.After, f.HostAfter
	}
	if c := f.HostAfter.Conntrack; c != nil {
		own := *c
		own.Count = min(own.Count, own.Max)
		f.HostAfter.Conntrack = &own
	}
	t.NetnsGone = min(max(t.NetnsGone, 1), int(t.NetnsExits))
	t.Lost = min(t.Lost, 1000)
}

// somebody is p, or a program where what p did is known only if p is.
func somebody(p event.Proc) event.Proc {
	if p.Comm == "" {
		return procs[0]
	}
	return p
}

// flowPossible has no more ends of a kind than ends.
func flowPossible(v *Flow) {
	left := v.Ends
	for i := range v.Closer {
		v.Closer[i] = min(v.Closer[i], left)
		left -= v.Closer[i]
	}
	v.ResetSent = min(v.ResetSent, v.Ends)
	v.ResetReceived = min(v.ResetReceived, v.Ends-v.ResetSent)
	v.TimeWaitResets = min(v.TimeWaitResets, v.TimeWaitEnds)
	v.LongWaits = min(v.LongWaits, v.TimeWaitEnds)
	v.Rearms = max(v.Rearms, v.LongWaits)
	v.Short = min(v.Short, 1)
}

// listsOf makes each Contributors below v one whose parts are counted and add up.
func listsOf(v reflect.Value) {
	if c, ok := v.Addr().Interface().(*Contributors); ok {
		list := slices.Clone(c.List)
		for i := range list {
			list[i].Pool.Over = list[i].Pool.Over.Truncate(time.Second) // it is counted by whole seconds
		}
		*c = NewContributors(list, c.Total)
		return
	}
	switch v.Kind() {
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				listsOf(v.Field(i))
			}
		}
	case reflect.Slice:
		for i := range v.Len() {
			listsOf(v.Index(i))
		}
	}
}

// atMost lowers the numbers of a to those of b.
func atMost(a, b reflect.Value) {
	switch a.Kind() {
	case reflect.Struct:
		for i := range a.NumField() {
			if a.Type().Field(i).IsExported() {
				atMost(a.Field(i), b.Field(i))
			}
		}
	case reflect.Uint64, reflect.Uint32:
		a.SetUint(min(a.Uint(), b.Uint()))
	case reflect.Map, reflect.Slice, reflect.Pointer, reflect.String, reflect.Int, reflect.Int64, reflect.Bool, reflect.Float64:
	default:
		panic(fmt.Sprint("what is ", a.Type()))
	}
}
