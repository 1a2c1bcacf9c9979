package advice

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

var tw303 = rule{id: "TW303", title: "useless or harmful settings", find: uselessSettings}

// defaultFinTimeout is what net.ipv4.tcp_fin_timeout is unless somebody changes it.
const defaultFinTimeout = time.Minute

// uselessSettings is TW303: one finding for each setting.
func uselessSettings(f Facts) []Finding {
	var found []Finding
	for _, check := range []func(*Facts) (Finding, bool){recycle, finTimeout, fewBuckets, reuseWithoutStamps, overlap} {
		if x, ok := check(&f); ok {
			x.Severity = max(x.Severity, event.Info)
			if x.Who == "" {
				x.Who = "whoever set it: see /etc/sysctl.conf and /etc/sysctl.d, or what runs sysctl at boot"
			}
			if x.When == "" {
				x.When = "as long as it is set"
			}
			found = append(found, x)
		}
	}
	return found
}

// putBack is the remedy that restores the default of a setting.
func putBack(f *Facts, s Setting, risk string) []Remedy {
	return []Remedy{{
		Text:     "restore the default, and remove the line from the file that sets it",
		Settings: f.set(s), Risk: risk,
	}}
}

func recycle(f *Facts) (Finding, bool) {
	v := f.HostAfter.Settings.TWRecycle
	if v <= 0 {
		return Finding{}, false
	}
	off := putBack(f, ipv4("tcp_tw_recycle", 0, v), "none known")
	return Finding{
		Severity: event.Warn, // it hurts every client behind NAT
		Short:    "tcp_tw_recycle is on",
		What:     fmt.Sprintf("net.ipv4.tcp_tw_recycle is %d", v),
		When:     "now: the kernel drops SYNs from hosts that share an address, unless their timestamps happen to increase",
		Why: "it assumes that one address is one host with one timestamp clock, so it refuses connections from behind NAT; " +
			"Linux 4.12 removed it",
		Now:      off,
		Fix:      off,
		Evidence: []Evidence{{Name: "tcp_tw_recycle", Value: float64(v), Source: "net.ipv4.tcp_tw_recycle"}},
	}, true
}

func finTimeout(f *Facts) (Finding, bool) {
	now := f.Limits.FinTimeout
	if now >= defaultFinTimeout || now <= 0 {
		return Finding{}, false
	}
	was := fmt.Sprintf("%.0f", now.Seconds())
	return Finding{
		Short: "lowering tcp_fin_timeout has no effect on TIME_WAIT",
		What:  "net.ipv4.tcp_fin_timeout is " + was + "; the default is 60",
		Why: "it has no effect on TIME_WAIT, which is a constant 60 s in the kernel; it limits FIN_WAIT2 of sockets that their program has " +
			"closed, so a peer that closes later gets a reset",
		Fix:      putBack(f, ipv4("tcp_fin_timeout", 60, was), "sockets whose peer never closes stay in FIN_WAIT2 for a minute"),
		Evidence: []Evidence{{Name: "tcp_fin_timeout", Value: now.Seconds(), Limit: 60, Unit: "s", Source: "net.ipv4.tcp_fin_timeout"}},
	}, true
}

// fewBuckets is a TIME_WAIT bucket limit below the default. It does harm once it refuses.
func fewBuckets(f *Facts) (Finding, bool) {
	if f.Limits.MaxTWBuckets < 0 { // no limit
		return Finding{}, false
	}
	now, def := uint64(f.Limits.MaxTWBuckets), f.HostAfter.Settings.DefaultTWBuckets
	if now >= def {
		return Finding{}, false
	}
	x := Finding{
		Short: "tcp_max_tw_buckets is below the default",
		What:  fmt.Sprintf("net.ipv4.tcp_max_tw_buckets is %s; the default on this host is %s", output.Count(now), output.Count(def)),
		Why: "beyond the limit, connections end without TIME_WAIT and without its protection against late segments; " +
			"the kernel's documentation says not to lower it",
		Fix: putBack(f, ipv4("tcp_max_tw_buckets", def, now),
			"kernel memory, up to "+output.Bytes((def-now)*pressure.ClientTWBytes)+" more"),
		Evidence: []Evidence{
			{Name: "tcp_max_tw_buckets", Value: float64(now), Limit: float64(def), Unit: "sockets", Source: "net.ipv4.tcp_max_tw_buckets"},
			{Name: "refused", Value: float64(f.After.TWOverflow), Unit: "sockets", Source: "TcpExtTCPTimeWaitOverflow"},
		},
	}
	if f.After.TWOverflow > 0 || 2*f.After.TimeWait >= now && f.After.TimeWait > 0 {
		if !slices.ContainsFunc(bucketLimit(*f), func(x Finding) bool { return x.Severity >= event.Warn }) { // TW205 says so
			x.Severity = event.Warn
		}
		x.When = "it does harm: " + plural(f.After.TimeWait, "socket") + verb(int(f.After.TimeWait), " is", " are") + " in TIME_WAIT"
		if f.After.TWOverflow > 0 {
			x.When = "it does harm: " + plural(f.After.TWOverflow, "socket") + verb(int(f.After.TWOverflow), " was", " were") + " refused TIME_WAIT"
		}
		x.Now = x.Fix
	}
	return x, true
}

