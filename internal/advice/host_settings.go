package advice

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// defaultFinTimeout is what net.ipv4.tcp_fin_timeout is unless somebody changes it.
const defaultFinTimeout = time.Minute

// uselessSettings is TW303: one finding for each setting.
func uselessSettings(f Facts) []Finding {
	var found []Finding
	for _, look := range []func(*Facts) (Finding, bool){recycle, finTimeout, fewBuckets, reuseWithoutStamps, overlap} {
		if x, ok := look(&f); ok {
			x.Severity = max(x.Severity, Info)
			if x.Who == "" {
				x.Who = "whoever set it: look in /etc/sysctl.conf and /etc/sysctl.d, or at what runs sysctl at start"
			}
			if x.When == "" {
				x.When = "as long as it is set"
			}
			found = append(found, x)
		}
	}
	return found
}

// putBack is the remedy of a setting: what it was by default.
func putBack(f *Facts, setting, was string, risk string) []Remedy {
	name, _, _ := strings.Cut(setting, "=")
	return []Remedy{{
		Text:    "put the default back, and take the line out of the file that sets it",
		Command: f.sysctl(setting), Undo: f.sysctl(name + "=" + was), Risk: risk,
	}}
}

func recycle(f *Facts) (Finding, bool) {
	v := f.Around.Settings.TWRecycle
	if v <= 0 {
		return Finding{}, false
	}
	off := putBack(f, "tcp_tw_recycle=0", fmt.Sprint(v), "none known")
	return Finding{
		Severity: Warn, // it bites every client behind NAT
		Short:    "tcp_tw_recycle is on",
		What:     fmt.Sprintf("net.ipv4.tcp_tw_recycle is %d", v),
		When:     "now: SYNs of hosts that share an address are dropped, unless their timestamps happen to grow",
		Why: "it takes the timestamps of one address for those of one host, so it refuses connections from behind NAT; " +
			"the kernel dropped it in 4.12",
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
		Short: "tcp_fin_timeout is lowered in vain",
		What:  "net.ipv4.tcp_fin_timeout is " + was + ", and 60 by default",
		Why: "it has no effect on TIME_WAIT, which is a constant of 60 s in the kernel; it bounds FIN_WAIT2 of sockets that their program has " +
			"closed, so that a peer that closes later than that is answered by a reset",
		Fix:      putBack(f, "tcp_fin_timeout=60", was, "sockets whose peer never closes stay in FIN_WAIT2 for a minute"),
		Evidence: []Evidence{{Name: "tcp_fin_timeout", Value: now.Seconds(), Limit: 60, Unit: "s", Source: "net.ipv4.tcp_fin_timeout"}},
	}, true
}

// fewBuckets is a limit of TIME_WAIT below the default. It bites when it refuses.
func fewBuckets(f *Facts) (Finding, bool) {
	now, def := f.Limits.MaxTWBuckets, f.Around.Settings.DefaultTWBuckets
	if now >= def {
		return Finding{}, false
	}
	x := Finding{
		Short: "tcp_max_tw_buckets is below the default",
		What:  fmt.Sprintf("net.ipv4.tcp_max_tw_buckets is %s, and %s by default here", output.Count(now), output.Count(def)),
		Why: "beyond the limit connections end without TIME_WAIT, and without its protection against segments that come late; " +
			"the kernel's documentation says that it must not be lowered",
		Fix: putBack(f, fmt.Sprintf("tcp_max_tw_buckets=%d", def), fmt.Sprint(now),
			"kernel memory, up to "+output.Bytes((def-now)*pressure.ClientTWBytes)+" more"),
		Evidence: []Evidence{
			{Name: "tcp_max_tw_buckets", Value: float64(now), Limit: float64(def), Unit: "sockets", Source: "net.ipv4.tcp_max_tw_buckets"},
			{Name: "refused", Value: float64(f.After.TWOverflow), Unit: "sockets", Source: "TcpExtTCPTimeWaitOverflow"},
		},
	}
	if f.After.TWOverflow > 0 || 2*f.After.TimeWait >= now && f.After.TimeWait > 0 {
		if !slices.ContainsFunc(bucketLimit(*f), func(x Finding) bool { return x.Severity >= Warn }) { // TW205 has said so
			x.Severity = Warn
		}
		x.When = fmt.Sprintf("it bites: %s are in TIME_WAIT, and %s were refused it", output.Count(f.After.TimeWait), output.Count(f.After.TWOverflow))
		x.Now = x.Fix
	}
	return x, true
}

