package live

import (
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// BenchmarkNext is what an event costs from the hooks on, but for the ring: its
// processes have no names to find.
func BenchmarkNext(b *testing.B) {
	h := &fakeHooks{}
	t := attach(Options{}, h)
	defer t.Close()
	one := []event.Event{{Kind: event.Open, Cookie: 1, NetNS: testNetNS, Time: 1}}
	var e event.Event
	for b.Loop() {
		h.ring = one
		if err := t.Next(b.Context(), &e); err != nil {
			b.Fatal(err)
		}
	}
}
