package session

import (
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/kernel"
)

// delayBefore is how old a socket in TIME_WAIT had to be before 6.14, which made
// it a sysctl: the clock of whole seconds had to have gone on.
const delayBefore = time.Second

// ConnLimits are the limits of a network namespace as the table knows them.
func ConnLimits(k *kernel.Limits) conn.Limits {
	delay := time.Duration(k.TWReuseDelayMS) * time.Millisecond
	if k.TWReuseDelayMS < 0 {
		delay = delayBefore
	}
	return conn.Limits{PortLow: k.PortLow, PortHigh: k.PortHigh, ReservedPorts: k.ReservedPorts, Usable: k.UsablePorts(), MaxTW: k.MaxTWBuckets,
		TWReuse: k.TWReuse, ReuseDelay: delay, Timestamps: k.Timestamps != 0}
}
