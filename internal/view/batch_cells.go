package view

import (
	"math"
	"net/netip"
	"strconv"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/rows"
)

func batchParent(r *rows.Row) string { return batchNumber(uint64(who(r).PPID)) }

func batchUID(r *rows.Row) string {
	if !who(r).HasUID {
		return ""
	}
	return strconv.FormatUint(uint64(who(r).UID), 10)
}

func batchNumber(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func batchPID(r *rows.Row) string { return batchNumber(uint64(r.Owner.PID)) }

// batchAddr is the address of one end, as records have it.
func batchAddr(end netip.AddrPort) string {
	if !end.Addr().IsValid() {
		return ""
	}
	return end.Addr().Unmap().WithZone("").String()
}

// batchCloseWait is "" where nobody has asked the kernel.
func batchCloseWait(r *rows.Row) string { return known(r.Polled, r.CloseWait) }

// batchPeers is how many peers the row has: destinations of a client, remote
// addresses of a server.
func batchPeers(r *rows.Row) string {
	if r.Role == event.Server {
		return batchNumber(uint64(r.Clients))
	}
	return batchNumber(uint64(r.Peers))
}

func batchPorts(r *rows.Row) string {
	if r.Usable <= 0 {
		return ""
	}
	return strconv.Itoa(int(100 * float64(r.Ports) / float64(r.Usable)))
}

func batchClosedBy(r *rows.Row) string {
	_, n, of := r.ClosedBy()
	if of == 0 {
		return ""
	}
	return strconv.FormatUint(100*n/of, 10)
}

// batchRate has one decimal below ten, where it says something.
func batchRate(v float64) string {
	switch {
	case !rows.Known(v):
		return ""
	case math.Abs(v) < 9.95 && math.Abs(v-math.Round(v)) >= 0.05:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatInt(int64(math.Round(v)), 10)
}

// batchLife is in nanoseconds.
func batchLife(r *rows.Row, q float64) string {
	d, ok := r.Life.Quantile(q)
	if !ok {
		return ""
	}
	return strconv.FormatInt(int64(d), 10)
}
