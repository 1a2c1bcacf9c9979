package main

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
)

// TestWaitersPause: a table of ports has fresh numbers, and all have them once clients wait.
func TestWaitersPause(t *testing.T) {
	for _, tt := range []struct {
		waiting []int
		took    time.Duration
		often   bool
		want    time.Duration
	}{
		{nil, time.Millisecond, true, time.Second},
		{nil, time.Millisecond, false, 5 * time.Second},
		{[]int{8, 8}, time.Millisecond, false, 5 * time.Second},
		{[]int{8, 9}, time.Millisecond, false, time.Second},
		{[]int{8, 9}, 200 * time.Millisecond, false, 4 * time.Second},
		{nil, 500 * time.Millisecond, false, 10 * time.Second},
	} {
		l := waitingLook{took: tt.took}
		for _, n := range tt.waiting {
			l.list = append(l.list, conn.Waiting{N: n})
		}
		if got := l.pause(tt.often); got != tt.want {
			t.Errorf("%v waiting, %v, %v: %v, want %v", tt.waiting, tt.took, tt.often, got, tt.want)
		}
	}
}
