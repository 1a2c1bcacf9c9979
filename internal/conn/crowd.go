package conn

import (
	"hash/maphash"

	"github.com/twtrace/twtrace/internal/event"
)

// exactMax is up to how many processes of one crowd are counted one by one, and
// exactTotal those of all crowds: some 5 MB. Beyond, their number is an estimate.
const (
	exactMax   = 4096
	exactTotal = 1 << 17
)

// crowd counts the processes of a group of many.
type crowd struct {
	exact  map[uint64]struct{} // hashes of them; nil once there are too many
	sketch *sketch             // then
}

// gather counts those of g's family that have a group of their own.
func (t *Table) gather(g *group, family uint64) {
	for _, o := range t.groups.all {
		if o != nil && o.family == family {
			t.join(g.pids, o.proc)
		}
	}
}

// join counts p, once.
func (t *Table) join(c *crowd, p event.Proc) {
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
func (c *crowd) count() (n int, about bool) {
	if c.sketch != nil {
		return c.sketch.count(), true
	}
	return len(c.exact), false
}
