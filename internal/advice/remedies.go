package advice

import (
	"fmt"
	"slices"

	"github.com/twtrace/twtrace/internal/output"
)

// portRemedies are what gives d more ports within a minute.
func portRemedies(f Facts, d Destination, r reuse) []Remedy {
	var now []Remedy
	if r == reuseOff {
		value, covers := "1", ", if the destination uses TCP timestamps (not visible without a trace)"
		if d.Begun > 0 {
			covers = ", which works here for " + d.stamped() + " of the recent connections: those use TCP timestamps"
		}
		if d.loopback() {
			value, covers = "2", ", on loopback only"
		}
		now = append(now, Remedy{
			Text:     "let connect() reuse ports in TIME_WAIT" + covers,
			Settings: f.set(ipv4("tcp_tw_reuse", value, f.Limits.TWReuse)),
			Risk:     "with IPVS, NAT or conntrack in the path, a connection from a reused port can be delayed or reset",
		})
	}
	if w, ok := widerRange(f); ok {
		now = append(now, w)
	}
	return append(now, Remedy{Text: "add a source address for the client: each brings a full range of ports to this destination"})
}

// widerRange is the remedy that gives every destination more ports. It first
// reserves the ports that somebody listens on, so that connect() cannot take one
// while its server restarts. A port inside the present range may be one that bind() to port
// 0 chose, which nobody can see of a listener: it is not reserved.
func widerRange(f Facts) (Remedy, bool) {
	wide := f.Limits.WithRange(uint16(max(1024, f.Limits.UnprivPortStart)), 65535)
	var add, open []uint16
	for _, l := range f.Listeners {
		switch p := l.Local.Port(); {
		case !wide.Ephemeral(p):
		case f.Limits.Ephemeral(p):
			open = append(open, p)
		default:
			add = append(add, p)
		}
	}
	slices.Sort(add)
	add = slices.Compact(add)
	slices.Sort(open)
	open = slices.Compact(open)
	gain := wide.UsablePorts() - len(add) - f.Limits.UsablePorts()
	if gain*10 < f.Limits.UsablePorts() {
		return Remedy{}, false // it is about as wide as it can be
	}
	settings := []Setting{ipv4("ip_local_port_range", fmt.Sprintf("%d %d", wide.PortLow, wide.PortHigh),
		fmt.Sprintf("%d %d", f.Limits.PortLow, f.Limits.PortHigh))}
	if len(add) > 0 {
		settings = append([]Setting{ipv4("ip_local_reserved_ports", withPorts(f.Limits.ReservedPorts, add...), f.Limits.ReservedPorts)}, settings...)
	}
	r := Remedy{
		Text:     fmt.Sprintf("widen the ephemeral port range: %s more ports for every destination", output.Count(uint64(gain))),
		Settings: f.set(settings...),
		Risk:     "a service that is stopped now may find its port taken: add it to ip_local_reserved_ports as well",
	}
	if len(open) > 0 {
		r.Risk += fmt.Sprintf("; reserve %s, where somebody listens, if the server asks for it by number: bind() to port 0 may have chosen it",
			shorten(withPorts("", open...)))
	}
	return r, true
}
