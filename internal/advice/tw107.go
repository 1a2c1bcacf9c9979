package advice

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw107 = rule{id: "TW107", title: "an address or a fixed port is not available", find: notAvailable}

// notAvailable is TW107: EADDRNOTAVAIL that is not about free ports. One finding for each
// program, address and cause.
func notAvailable(f Facts) []Finding {
	var found []Finding
	for _, v := range f.addressFails() {
		if len(found) == maxFindings {
			break
		}
		x := v.finding(&f)
		switch v.Cause {
		case event.NoAddress:
			f.noAddress(&x, v)
		case event.NotLocal:
			f.notLocal(&x, v)
		case event.TupleTaken:
			f.tupleTaken(&x, v)
		default:
			f.noReason(&x, v)
		}
		found = append(found, x)
	}
	return found
}

// addressFail is the failed calls of a program to one address, for one cause.
type addressFail struct {
	Fail
	by Contributors
}

// addressFails are those with EADDRNOTAVAIL that are not about free ports.
func (f *Facts) addressFails() []addressFail {
	var out []addressFail
	for _, v := range f.Traffic.Fails {
		if v.Errno != event.EADDRNOTAVAIL || v.Cause == event.NoPort || v.Call != event.Connect && v.Call != event.Bind {
			continue
		}
		if v.Cause == event.CauseNone && (f.rangeFull() || f.noPortTo(v.Remote)) {
			continue // the same, before the trace knew who holds the ports
		}
		i := slices.IndexFunc(out, func(o addressFail) bool {
			return o.Call == v.Call && o.Cause == v.Cause && o.Remote == v.Remote && o.Local.Addr() == v.Local.Addr() && ProgramOf(o.Process) == ProgramOf(v.Process)
		})
		if i < 0 {
			i = len(out)
			out = append(out, addressFail{Fail: v})
			out[i].N = 0
		}
		o := &out[i]
		o.N += v.N
		if o.Local != v.Local { // several ports
			o.Local = netip.AddrPortFrom(o.Local.Addr(), 0)
		}
		if !o.Instead.IsValid() {
			o.Instead = v.Instead
		}
	}
	for i := range out {
		o := &out[i]
		o.by = f.failers(func(v *Fail) bool {
			return v.Call == o.Call && v.Cause == o.Cause && v.Errno == o.Errno && v.Remote == o.Remote && v.Local.Addr() == o.Local.Addr() && ProgramOf(v.Process) == ProgramOf(o.Process)
		})
	}
	return out
}

// noPortTo reports whether connects to a destination failed since no port was free.
func (f *Facts) noPortTo(remote netip.AddrPort) bool {
	return slices.ContainsFunc(f.Traffic.Fails, func(v Fail) bool { return v.Cause == event.NoPort && v.Remote == remote })
}

// where is what the calls asked for.
func (v *addressFail) where() string {
	switch {
	case v.Call == event.Connect:
		return v.Remote.String()
	case !v.Local.IsValid():
		return "an address that is not known"
	case v.Local.Port() != 0:
		return v.Local.String()
	}
	return v.Local.Addr().String()
}

// finding has what all causes say.
func (v addressFail) finding(f *Facts) Finding {
	most := v.by.Most()
	who := most.name()
	scope := Scope{}
	if v.Call == event.Connect {
		scope = scope.at(netip.AddrPort{}, v.Remote)
	} else {
		scope = scope.at(v.Local, netip.AddrPort{})
	}
	x := Finding{
		Severity: event.Warn,
		What: fmt.Sprintf("%s of %s to %s failed with %s in the last %s", plural(v.N, v.Call.String()+"() call"), who, v.where(),
			errnoName(unix.EADDRNOTAVAIL), output.Seconds(f.watched())),
		Who:   unknownCaller,
		When:  "now: " + output.Rate(f.perSecond(v.N)) + " fail",
		Scope: scope,
		Evidence: []Evidence{
			{Name: "EADDRNOTAVAIL", Value: float64(v.N), Unit: "calls", Source: "trace"},
			{Name: "ports_used", Value: float64(f.portsInUse()), Limit: float64(f.Limits.UsablePorts()), Unit: "ports", Source: f.source()},
		},
	}
	x.by(f.calling(&v))
	return x
}

// unknownCaller is for calls whose process nobody knows.
const unknownCaller = "not known: the process that called has no name"

// calling says who makes the calls.
func (f *Facts) calling(v *addressFail) claim {
	o := v.by.Most()
	return f.counted(Fails, &v.by, o.name()+" "+o.does("calls", "call"))
}

