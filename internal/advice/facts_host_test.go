package advice

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// TestOwnNamespace reads facts of the namespace that the test runs in, as any user may:
// a listener that the test has, its owner from a trace, and what surrounds it.
func TestOwnNamespace(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	at := l.Addr().(*net.TCPAddr).AddrPort()
	n, err := kernel.CurrentNetNS()
	if err != nil {
		t.Fatal(err)
	}
	f, err := ReadFacts(context.Background(), n, time.Millisecond)
	if err != nil {
		t.Fatal(err)
	}
	if f.Window < time.Millisecond || f.Host.Hostname == "" || f.Limits.PortHigh == 0 || f.MemAvailable == 0 || f.NetNS.Inum != n.Inum || f.Enter != "" {
		t.Errorf("facts %+v", f)
	}
	listens := func(l Listener) bool { return l.Local == at }
	if !slices.ContainsFunc(f.Listeners, listens) {
		t.Errorf("%s is not among the listeners %+v", at, f.Listeners)
	}
	if !slices.ContainsFunc(f.HostAfter.Queues, func(q Queue) bool { return q.Local == at && q.Waiting == 0 && q.Backlog > 0 }) {
		t.Errorf("%s has no queue among %+v", at, f.HostAfter.Queues)
	}
	if !f.HostAfter.own(netip.MustParseAddr("127.5.5.5")) || f.HostAfter.own(netip.MustParseAddr("198.51.100.1")) {
		t.Error("own addresses are taken for others, or others for own")
	}
	f.Listeners = []Listener{{Local: at, Owner: event.Proc{PID: 7, Comm: "nginx"}}}
	if err := f.ReadListeners(context.Background()); err != nil {
		t.Fatal(err)
	}
	if i := slices.IndexFunc(f.Listeners, listens); i < 0 || f.Listeners[i].Owner.PID != 7 {
		t.Errorf("the owner that the trace knew is lost: %+v", f.Listeners)
	}
}

// TestCancelled: reading facts ends at once when its context does.
func TestCancelled(t *testing.T) {
	n, err := kernel.CurrentNetNS()
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	if _, err := ReadFacts(ctx, n, time.Hour); !errors.Is(err, context.Canceled) {
		t.Errorf("cancelled: %v", err)
	}
}
