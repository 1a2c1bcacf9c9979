package kernel

import (
	"fmt"
	"io/fs"
	"strconv"
	"strings"
	"time"
)

// Limits are the sysctls of one network namespace that decide when ports and
// TIME_WAIT sockets run out.
type Limits struct {
	PortLow, PortHigh uint16 // net.ipv4.ip_local_port_range, both inclusive
	Reserved          int    // how many ports of that range are in ReservedPorts
	ReservedPorts     string // net.ipv4.ip_local_reserved_ports as the kernel prints it: "8080,9000-9010"
	MaxTWBuckets      int64  // net.ipv4.tcp_max_tw_buckets: sockets in TIME_WAIT and parked in FIN_WAIT2 together; negative: no limit
	TWReuse           int    // net.ipv4.tcp_tw_reuse: 0 off, 1 on, 2 loopback only
	TWReuseDelayMS    int    // net.ipv4.tcp_tw_reuse_delay; -1 before 6.14, which does not have it
	FinTimeout        time.Duration
	Timestamps        int // net.ipv4.tcp_timestamps
	RFC1337           int // net.ipv4.tcp_rfc1337
	// UnprivPortStart is net.ipv4.ip_unprivileged_port_start: the kernel refuses
	// a port range that starts below it.
	UnprivPortStart int
}

// UsablePorts is how many ports connect() can choose from for one destination.
func (l Limits) UsablePorts() int { return int(l.PortHigh) - int(l.PortLow) + 1 - l.Reserved }

// WithRange returns l as it would be with another port range.
func (l Limits) WithRange(low, high uint16) Limits {
	l.PortLow, l.PortHigh = low, high
	// parseLimits has parsed the list before, so there is no error.
	l.Reserved, _ = countReserved(l.ReservedPorts, low, high)
	return l
}

// Ephemeral reports whether connect() may choose port by itself.
func (l Limits) Ephemeral(port uint16) bool {
	if port < l.PortLow || port > l.PortHigh {
		return false
	}
	if l.Reserved == 0 {
		return true
	}
	n, err := countReserved(l.ReservedPorts, port, port)
	return err == nil && n == 0
}

// Map returns the limits by sysctl name, as sysctl(8) prints them.
func (l Limits) Map() map[string]string {
	m := map[string]string{
		"net.ipv4.ip_local_port_range":     fmt.Sprintf("%d %d", l.PortLow, l.PortHigh),
		"net.ipv4.ip_local_reserved_ports": l.ReservedPorts,
		"net.ipv4.tcp_max_tw_buckets":      strconv.FormatInt(l.MaxTWBuckets, 10),
		"net.ipv4.tcp_tw_reuse":            strconv.Itoa(l.TWReuse),
		"net.ipv4.tcp_fin_timeout":         strconv.FormatInt(int64(l.FinTimeout/time.Second), 10),
		"net.ipv4.tcp_timestamps":          strconv.Itoa(l.Timestamps),
		"net.ipv4.tcp_rfc1337":             strconv.Itoa(l.RFC1337),

		"net.ipv4.ip_unprivileged_port_start": strconv.Itoa(l.UnprivPortStart),
	}
	if l.TWReuseDelayMS >= 0 {
		m["net.ipv4.tcp_tw_reuse_delay"] = strconv.Itoa(l.TWReuseDelayMS)
	}
	return m
}

// Limits reads the limits of n. Each is a sysctl below net.ipv4.
func (n NetNS) Limits() (l Limits, err error) {
	err = n.sysctls("ipv4/", func(read sysctlReader) error {
		l, err = parseLimits(read)
		return err
	})
	return l, err
}

// ParseLimits is the inverse of Map. Trace files of the first version do not have
// ip_unprivileged_port_start: it is 1024 then, the kernel's default.
func ParseLimits(m map[string]string) (Limits, error) {
	return parseLimits(func(name string) (string, error) {
		s, ok := m["net.ipv4."+name]
		switch {
		case !ok && name == "ip_unprivileged_port_start":
			return "1024", nil
		case !ok:
			return "", fmt.Errorf("net.ipv4.%s: %w", name, fs.ErrNotExist)
		}
		return s, nil
	})
}

// parseLimits parses the sysctls below net.ipv4 that read returns.
func parseLimits(read sysctlReader) (Limits, error) {
	l := Limits{TWReuseDelayMS: -1}
	ports, err := read("ip_local_port_range")
	if err != nil {
		return l, err
	}
	if l.PortLow, l.PortHigh, err = parsePortRange(ports); err != nil {
		return l, err
	}
	reserved, err := read("ip_local_reserved_ports")
	if err != nil {
		return l, err
	}
	l.ReservedPorts = strings.TrimSpace(reserved)
	if l.Reserved, err = countReserved(l.ReservedPorts, l.PortLow, l.PortHigh); err != nil {
		return l, err
	}

	var buckets, fin int
	err = read.ints(
		sysctl{name: "tcp_max_tw_buckets", to: &buckets},
		sysctl{name: "tcp_tw_reuse", to: &l.TWReuse},
		sysctl{name: "tcp_tw_reuse_delay", to: &l.TWReuseDelayMS, optional: true},
		sysctl{name: "tcp_fin_timeout", to: &fin},
		sysctl{name: "tcp_timestamps", to: &l.Timestamps},
		sysctl{name: "tcp_rfc1337", to: &l.RFC1337},
		sysctl{name: "ip_unprivileged_port_start", to: &l.UnprivPortStart},
	)
	if err != nil {
		return l, err
	}
	l.MaxTWBuckets = int64(buckets)
	l.FinTimeout = time.Duration(fin) * time.Second
	return l, nil
}

// parsePortRange parses "32768\t60999\n".
func parsePortRange(s string) (low, high uint16, err error) {
	f := strings.Fields(s)
	if len(f) != 2 {
		return 0, 0, fmt.Errorf("parse ip_local_port_range: %q is not two ports", s)
	}
	l, err := strconv.ParseUint(f[0], 10, 16)
	if err != nil {
		return 0, 0, fmt.Errorf("parse ip_local_port_range: %w", err)
	}
	h, err := strconv.ParseUint(f[1], 10, 16)
	if err != nil {
		return 0, 0, fmt.Errorf("parse ip_local_port_range: %w", err)
	}
	if l > h {
		return 0, 0, fmt.Errorf("parse ip_local_port_range: %d is above %d", l, h)
	}
	return uint16(l), uint16(h), nil
}

// countReserved counts the ports of a list like "8080,9000-9010" that lie in
// low..high. The kernel prints its bitmap: in order, without overlaps.
func countReserved(list string, low, high uint16) (int, error) {
	n := 0
	for part := range strings.SplitSeq(strings.TrimSpace(list), ",") {
		if part == "" {
			continue
		}
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, err := strconv.ParseUint(from, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("parse ip_local_reserved_ports: %w", err)
		}
		b, err := strconv.ParseUint(to, 10, 16)
		if err != nil {
			return 0, fmt.Errorf("parse ip_local_reserved_ports: %w", err)
		}
		n += max(0, min(int(b), int(high))-max(int(a), int(low))+1)
	}
	return n, nil
}
