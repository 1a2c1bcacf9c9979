package advice

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw108 = rule{id: "TW108", title: "the port range itself is full", find: rangeIsFull}

// rangeIsFull is TW108: no destination is reachable, whatever it is.
func rangeIsFull(f Facts) []Finding {
	if !f.rangeFull() {
		return f.heldByUnknown()
	}
	if f.boundByClients() {
		return nil
	}
	failed, remotes := f.failedForRange()
	all, taken := uint64(f.Limits.PortHigh)-uint64(f.Limits.PortLow)+1, uint64(f.Traffic.Range.Ports)
	x := Finding{
		Severity: event.Warn,
		What: fmt.Sprintf("%s of %s ports, %d to %d, are free for no destination: %s", output.Count(taken+uint64(f.Limits.Reserved)), output.Count(all),
			f.Limits.PortLow, f.Limits.PortHigh, f.rangeWords()),
		Who:   "not known",
		Short: "no port is free for any destination: " + f.rangeWords(),
		When:  "as soon as a program calls connect(): it fails with " + errnoName(unix.EADDRNOTAVAIL),
		Why:   "connect() skips ports that a program has bound, and ports that are reserved, whatever the destination: all destinations fail alike. TIME_WAIT is not the cause",
		Evidence: []Evidence{
			{Name: "ports_bound", Value: float64(taken), Limit: float64(all), Unit: "ports", Source: f.source()},
			{Name: "ports_reserved", Value: float64(f.Limits.Reserved), Limit: float64(all), Unit: "ports", Source: "net.ipv4.ip_local_reserved_ports"},
		},
	}
	x.by(f.takeRange(), f.reserving(), f.victims())
	if failed > 0 {
		f.callsFail(&x, failed, remotes)
	}
	f.freeRange(&x)
	return []Finding{x}
}

// callsFail makes x one of calls that fail now.
func (f *Facts) callsFail(x *Finding, failed uint64, remotes int) {
	x.Severity = event.Crit
	x.When = fmt.Sprintf("now: %s to %s failed with %s in the last %s, %s", plural(failed, "connect() call"), plural(uint64(remotes), "destination"),
		errnoName(unix.EADDRNOTAVAIL), output.Seconds(f.watched()), output.Rate(f.perSecond(failed)))
	x.Evidence = append(x.Evidence, Evidence{Name: "EADDRNOTAVAIL", Value: float64(failed), Unit: "calls", Source: "trace"})
}

// heldByUnknown is for calls that found no free port, where the trace knows of no socket
// that has one: a recording lacks what was bound before it started.
func (f *Facts) heldByUnknown() []Finding {
	failed, remotes := uint64(0), 0
	for i := range f.Destinations {
		if d := &f.Destinations[i]; d.Failed > 0 && d.States.All() == 0 {
			failed += d.Failed
			remotes++
		}
	}
	if failed == 0 || f.boundByClients() {
		return nil
	}
	usable := uint64(f.Limits.UsablePorts())
	x := Finding{
		What:  fmt.Sprintf("none of %s ports was free for %s, to which no socket is known", output.Count(usable), plural(uint64(remotes), "destination")),
		Who:   "who holds the ports is not known",
		Short: "no port is free; who holds the ports is not known",
		Why: "the ports are taken by sockets that this trace does not know: a recording lacks what programs had bound before it started. " +
			"TIME_WAIT towards these destinations is not the cause",
		Now: []Remedy{{Text: "diagnose the host while it happens, which shows who has bound the ports", Shell: Shell{Run: "sudo twtrace doctor"}}},
	}
	x.by(claim{words: "who holds the ports is not known"}, f.victims())
	f.callsFail(&x, failed, remotes)
	return []Finding{x}
}

// rangeFull reports whether bound and reserved ports leave none to any destination.
func (f *Facts) rangeFull() bool {
	usable, taken := f.Limits.UsablePorts(), f.Traffic.Range.Ports
	if failed, _ := f.failedForRange(); failed > 0 && 2*taken >= usable {
		return float64(f.usable()) <= (1-nearlyFull)*float64(usable)
	}
	return f.usable() == 0
}

// takenFrom reports whether the range, and not what d holds, leaves no port to d.
func (f *Facts) takenFrom(d *Destination) bool {
	return f.Limits.UsablePorts() == 0 || f.Traffic.Range.Ports > d.States.All()
}

// failedForRange is how many connects failed since the range is full, and to how many
// destinations.
func (f *Facts) failedForRange() (n uint64, remotes int) {
	for i := range f.Destinations {
		if d := &f.Destinations[i]; d.Failed > 0 && f.takenFrom(d) {
			n += d.Failed
			remotes++
		}
	}
	return n, remotes
}

