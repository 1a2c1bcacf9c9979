package process

// lru is a map of at most max values: to make room, it drops the one that was least
// recently used.
type lru[K comparable, V any] struct {
	max     int
	nodes   map[K]*lruNode[K, V]
	front   *lruNode[K, V] // used last; a ring
	evicted uint64
}

type lruNode[K comparable, V any] struct {
	key        K
	value      V
	prev, next *lruNode[K, V]
}

func newLRU[K comparable, V any](size int) *lru[K, V] {
	return &lru[K, V]{max: size, nodes: make(map[K]*lruNode[K, V])}
}

// get returns the value of a key, nil if there is none. The pointer is valid until
// the next put.
func (l *lru[K, V]) get(key K) *V {
	n := l.nodes[key]
	if n == nil {
		return nil
	}
	if n != l.front {
		l.unlink(n)
		l.push(n)
	}
	return &n.value
}

func (l *lru[K, V]) put(key K, value V) {
	if v := l.get(key); v != nil {
		*v = value
		return
	}
	n := &lruNode[K, V]{}
	if len(l.nodes) >= l.max {
		n = l.front.prev
		delete(l.nodes, n.key)
		l.unlink(n)
		l.evicted++
	}
	n.key, n.value = key, value
	l.nodes[key] = n
	l.push(n)
}

func (l *lru[K, V]) push(n *lruNode[K, V]) {
	if l.front == nil {
		n.prev, n.next = n, n
	} else {
		n.prev, n.next = l.front.prev, l.front
		n.prev.next, n.next.prev = n, n
	}
	l.front = n
}

func (l *lru[K, V]) unlink(n *lruNode[K, V]) {
	if n.next == n {
		l.front = nil
		return
	}
	n.prev.next, n.next.prev = n.next, n.prev
	if l.front == n {
		l.front = n.next
	}
}
