package rows

import (
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// Collector counts the connections of a whole trace, to be shown as rows at its end.
type Collector struct {
	conns  *conn.Table
	spaces map[uint32]string // names of network namespaces
}

// NewCollector returns an empty one. It forgets nothing while there is room.
func NewCollector() *Collector {
	const ever = 100 * 365 * 24 * time.Hour
	return &Collector{conn.New(conn.Options{Idle: ever}), make(map[uint32]string)}
}

// Add takes an event into account that has its owner.
func (c *Collector) Add(e *event.Event) {
	if e.NetNSName != "" {
		c.spaces[e.NetNS] = e.NetNSName
	}
	one := *e
	c.conns.Apply(&one)
}

// Rows are the flows, ungrouped, as they are at now, in ns since the epoch. Nothing is
// known of their rates and of their use of ports.
func (c *Collector) Rows(now int64) []Row {
	var snapshot conn.Snapshot
	c.conns.Snapshot(now, &snapshot)
	b := Builder{Name: func(netns uint32) string { return c.spaces[netns] }}
	list, _ := b.Build(&snapshot, nil)
	return list
}
