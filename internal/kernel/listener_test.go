package kernel

import (
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// TestDropsOfListener fills the accept queue of one of two listeners: what sock_diag
// says that it dropped is all that the namespace counted.
func TestDropsOfListener(t *testing.T) {
	n := newNetNS(t)
	n.exec(t, "sysctl", "-w", "net.core.somaxconn=1")
	full, idle := listen(t, n, "127.0.0.1:0"), listen(t, n, "[::1]:0")
	for range 5 {
		// Nobody accepts: two fit, and the others' SYNs are dropped.
		_ = n.Do(func() error {
			c, err := net.DialTimeout("tcp", full.Addr().String(), 50*time.Millisecond)
			if err == nil {
				t.Cleanup(func() { c.Close() })
			}
			return err
		})
	}
	eventually(t, func() error {
		drops := map[string]uint32{}
		err := n.Sockets(States(event.Listening), func(s Socket) error {
			drops[s.Local.String()] = s.Drops
			return nil
		})
		if err != nil {
			return err
		}
		c, err := n.Counters()
		if err != nil {
			return err
		}
		if got := drops[full.Addr().String()]; got == 0 || uint64(got) != c.ListenDrops || drops[idle.Addr().String()] != 0 {
			return fmt.Errorf("drops %v, the namespace counted %d", drops, c.ListenDrops)
		}
		return nil
	})
}
