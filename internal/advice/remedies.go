package advice

import (
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/twtrace/twtrace/internal/output"
)

// sysctl returns the command that makes settings, "name=value" each, in the
// namespace of f. One command makes them in the order given.
func (f *Facts) sysctl(settings ...string) string {
	return f.Enter + "sysctl -w net.ipv4." + strings.Join(settings, " net.ipv4.")
}

// portRemedies are what gives d ports within a minute.
func portRemedies(f Facts, d Destination, r reuse) []Remedy {
	var now []Remedy
	if r == reuseOff {
		value, covers := "1", "if the destination uses TCP timestamps, which cannot be seen here"
		if d.Begun > 0 {
			covers = d.stamped() + " of those that began of late use TCP timestamps, and only such can be"
		}
		if d.loopback() {
			value, covers = "2", "on loopback only"
		}
		now = append(now, Remedy{
			Text:    "let connect() take over ports in TIME_WAIT, " + covers,
			Command: f.sysctl("tcp_tw_reuse=" + value),
			Undo:    f.sysctl("tcp_tw_reuse=" + strconv.Itoa(f.Limits.TWReuse)),
			Risk:    "behind IPVS, NAT or conntrack a port that comes back early can have its connection delayed or reset",
		})
	}
	if w, ok := widerRange(f); ok {
		now = append(now, w)
	}
	return append(now, Remedy{Text: "connect from another source address too: each has ports of its own to this destination"})
}

// widerRange is the remedy that gives every destination more ports. Ports that
// somebody listens on now are reserved first, so that connect() cannot take one
// while its server restarts.
func widerRange(f Facts) (Remedy, bool) {
	wide := f.Limits.WithRange(uint16(max(1024, f.Limits.UnprivPortStart)), 65535)
	listed := f.Limits.ReservedPorts
	var add []uint16
	for _, l := range f.Listeners {
		if p := l.Local.Port(); wide.Ephemeral(p) {
			add = append(add, p)
		}
	}
	slices.Sort(add)
	add = slices.Compact(add)
	gain := wide.UsablePorts() - len(add) - f.Limits.UsablePorts()
	if gain*10 < f.Limits.UsablePorts() {
		return Remedy{}, false // it is about as wide as it can be
	}
	settings := []string{fmt.Sprintf(`ip_local_port_range="%d %d"`, wide.PortLow, wide.PortHigh)}
	undo := []string{fmt.Sprintf(`ip_local_port_range="%d %d"`, f.Limits.PortLow, f.Limits.PortHigh)}
	if len(add) > 0 {
		for _, p := range add {
			if listed != "" {
				listed += ","
			}
			listed += strconv.Itoa(int(p))
		}
		settings = append([]string{"ip_local_reserved_ports=" + listed}, settings...)
		undo = append(undo, "ip_local_reserved_ports="+f.Limits.ReservedPorts)
	}
	return Remedy{
		Text:    fmt.Sprintf("widen the port range, %s ports more for every destination", output.Count(uint64(gain))),
		Command: f.sysctl(settings...),
		Undo:    f.sysctl(undo...),
		Risk:    "a server that is not running now may find its port taken when it starts: reserve that port as well",
	}, true
}
