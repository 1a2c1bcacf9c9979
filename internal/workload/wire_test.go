package workload_test

import (
	"context"
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

func TestSimultaneousClose(t *testing.T) {
	for family, at := range map[string]netip.AddrPort{
		"IPv4": workload.WireIPv4, "IPv6": workload.WireIPv6, "mapped": workload.WireMapped,
	} {
		t.Run(family, func(t *testing.T) {
			near, far := kerneltest.NetNS(t), kerneltest.NetNS(t)
			near.KeepTimeWait(t)
			far.KeepTimeWait(t)
			w, err := workload.NewWire(near.Path(), far.Path())
			if err != nil {
				t.Fatal(err)
			}
			defer func() {
				if err := w.Close(); err != nil {
					t.Error(err)
				}
			}()
			ctx, cancel := context.WithTimeout(t.Context(), 2*patience)
			defer cancel()
			r, err := workload.SimultaneousClose(ctx, w, at, many)
			if err != nil {
				t.Fatal(err)
			}
			checkLog(t, r, many)
			checkSockets(t, near, "time-wait", cookies(r.Clients...))
			checkSockets(t, far, "time-wait", cookies(r.Server))
			for _, rec := range r.Records() {
				if rec.Closer != event.BothSides {
					t.Errorf("closer of %+v", rec)
				}
			}
		})
	}
}

func TestWireHoldsAndReleases(t *testing.T) {
	near, far := kerneltest.NetNS(t), kerneltest.NetNS(t)
	w, err := workload.NewWire(near.Path(), far.Path())
	if err != nil {
		t.Fatal(err)
	}
	defer w.Close()
	server, err := workload.Start(t.Context(), far.Path(), workload.Spec{
		Serve: &workload.Serve{At: []netip.AddrPort{workload.WireIPv4}, End: workload.WaitEOF},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := server.Ready(); err != nil {
		t.Fatal(err)
	}
	client, err := workload.Start(t.Context(), near.Path(), workload.Spec{
		Connect: &workload.Connect{To: []netip.AddrPort{workload.WireIPv4}, End: workload.HalfClose, Count: 1},
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Hold()
	if err := client.Go(); err != nil {
		t.Fatal(err)
	}
	// The SYN has been sent, again and again, and does not arrive.
	kerneltest.Eventually(t, patience, func() (bool, string) {
		n := near.Nstat(t)["TcpRetransSegs"]
		return n > 0, "no SYN was sent again"
	})
	if n := far.Nstat(t)["TcpInSegs"]; n != 0 {
		t.Errorf("%d segments arrived over a wire that is held", n)
	}
	w.Release()
	l, err := client.Wait()
	if err != nil || l.Opened != 1 || len(l.Failed) != 0 {
		t.Errorf("%+v, %v", l, err)
	}
	if err := server.Stop(); err != nil {
		t.Error(err)
	}
	if _, err := server.Wait(); err != nil {
		t.Error(err)
	}
}
