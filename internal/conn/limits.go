package conn

import "time"

// Limits are the limits of one network namespace.
type Limits struct {
	PortLow, PortHigh uint16        // the ephemeral port range, both included
	ReservedPorts     string        // those of any range that connect() never chooses: "8080,9000-9010"
	Usable            int           // how many ports of the range connect() may use: fewer than it has if some are reserved
	MaxTW             int64         // tcp_max_tw_buckets: in TIME_WAIT and parked together; negative: no limit
	TWReuse           int           // tcp_tw_reuse: 0 off, 1 on, 2 on loopback only
	ReuseDelay        time.Duration // how old a socket in TIME_WAIT must be for connect() to take its port
	Timestamps        bool          // tcp_timestamps is on
}

// Ephemeral reports whether port lies in the range.
func (l *Limits) Ephemeral(port uint16) bool { return port >= l.PortLow && port <= l.PortHigh }

// LimitsFunc returns the limits of a network namespace, by its inode number; ok is
// false if they are not known.
type LimitsFunc func(netns uint32) (l Limits, ok bool)

// limits are those of a namespace or, if they are not known, the kernel's default
// port range alone.
func (t *Table) limits(netns uint32) (l Limits, known bool) {
	if t.opt.Limits != nil {
		if l, known = t.opt.Limits(netns); known {
			return l, true
		}
	}
	return Limits{PortLow: 32768, PortHigh: 60999}, false
}
