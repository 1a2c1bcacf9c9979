package kernel

// Settings are sysctls of one network namespace that limit no port and no TIME_WAIT
// socket, and that people change because of them.
type Settings struct {
	TWRecycle  int // net.ipv4.tcp_tw_recycle; -1 from 4.12 on, which has none
	Somaxconn  int // net.core.somaxconn: the most that listen() gives a backlog
	SYNBacklog int // net.ipv4.tcp_max_syn_backlog
	SYNCookies int // net.ipv4.tcp_syncookies
	// DefaultTWBuckets is what tcp_max_tw_buckets was when the namespace was made:
	// half of its hash buckets. 0 before 6.1, which does not tell how many these are.
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

// parseSettings makes Settings of the sysctls below net that read returns.
func parseSettings(read sysctlReader) (Settings, error) {
	s := Settings{TWRecycle: -1}
	hash := 0
	err := read.ints(
		sysctl{name: "ipv4/tcp_tw_recycle", to: &s.TWRecycle, optional: true},
		sysctl{name: "core/somaxconn", to: &s.Somaxconn},
		sysctl{name: "ipv4/tcp_max_syn_backlog", to: &s.SYNBacklog},
		sysctl{name: "ipv4/tcp_syncookies", to: &s.SYNCookies, optional: true}, // CONFIG_SYN_COOKIES
		sysctl{name: "ipv4/tcp_ehash_entries", to: &hash, optional: true},
	)
	// Negative: the namespace shares the table of the initial one.
	s.DefaultTWBuckets = uint64(max(hash, -hash) / 2)
	return s, err
}
