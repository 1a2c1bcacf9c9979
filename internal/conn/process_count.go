package conn

import (
	"hash/maphash"

	"github.com/twtrace/twtrace/internal/event"
)

// exactMax is up to how many processes of one group are counted one by one, and
// exactTotal those of all groups: some 5 MB. Beyond, their number is an estimate.
const (
	exactMax   = 4096
	exactTotal = 1 << 17
)

// processCount counts the processes of a group of many.
type processCount struct {
	exact  map[uint64]struct{} // hashes of them; nil once there are too many
	sketch *sketch             // then
}

// countFamily counts those of g's family that have a group of their own.
func (t *Table) countFamily(g *group, family uint64) {
	for _, o := range t.groups.all {
		if o != nil && o.family == family {
			t.countProcess(g.pids, o.proc)
		}
	}
}

// countProcess counts p, once.
func (t *Table) countProcess(c *processCount, p event.Proc) {
	hash := maphash.Comparable(t.seed, [2]uint64{uint64(p.PID), p.Start()})
	if c.sketch != nil {
		c.sketch.add(hash)
		return
	}
	if _, ok := c.exact[hash]; ok {
		return
	}
	if len(c.exact) < exactMax && t.groups.exact < exactTotal {
		c.exact[hash] = struct{}{}
		t.groups.exact++
		return
	}
	c.sketch = new(sketch)
	c.sketch.add(hash)
	for h := range c.exact {
		c.sketch.add(h)
	}
	t.groups.exact -= len(c.exact)
	c.exact = nil
}

// count is how many there were, and whether that is an estimate.
func (c *processCount) count() (n int, estimated bool) {
	if c.sketch != nil {
		return c.sketch.count(), true
	}
	return len(c.exact), false
}