// reuseWithoutStamps is tcp_tw_reuse=1 without effect. It does harm when ports run out.
func reuseWithoutStamps(f *Facts) (Finding, bool) {
	if f.Limits.TWReuse != 1 || f.Limits.Timestamps != 0 {
		return Finding{}, false
	}
	x := Finding{
		Short: "tcp_tw_reuse=1 does nothing without timestamps",
		What:  "net.ipv4.tcp_tw_reuse is 1, and net.ipv4.tcp_timestamps is 0",
		Why: "connect() reuses a port in TIME_WAIT only if both ends use TCP timestamps, since only they distinguish an old segment from a new one; " +
			"without them, sequence numbers are not protected against wrapping either (PAWS)",
		Fix: putBack(f, ipv4("tcp_timestamps", 1, 0), "12 more bytes in each segment; existing connections do not change"),
		Evidence: []Evidence{
			{Name: "tcp_tw_reuse", Value: 1, Source: "net.ipv4.tcp_tw_reuse"},
			{Name: "tcp_timestamps", Value: 0, Source: "net.ipv4.tcp_timestamps"},
		},
	}
	for _, d := range f.Destinations {
		if u := project(d.live(), d.Expiry, f.usable()); d.mostlyTimeWait() && (d.Failed > 0 || u.severity() >= event.Warn) {
			x.Severity = event.Warn
			x.When = "it does harm: the ports to " + d.Remote.String() + " run out (TW101)"
			x.Now = x.Fix
			break
		}
	}
	return x, true
}

// overlap is an ephemeral port range that includes ports of servers. Nobody can see of a
// listener whether bind() to port 0 chose its port, so it advises to reserve none of them.
func overlap(f *Facts) (Finding, bool) {
	var ports []uint16
	for _, q := range f.HostAfter.Queues {
		if p := q.Local.Port(); f.Limits.Ephemeral(p) {
			ports = append(ports, p)
		}
	}
	if len(ports) == 0 {
		return Finding{}, false
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	return Finding{
		Short: "servers listen inside ip_local_port_range",
		What: fmt.Sprintf("net.ipv4.ip_local_port_range, %d to %d, includes ports that servers listen on: %s",
			f.Limits.PortLow, f.Limits.PortHigh, shorten(withPorts("", ports...))),
		Who:  f.whoListens(),
		When: "if such a server asks for its port by number, and restarts: a client may hold the port by then, and bind() fails with EADDRINUSE",
		Why: "while a server listens, connect() skips its port for every destination; a port that a server got from bind() to port 0 " +
			"does no harm. Which of them are fixed is not known here: the servers' configuration has them",
		Fix: []Remedy{{Text: "add the fixed ones to net.ipv4.ip_local_reserved_ports, and leave out the others"}},
		Evidence: []Evidence{
			{Name: "listening_ports_inside", Value: float64(len(ports)), Unit: "ports", Source: "sock_diag"},
			{Name: "port_low", Value: float64(f.Limits.PortLow), Source: "net.ipv4.ip_local_port_range"},
			{Name: "port_high", Value: float64(f.Limits.PortHigh), Source: "net.ipv4.ip_local_port_range"},
		},
	}, true
}

// shorten cuts off a long list of ports.
func shorten(list string) string {
	const limit = 60
	if len(list) <= limit {
		return list
	}
	cut := strings.LastIndexByte(list[:limit], ',')
	return list[:cut] + ", ..."
}