// boundByClients reports whether clients that bind before they connect have most of what
// is taken: TW102 says so.
func (f *Facts) boundByClients() bool {
	n := 0
	for i := range f.Traffic.Bound {
		if g := f.Traffic.Bound[i].Gauge; g != nil {
			n += g.Held()
		}
	}
	return n > 0 && 2*n >= f.Traffic.Range.Ports
}

// rangeWords is what takes the ports.
func (f *Facts) rangeWords() string {
	var parts []string
	if n := f.Traffic.Range.Ports; n > 0 {
		parts = append(parts, "programs have bound "+output.Count(uint64(n)))
	}
	if n := f.Limits.Reserved; n > 0 {
		parts = append(parts, "ip_local_reserved_ports has "+output.Count(uint64(n)))
	}
	return strings.Join(parts, ", and ")
}

// takeRange says who has bound the ports.
func (f *Facts) takeRange() claim {
	by := &f.Traffic.Range.By
	switch o := by.Most(); {
	case f.Traffic.Range.Ports == 0:
		return claim{}
	case by.alone():
		return f.counted(Holds, by, o.name()+" "+o.does("has", "have")+" bound "+output.Count(by.Total))
	case len(by.List) > 0:
		return f.counted(Holds, by, "bound by "+by.counts())
	}
	return claim{words: "who has bound them is not known here: " + f.show("ss -tlnp") + " shows who listens, and " + f.show("ss -tanp state bound-inactive") + " who only holds a port"}
}

// reserving says who has reserved the ports.
func (f *Facts) reserving() claim {
	if f.Limits.Reserved == 0 {
		return claim{}
	}
	return claim{words: "whoever set ip_local_reserved_ports: see /etc/sysctl.conf and /etc/sysctl.d"}
}

// failers are the programs whose calls failed, of those that match.
func (f *Facts) failers(match func(*Fail) bool) Contributors {
	var parts []Contributor
	total := uint64(0)
	for i := range f.Traffic.Fails {
		v := &f.Traffic.Fails[i]
		if !match(v) {
			continue
		}
		total += v.N
		at := slices.IndexFunc(parts, func(o Contributor) bool { return ProgramOf(o.Process) == ProgramOf(v.Process) })
		if at < 0 {
			parts = append(parts, Contributor{Process: v.Process, PIDs: v.PIDs, About: v.About, N: v.N})
			continue
		}
		o := &parts[at]
		o.N += v.N
		o.About = o.About || v.About
		if o.PIDs = max(o.PIDs, v.PIDs); o.PIDs <= 1 && o.Process.PID != v.Process.PID {
			o.PIDs, o.About = 2, true
		}
	}
	return NewContributors(parts, total)
}

// victims says whose calls found no free port.
func (f *Facts) victims() claim {
	all := f.failers(func(v *Fail) bool { return v.Call == event.Connect && v.Cause == event.NoPort })
	if o := all.Most(); all.alone() {
		return f.counted(Fails, &all, o.name()+" "+o.does("makes", "make")+" the calls that fail")
	}
	return f.counted(Fails, &all, "the calls that fail are of "+all.counts())
}

// freeRange adds what gives connect() ports again.
func (f *Facts) freeRange(x *Finding) {
	if f.Limits.Reserved > f.Traffic.Range.Ports {
		var keep []uint16
		for _, l := range f.Listeners {
			keep = append(keep, l.Local.Port())
		}
		if list := portList(keep); list != f.Limits.ReservedPorts {
			x.Now = append(x.Now, Remedy{
				Text:     "reserve only the ports that servers listen on",
				Settings: f.set(ipv4("ip_local_reserved_ports", list, f.Limits.ReservedPorts)),
				Risk:     "a service that is stopped now may find its port taken: keep its port in the list",
			})
		}
		x.Fix = append(x.Fix, Remedy{Text: "shorten ip_local_reserved_ports where it is set: it must leave most of ip_local_port_range free"})
	}
	if w, ok := widerRange(*f); ok {
		x.Now = append(x.Now, w)
	}
	if f.Traffic.Range.Ports > 0 {
		x.Fix = append(x.Fix, Remedy{Text: "have the program that binds so many ports bind fewer of them, or ports outside ip_local_port_range"})
	}
	if len(x.Now) == 0 {
		x.Now = x.Fix
	}
}

// portList is a list of ports as ip_local_reserved_ports has it: "22,8000-8010".
func portList(ports []uint16) string {
	ports = slices.Clone(ports)
	slices.Sort(ports)
	ports = slices.Compact(ports)
	var parts []string
	for i := 0; i < len(ports); {
		j := i
		for j+1 < len(ports) && ports[j+1] == ports[j]+1 {
			j++
		}
		part := strconv.Itoa(int(ports[i]))
		if j > i {
			part += "-" + strconv.Itoa(int(ports[j]))
		}
		parts = append(parts, part)
		i = j + 1
	}
	return strings.Join(parts, ",")
}
