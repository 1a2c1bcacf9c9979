package process

import "testing"

func TestCache(t *testing.T) {
	const size = 100
	c := NewCache[int, int](size)
	if v, ok := c.Get(0); ok || v != 0 {
		t.Errorf("an empty one has %d", v)
	}
	for i := range 10_000 {
		c.Put(i, 2*i)
		if v, ok := c.Get(7); i >= 7 && (!ok || v != 14) {
			t.Fatalf("after %d it has forgotten one that is used all the time", i)
		}
		for j := max(i-size/2, 0); j <= i; j += 7 {
			if v, ok := c.Get(j); !ok || v != 2*j {
				t.Fatalf("after %d, %d is %d, %v", i, j, v, ok)
			}
		}
		if c.Len() > 2*size {
			t.Fatalf("after %d it has %d values", i, c.Len())
		}
	}
	if v, ok := c.Get(5000); ok {
		t.Errorf("one that nobody asked for in long is %d", v)
	}
	c.Put(7, 1)
	if v, _ := c.Get(7); v != 1 {
		t.Errorf("the new value is %d", v)
	}
}

// TestCacheAllocates: with new keys all the time it takes no more memory.
func TestCacheAllocates(t *testing.T) {
	c := NewCache[int, int](1000)
	n := 0
	put := func() {
		n++
		c.Put(n, n)
	}
	for range 10_000 {
		put()
	}
	if got := testing.AllocsPerRun(10_000, put); got > 0.01 {
		t.Errorf("%v allocations each", got)
	}
}
