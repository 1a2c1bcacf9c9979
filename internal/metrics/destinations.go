package metrics

import (
	"cmp"
	"slices"
	"strconv"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

const (
	// atRisk is how many times the number of fullest destinations may be exposed if more
	// are at warn or crit.
	atRisk = 5
	// fewPorts is from how many ports in use on a destination is exposed that is not at
	// risk: a host has many that it connects to once.
	fewPorts = 8
)

// destinations are those that run out of ports.
type destinations struct {
	top    int
	labels map[pressure.Key]pairs // of those that had series at the last sample
	away   map[pressure.Key]bool  // those at risk that had none for want of room
	folded uint64
}

// observe adds the points of a sample: of the destinations at risk, and of the fullest.
// One that had series keeps them as long as it is among the 2 * top fullest.
func (d *destinations) observe(b *batch, r *pressure.Reading, nameOf func(uint32) string) {
	var risky, full []*pressure.Gauge
	for i := range r.Gauges {
		g := &r.Gauges[i]
		switch {
		case g.What != pressure.Ports:
		case g.Severity >= event.Warn:
			risky = append(risky, g)
		case g.InUse() >= fewPorts:
			full = append(full, g)
		}
	}
	slices.SortStableFunc(full, func(a, b *pressure.Gauge) int { return cmp.Compare(b.Share(), a.Share()) })
	full = full[:min(len(full), 2*d.top)]
	slices.SortStableFunc(full, func(a, b *pressure.Gauge) int {
		return cmp.Compare(btoi(d.labels[b.Key] != nil), btoi(d.labels[a.Key] != nil))
	})
	away := make(map[pressure.Key]bool)
	if most := atRisk * d.top; len(risky) > most {
		for _, g := range risky[most:] {
			away[g.Key] = true
			if !d.away[g.Key] {
				d.folded++
			}
		}
		risky = risky[:most]
	}
	d.away = away
	shown := append(risky, full[:min(len(full), max(d.top-len(risky), 0))]...)
	labels := make(map[pressure.Key]pairs, len(shown))
	used := make(map[string]bool, len(shown))
	for _, g := range shown {
		values := destinationValues(g, nameOf)
		if id := values[0] + " " + values[1] + " " + values[2] + " " + values[3]; used[id] { // namespaces of one name
			continue
		} else {
			used[id] = true
		}
		l := d.labels[g.Key]
		if l == nil {
			l = label(destinationLabels, values...)
		}
		labels[g.Key] = l
		points(b, l, g)
		if len(g.Holders) > 0 {
			o := ownerOf(&conn.Group{Owner: g.Holders[0].Process})
			b.add(portsOwner, label(portsOwner.labels, append(values, o.comm, o.unit, o.container, o.pod)...), 1)
		}
	}
	d.labels = labels
}

func points(b *batch, l pairs, g *pressure.Gauge) {
	b.add(portsUsed, l, float64(g.InUse()))
	if g.Limited {
		b.add(portsUsable, l, float64(g.Limit))
	}
	b.add(portsTW, l, float64(g.TimeWait))
	b.add(portsReusable, l, float64(g.Reusable))
	b.add(portsExhausts, l, exhaustsIn(g))
}

func destinationValues(g *pressure.Gauge, nameOf func(uint32) string) []string {
	return []string{nameOf(g.NetNS), g.Local.String(), g.Remote.Addr().String(), strconv.Itoa(int(g.Remote.Port()))}
}
