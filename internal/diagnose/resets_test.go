package diagnose

import (
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
)

// TestJoinUnnamed: resets of clients whose process is not known are told beside the program
// that has the most of the same ones, and alone only where there is none.
func TestJoinUnnamed(t *testing.T) {
	here, there := netip.MustParseAddrPort("127.0.0.1:7090"), netip.MustParseAddrPort("10.0.0.1:80")
	sum := func(n uint64, comm string) *idleSum {
		return &idleSum{IdleReset: advice.IdleReset{N: n, Wrote: event.Proc{Comm: comm}}}
	}
	sums := map[idlePair]*idleSum{
		{event.Client, "pool", here}:  sum(111, "pool"),
		{event.Client, "other", here}: sum(3, "other"),
		{event.Client, "", here}:      sum(8, ""),
		{event.Server, "", here}:      sum(122, ""),
		{event.Client, "", there}:     sum(5, ""),
	}
	joinUnnamed(sums)
	for pair, want := range map[idlePair][2]uint64{
		{event.Client, "pool", here}:  {111, 8},
		{event.Client, "other", here}: {3, 0},
		{event.Client, "", here}:      {0, 0},
		{event.Server, "", here}:      {122, 0},
		{event.Client, "", there}:     {5, 0},
	} {
		if s := sums[pair]; s.N != want[0] || s.Unnamed != want[1] {
			t.Errorf("%v: %d and %d unnamed, want %v", pair, s.N, s.Unnamed, want)
		}
	}
}