// portsInUse is how many ports are in use towards the fullest destination, those that are
// taken for all included.
func (f *Facts) portsInUse() int {
	most := 0
	for i := range f.Destinations {
		most = max(most, f.Destinations[i].States.All())
	}
	return most + f.Traffic.Range.Ports
}

// notPorts says that ports are not the problem, where that is so.
func (f *Facts) notPorts() string {
	used, usable := uint64(f.portsInUse()), uint64(f.Limits.UsablePorts())
	switch {
	case used == 0:
		return "; ports are not the problem: none of " + output.Count(usable) + " is in use"
	case float64(used) < nearlyFull*float64(usable):
		return fmt.Sprintf("; ports are not the problem: %s of %s ports are in use to the fullest destination", output.Count(used), output.Count(usable))
	}
	return ""
}

// noAddress is a connect() for which the host has no source address.
func (f *Facts) noAddress(x *Finding, v addressFail) {
	x.Short = "connect() to " + v.where() + " fails: this host has no address for it"
	off := f.HostAfter.Settings.LoIPv6Off
	loopback := v.Remote.Addr().IsLoopback()
	x.Why = "this host has no address from which to reach it"
	switch {
	case loopback && off > 0:
		x.Why += ", because IPv6 is off on lo: net.ipv6.conf.lo.disable_ipv6 is 1"
		x.Evidence = append(x.Evidence, Evidence{Name: "disable_ipv6", Value: float64(off), Source: "net.ipv6.conf.lo.disable_ipv6"})
		x.Now = []Remedy{{Text: "turn IPv6 on for lo, which gives it ::1", Settings: f.set(setting("net.ipv6.conf.lo.disable_ipv6", 0, off)),
			Risk: "a server that listens on ::1 alone becomes reachable there for this host's programs"}}
	case loopback && off < 0:
		x.Why += ", because its kernel has no IPv6"
	case loopback:
		x.Why += ": lo has no address ::1, as where IPv6 is off"
	default:
		x.Why += ": no interface has an IPv6 address that reaches so far"
	}
	f.beside(x, v)
	x.Why += f.notPorts()
	if loopback {
		x.Fix = []Remedy{{Text: "have the program connect to 127.0.0.1 instead of localhost, or remove ::1 from the line of localhost in /etc/hosts"}}
	} else {
		x.Fix = []Remedy{{Text: "give this host an IPv6 address with a route to it, or have the program use the IPv4 address"}}
	}
	if len(x.Now) == 0 {
		x.Now = x.Fix
	}
}

// beside adds what became of the other address that the same program tries, on the same
// port. If that refuses, this is no cause of its own.
func (f *Facts) beside(x *Finding, v addressFail) {
	if v.Instead.IsValid() {
		x.Why += fmt.Sprintf("; connect() to %s fails, then %s works", v.Remote, v.Instead)
		if v.Remote.Addr().IsLoopback() && v.Instead.Addr().IsLoopback() {
			x.Why += ": localhost resolves to " + v.Remote.Addr().String() + " first"
		}
		return
	}
	for _, o := range f.Traffic.Fails {
		if o.Call == event.Connect && o.Errno != v.Errno && o.Remote.Port() == v.Remote.Port() && o.Remote != v.Remote && ProgramOf(o.Process) == ProgramOf(v.Process) {
			x.Severity = event.Info
			x.Why += fmt.Sprintf("; the cause is elsewhere: connect() to %s fails too, %s with %s", o.Remote, times(o.N), errnoName(unix.Errno(o.Errno)))
			x.Evidence = append(x.Evidence, Evidence{Name: "failed_beside", Value: float64(o.N), Unit: "calls", Source: "trace"})
			return
		}
	}
}

// notLocal is a bind() to an address that the host does not have.
func (f *Facts) notLocal(x *Finding, v addressFail) {
	addr := v.Local.Addr()
	x.Short = "bind() to " + v.where() + " fails: this host does not have that address"
	x.Why = cmp.Or(addrText(addr), "it") + " is not an address of this network namespace"
	own := f.ownOf(addr)
	if own != "" {
		x.Why += ", which has " + own
	}
	x.Why += f.notPorts()
	x.Fix = []Remedy{{Text: "bind to an address of this host, or do not bind before connect(): the kernel then chooses the address"}}
	if own != "" {
		x.Fix[0].Text = "bind to an address of this host (" + own + "), or do not bind before connect(): the kernel then chooses the address"
	}
	x.Now = x.Fix
	if set := f.HostAfter.Settings; addr.Is4() && set.NonlocalBind == 0 && set.Somaxconn != 0 {
		x.Fix = append(slices.Clone(x.Fix), Remedy{
			Text:     "if it is a virtual IP that moves to this host at times: let bind() take it before it is here",
			Settings: f.set(ipv4("ip_nonlocal_bind", 1, set.NonlocalBind)),
			Risk:     "a wrong address is no error any more: nobody reaches a server that binds it",
		})
	}
}

