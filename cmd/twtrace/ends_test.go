package main

import (
	"errors"
	"net/netip"
	"os"
	"strconv"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/tracer"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestEndsTraced has the kernel apply a filter of either end: of connections to two ports
// no event of the other one reaches the ring.
func TestEndsTraced(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	ns := kerneltest.NetNS(t)
	const port, otherPort = 8080, 9090
	wanted, err := workload.Listen(ns.Path(), netip.MustParseAddrPort("127.0.0.1:8080"))
	must(t, err)
	defer wanted.Close()
	other, err := workload.Listen(ns.Path(), netip.MustParseAddrPort("127.0.0.1:9090"))
	must(t, err)
	defer other.Close()
	for _, words := range []string{":8080", "127.0.0.1:8080", "127.0:8000-8099"} {
		f, err := new(filter.Language).ParseLine("netns " + strconv.Itoa(int(ns.Inum())) + " " + words)
		must(t, err)
		tr, err := tracer.Open(tracer.Options{Filter: f, Hooks: tracer.HookSet(os.Getenv(hooksVariable))})
		must(t, err)
		for _, l := range []*workload.Listener{other, wanted} {
			p, err := l.Pair(ns.Path(), workload.Any)
			must(t, err)
			p.Close()
		}
		server, client := 0, 0
		for deadline := time.Now().Add(patience); server == 0 || client == 0; {
			var e event.Event
			err := tr.Read(&e)
			switch {
			case errors.Is(err, tracer.ErrIdle):
				if time.Now().After(deadline) {
					t.Fatalf("%s: %d events of the server, %d of the client", words, server, client)
				}
			case err != nil:
				t.Fatal(err)
			case e.Local.Port() == otherPort || e.Remote.Port() == otherPort:
				t.Errorf("%s: the kernel reports %v of %v -> %v", words, e.Kind, e.Local, e.Remote)
			case e.Kind != event.Open:
			case e.Local.Port() == port:
				server++
			case e.Remote.Port() == port:
				client++
			}
		}
		tr.Close()
	}
}