// reuseWithoutStamps is tcp_tw_reuse=1 that can do nothing. It bites when ports run out.
func reuseWithoutStamps(f *Facts) (Finding, bool) {
	if f.Limits.TWReuse != 1 || f.Limits.Timestamps != 0 {
		return Finding{}, false
	}
	x := Finding{
		Short: "tcp_tw_reuse=1 does nothing without timestamps",
		What:  "net.ipv4.tcp_tw_reuse is 1, and net.ipv4.tcp_timestamps is 0",
		Why: "a port in TIME_WAIT is taken over only if both ends use TCP timestamps, for nothing else tells an old segment from a new one; " +
			"without them sequence numbers are not protected against wrapping either (PAWS)",
		Fix: putBack(f, "tcp_timestamps=1", "0", "12 bytes more in each segment; connections that exist stay as they are"),
		Evidence: []Evidence{
			{Name: "tcp_tw_reuse", Value: 1, Source: "net.ipv4.tcp_tw_reuse"},
			{Name: "tcp_timestamps", Value: 0, Source: "net.ipv4.tcp_timestamps"},
		},
	}
	for _, d := range f.Destinations {
		if u := project(d.live(), d.Expiry, f.Limits.UsablePorts()); d.mostlyTimeWait() && (d.Failed > 0 || u.severity() >= Warn) {
			x.Severity = Warn
			x.When = "it bites: the ports to " + d.Remote.String() + " run out (TW101)"
			x.Now = x.Fix
			break
		}
	}
	return x, true
}

// overlap is a port range that covers ports of servers.
func overlap(f *Facts) (Finding, bool) {
	var ports []uint16
	for _, q := range f.Around.Queues {
		if p := q.Local.Port(); f.Limits.Ephemeral(p) {
			ports = append(ports, p)
		}
	}
	if len(ports) == 0 {
		return Finding{}, false
	}
	slices.Sort(ports)
	ports = slices.Compact(ports)
	list := strings.Join(strings.Fields(strings.Trim(fmt.Sprint(ports), "[]")), ",")
	reserved := list
	if f.Limits.ReservedPorts != "" {
		reserved = f.Limits.ReservedPorts + "," + list
	}
	return Finding{
		Short: "servers listen inside ip_local_port_range",
		What: fmt.Sprintf("net.ipv4.ip_local_port_range, %d to %d, covers ports that servers listen on: %s",
			f.Limits.PortLow, f.Limits.PortHigh, shorten(list)),
		Who:  "`ss -tlnp` shows who listens there",
		When: "when such a server restarts: a client may have taken its port by then, and bind() fails with EADDRINUSE",
		Why: "while a server listens, connect() passes over its port, for any destination; a port that a server has got from bind() to port 0 " +
			"does no harm",
		Fix: []Remedy{{
			Text:    "reserve the ports of servers that have fixed ones",
			Command: f.sysctl("ip_local_reserved_ports=" + reserved),
			Undo:    f.sysctl("ip_local_reserved_ports=" + f.Limits.ReservedPorts),
			Risk:    "none known: connections that exist stay",
		}},
		Evidence: []Evidence{
			{Name: "listening_ports_inside", Value: float64(len(ports)), Unit: "ports", Source: "sock_diag"},
			{Name: "port_low", Value: float64(f.Limits.PortLow), Source: "net.ipv4.ip_local_port_range"},
			{Name: "port_high", Value: float64(f.Limits.PortHigh), Source: "net.ipv4.ip_local_port_range"},
		},
	}, true
}

// shorten cuts a long list of ports.
func shorten(list string) string {
	const most = 60
	if len(list) <= most {
		return list
	}
	cut := strings.LastIndexByte(list[:most], ',')
	return list[:cut] + ", ..."
}
