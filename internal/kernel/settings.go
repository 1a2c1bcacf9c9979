package kernel

// Settings are sysctls of one network namespace that limit neither ports nor TIME_WAIT
// sockets, but that people change because of them.
type Settings struct {
	TWRecycle  int // net.ipv4.tcp_tw_recycle; -1 from 4.12 on, which does not have it
	Somaxconn  int // net.core.somaxconn: the maximum backlog of listen()
	SYNBacklog int // net.ipv4.tcp_max_syn_backlog
	SYNCookies int // net.ipv4.tcp_syncookies
	// LoIPv6Off is net.ipv6.conf.lo.disable_ipv6: 1 if ::1 is no address here, -1 if the
	// kernel has no IPv6.
	LoIPv6Off    int
	NonlocalBind int // net.ipv4.ip_nonlocal_bind: bind() takes addresses that are not of this host
	// DefaultTWBuckets is tcp_max_tw_buckets as the kernel sets it for a new namespace:
	// half of its hash buckets. 0 before 6.1, which does not show how many these are.
	DefaultTWBuckets uint64
}

// Settings reads the settings of n.
func (n NetNS) Settings() (s Settings, err error) {
	err = n.sysctls("", func(read sysctlReader) error {
		s, err = parseSettings(read)
		return err
	})
	return s, err
}

// parseSettings parses the sysctls below net that read returns.
func parseSettings(read sysctlReader) (Settings, error) {
	s := Settings{TWRecycle: -1, LoIPv6Off: -1}
	hash := 0
	err := read.ints(
		sysctl{name: "ipv4/tcp_tw_recycle", to: &s.TWRecycle, optional: true},
		sysctl{name: "core/somaxconn", to: &s.Somaxconn},
		sysctl{name: "ipv4/tcp_max_syn_backlog", to: &s.SYNBacklog},
		sysctl{name: "ipv4/tcp_syncookies", to: &s.SYNCookies, optional: true}, // CONFIG_SYN_COOKIES
		sysctl{name: "ipv6/conf/lo/disable_ipv6", to: &s.LoIPv6Off, optional: true},
		sysctl{name: "ipv4/ip_nonlocal_bind", to: &s.NonlocalBind, optional: true},
		sysctl{name: "ipv4/tcp_ehash_entries", to: &hash, optional: true},
	)
	// Negative: the namespace shares the table of the initial one.
	s.DefaultTWBuckets = uint64(max(hash, -hash) / 2)
	return s, err
}
