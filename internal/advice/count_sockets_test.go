package advice

import (
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// TestCensus: a listener's connections are its own, the rest are destinations, and a
// port outside the range takes none of it.
func TestCensus(t *testing.T) {
	sock := func(state event.State, local, remote string) kernel.Socket {
		return kernel.Socket{State: state, Local: netip.MustParseAddrPort(local), Remote: netip.MustParseAddrPort(remote)}
	}
	resent := sock(event.SynSent, here+":40002", there)
	resent.Retrans = 2
	ends := sock(event.TimeWait, here+":40001", there)
	ends.Expires = 30 * time.Second
	c := newCensus(healthy().Limits)
	for _, s := range []kernel.Socket{
		sock(event.Listening, "0.0.0.0:8080", "0.0.0.0:0"),
		sock(event.Listening, "10.0.0.7:8080", "0.0.0.0:0"),
		sock(event.Listening, "[::]:9090", "[::]:0"),
		sock(event.Established, "10.0.0.7:8080", "10.9.9.9:50000"),
		sock(event.Established, "10.0.0.8:8080", "10.9.9.9:50000"),
		sock(event.Established, "10.0.0.7:9090", "10.9.9.9:50000"),
		sock(event.Established, here+":40000", there),
		ends, resent,
		sock(event.Established, here+":500", there),
		sock(event.Closed, here+":40009", "0.0.0.0:0"),
	} {
		if err := c.add(s); err != nil {
			t.Fatal(err)
		}
	}
	destinations, listeners, timeWait := c.result()
	if len(destinations) != 1 {
		t.Fatalf("destinations %+v", destinations)
	}
	if d := destinations[0]; d.States.All() != 3 || d.Bound != 1 || d.Resent != 1 || d.Expiry.Total() != 1 || timeWait.Total() != 1 {
		t.Errorf("%+v, %d in TIME_WAIT in all", d, timeWait.Total())
	}
	if len(listeners) != 3 {
		t.Fatalf("listeners %+v", listeners)
	}
	for _, l := range listeners {
		if l.States.All() != 1 {
			t.Errorf("%s has %d connections, want its own one", l.Local, l.States.All())
		}
	}
}
