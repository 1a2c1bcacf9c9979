package pressure

import (
	"testing"
	"time"
)

// TestBurst: when most sockets entered, what came after, and whether it is over.
func TestBurst(t *testing.T) {
	fill := func(spans ...[3]int) (e Expiry) { // from, to seconds ago, and how many per second
		for _, s := range spans {
			for ago := s[0]; ago > s[1]; ago-- {
				e[60-ago] += uint32(s[2])
			}
		}
		return e
	}
	s := time.Second
	for _, tt := range []struct {
		name string
		e    Expiry
		want Burst
	}{
		{"none", Expiry{}, Burst{}},
		{"a burst 15 s ago", fill([3]int{19, 15, 500}), Burst{N: 2000, From: 19 * s, To: 15 * s, Rate: 500, Over: true}},
		{"and a trickle since", fill([3]int{19, 15, 500}, [3]int{15, 0, 2}), Burst{N: 2000, From: 19 * s, To: 15 * s, Rate: 500, After: 30, Over: true}},
		{"and before", fill([3]int{59, 19, 3}, [3]int{19, 15, 500}), Burst{N: 2000, From: 19 * s, To: 15 * s, Rate: 500, Over: true}},
		{"it goes on", fill([3]int{4, 0, 500}), Burst{N: 2000, From: 4 * s, Rate: 500}},
		{"it has just ended", fill([3]int{5, 1, 500}), Burst{N: 2000, From: 5 * s, To: s, Rate: 500, Over: true}},
		{"within one second", fill([3]int{8, 7, 900}), Burst{N: 900, From: 8 * s, To: 7 * s, Rate: 900, Over: true}},
		{"so long ago that timers are late", fill([3]int{60, 58, 400}), Burst{N: 800, To: 58 * s, Rate: 400, Over: true}},
	} {
		if got := tt.e.Burst(); got != tt.want {
			t.Errorf("%s: got  %+v\nwant %+v", tt.name, got, tt.want)
		}
	}
	steady := fill([3]int{60, 0, 34})
	if b := steady.Burst(); b.Over {
		t.Errorf("a steady rate: %+v", b)
	}
	again := fill([3]int{40, 36, 200}, [3]int{20, 14, 100})
	if b := again.Burst(); b.Over && b.After > 0 {
		t.Errorf("two of them: %+v", b)
	}
}

// TestFree: the first and the last socket are over when their timers say, two seconds later
// at most.
func TestFree(t *testing.T) {
	var e Expiry
	if first, last := e.Free(); first != 0 || last != 0 {
		t.Errorf("none: %v, %v", first, last)
	}
	e.Add(3, 44*time.Second)
	e.Add(3, 40500*time.Millisecond)
	if first, last := e.Free(); first != 42*time.Second || last != 47*time.Second {
		t.Errorf("the first after %v, the last after %v", first, last)
	}
}