// maxOwn is how many of the host's own addresses are listed.
const maxOwn = 6

// ownOf lists the host's addresses of the same family, "" if none is known.
func (f *Facts) ownOf(a netip.Addr) string {
	var list []string
	more := 0
	for _, o := range f.HostAfter.Addrs {
		if o.Is4() != a.Is4() || o.IsLinkLocalUnicast() {
			continue
		}
		if len(list) == maxOwn {
			more++
			continue
		}
		list = append(list, o.String())
	}
	if more > 0 {
		list = append(list, plural(uint64(more), "more address"))
	}
	return strings.Join(list, ", ")
}

// tupleTaken is a connect() from a bound port, where these four numbers are in use.
func (f *Facts) tupleTaken(x *Finding, v addressFail) {
	i := slices.IndexFunc(f.Traffic.Tuples, func(t TakenTuple) bool { return t.Remote == v.Remote && ProgramOf(t.By) == ProgramOf(v.Process) })
	unbound := Remedy{Text: "do not bind the source port: connect() then chooses a free one. To bind the address alone, use port 0 and IP_BIND_ADDRESS_NO_PORT"}
	x.Why = "the program has bound its source port, and that port has a connection to this destination already"
	x.Short = "connect() to " + v.where() + " from a bound port fails: that connection exists"
	x.Now, x.Fix = []Remedy{{Text: "use the connection that exists, or close it first"}}, []Remedy{unbound}
	if i < 0 {
		x.Why += f.notPorts()
		return
	}
	t := f.Traffic.Tuples[i]
	x.Scope = x.Scope.at(t.Local, t.Remote)
	x.Short = fmt.Sprintf("connect() from port %d to %s fails: that connection exists", t.Local.Port(), t.Remote)
	x.Why = fmt.Sprintf("the program has bound port %d, and %s -> %s is taken", t.Local.Port(), t.Local, t.Remote)
	holds := func(words string) {
		if t.Holder.Comm != "" {
			x.Contributors = nil
			x.by(f.calling(&v), f.counted(Holds, one(Contributor{Process: t.Holder, PIDs: 1, N: 1}), named(t.Holder)+" "+words))
		}
	}
	switch {
	case t.State == event.StateNone:
		x.Why += " by a socket that is not there any more"
	case t.State == event.TimeWait:
		x.Why += ": the last connection with these numbers is in TIME_WAIT here, and its peer uses no TCP timestamps, or connect() would take the port over"
		x.When += "; until TIME_WAIT ends, in " + output.Seconds(max(t.FreeIn, time.Second))
		x.Short = fmt.Sprintf("connect() from port %d to %s fails: the last connection is in TIME_WAIT", t.Local.Port(), t.Remote)
		holds("had the last connection")
		x.Now = []Remedy{{Text: "wait until TIME_WAIT ends, " + output.Seconds(max(t.FreeIn, time.Second)) + " from now, before the next call"}}
		x.Fix = append(x.Fix, Remedy{Text: "or turn on TCP timestamps at the peer (net.ipv4.tcp_timestamps=1): connect() then takes the port over at once"})
	case t.Role == event.Server:
		x.Why += fmt.Sprintf(" by an inbound connection in %s, which %s opened", t.State, t.Remote)
		holds("accepted the connection that exists")
	case t.Role == event.RoleNone && t.Listens:
		x.Why += fmt.Sprintf(" by a connection in %s: an inbound one, most likely, which %s opened, since there is a listener on the port", t.State, t.Remote)
		holds("has the connection that exists")
	default:
		x.Why += fmt.Sprintf(" by a connection in %s", t.State)
		holds("has the connection that exists")
	}
	x.Why += f.notPorts()
}

// noReason is a connect() whose search for a port failed, though ports look free.
func (f *Facts) noReason(x *Finding, v addressFail) {
	x.Short = v.Call.String() + "() to " + v.where() + " fails with EADDRNOTAVAIL; the cause is not known"
	x.Why = "connect() found no port, and not all ports are known to be in use: the socket has a port range of its own (IP_LOCAL_PORT_RANGE), " +
		"sockets that neither listen nor connect have bound the ports (before Linux 6.8 nothing lists those), the kernel had no memory, " +
		"or the trace has not seen all sockets"
	x.Why += f.notPorts()
	x.Now = []Remedy{{Text: "see which ports the program asks for: `sudo twtrace trace --event fail -o wide`, and strace for its socket options"}}
}
