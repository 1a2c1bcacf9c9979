package process

// Cache remembers values by key: at least the size last ones that were used, and at most
// twice as many. It is for one goroutine.
type Cache[K comparable, V any] struct {
	size       int
	young, old map[K]V
}

// NewCache returns an empty cache of that size.
func NewCache[K comparable, V any](size int) *Cache[K, V] {
	return &Cache[K, V]{size: size, young: make(map[K]V), old: make(map[K]V)}
}

// Get returns the value of a key, and whether there is one.
func (c *Cache[K, V]) Get(k K) (V, bool) {
	v, ok := c.young[k]
	if ok {
		return v, true
	}
	if v, ok = c.old[k]; ok {
		c.Put(k, v)
	}
	return v, ok
}

// Put remembers v as the value of k. Where the young are as many as the size, they grow old,
// and the old ones are forgotten.
func (c *Cache[K, V]) Put(k K, v V) {
	if _, ok := c.young[k]; !ok && len(c.young) >= c.size {
		c.young, c.old = c.old, c.young
		clear(c.young)
	}
	c.young[k] = v
}

// Len is how many values are remembered, those twice that have been used again.
func (c *Cache[K, V]) Len() int { return len(c.young) + len(c.old) }
