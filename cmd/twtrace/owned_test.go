package main

import (
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/tracer"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestOwnedTraced has connections in the kernel's owner table that no socket belongs to, of
// which most find no place but in the spill, beside one that is open: all are found there,
// with their network namespace and their age, and those that are disowned are gone.
func TestOwnedTraced(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	const n, first, apart = 64, 1 << 40, 1 << 20 // a multiple of the table's size
	ns := kerneltest.NetNS(t)
	tr, err := tracer.Open(tracer.Options{})
	must(t, err)
	defer tr.Close()
	begun := time.Now().Add(-time.Second) // be the two clocks ever so little apart
	l, err := workload.Listen(ns.Path(), workload.IPv4)
	must(t, err)
	defer l.Close()
	p, err := l.Pair(ns.Path(), workload.Any)
	must(t, err)
	defer p.Close()
	for i := range uint64(n) {
		must(t, tr.Adopt(&event.Event{Cookie: first + i*apart, NetNS: ns.Inum(),
			Local: netip.MustParseAddrPort("10.0.0.1:1"), Remote: netip.MustParseAddrPort("10.0.0.2:2")}))
	}
	owned := func() (adopted, open int) {
		t.Helper()
		must(t, tr.Owned(func(cookie uint64, netns uint32, last int64) {
			switch {
			case netns != ns.Inum():
			case cookie >= first && cookie < first+n*apart:
				adopted++
			case cookie != p.Client.Cookie && cookie != p.Server.Cookie:
				t.Errorf("%x is in the table", cookie)
			case last < begun.UnixNano() || last > time.Now().Add(time.Second).UnixNano():
				t.Errorf("the open one is of %v, the test began at %v", time.Unix(0, last), begun)
			default:
				open++
			}
		}))
		return adopted, open
	}
	if adopted, open := owned(); adopted != n || open < seenOf(2) {
		t.Errorf("%d adopted and %d open, want %d and 2", adopted, open, n)
	}
	for i := range uint64(n) {
		must(t, tr.Disown(first+i*apart))
	}
	if adopted, open := owned(); adopted != 0 || open < seenOf(2) {
		t.Errorf("disowned: %d adopted and %d open, want none and 2", adopted, open)
	}
}
