package kerneltest

import (
	"errors"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/netns"
	"github.com/twtrace/twtrace/internal/workload"
)

// NS is a network namespace of one test.
type NS struct {
	ns *netns.NS
}

// NetNS makes a network namespace with its loopback device up. It is gone with
// the test, and needs root.
func NetNS(t testing.TB) *NS {
	t.Helper()
	RequireRoot(t)
	ns, err := netns.New()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := ns.Close(); err != nil {
			t.Errorf("close the network namespace: %v", err)
		}
	})
	return &NS{ns}
}

// Path names the namespace to other processes, while the test lasts.
func (n *NS) Path() string { return n.ns.Path() }

// Inum returns the inode number that identifies the namespace.
func (n *NS) Inum() uint32 { return n.ns.Inum() }

// NetNS returns the namespace as the workloads know it.
func (n *NS) NetNS() *netns.NS { return n.ns }

// Do runs f on a thread that is in the namespace; f may end the test.
// Goroutines that f starts are not in the namespace.
func (n *NS) Do(t testing.TB, f func()) {
	t.Helper()
	if err := n.ns.Do(func() error { f(); return nil }); err != nil {
		t.Fatal(err)
	}
}

// Sysctl sets a sysctl of the namespace, such as net.ipv4.tcp_tw_reuse.
func (n *NS) Sysctl(t testing.TB, name, value string) {
	t.Helper()
	if err := n.ns.Sysctl(name, value); err != nil {
		t.Fatal(err)
	}
}

// KeepTimeWait has TIME_WAIT ignore RST. On loopback with more than one CPU a few
// in a thousand are otherwise ended by one: the ACK of the local FIN is overtaken
// by the peer's FIN, TIME_WAIT answers it, and the peer's socket is gone.
func (n *NS) KeepTimeWait(t testing.TB) {
	t.Helper()
	n.Sysctl(t, "net.ipv4.tcp_rfc1337", "1")
}

// AddAddr gives a device one more address, such as lo fd00::1/128. All of
// 127.0.0.0/8 is there without.
func (n *NS) AddAddr(t testing.TB, dev, prefix string) {
	t.Helper()
	p, err := netip.ParsePrefix(prefix)
	if err == nil {
		err = workload.AddAddr(n.ns, dev, p)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// Named gives the namespace a name, as ip netns does, until the test ends. It
// is for tests of names only: nothing else leaves a trace outside the test.
func (n *NS) Named(t testing.TB, name string) {
	t.Helper()
	const dir = "/run/netns"
	made := os.Mkdir(dir, 0o755) == nil
	path := filepath.Join(dir, name)
	f, err := os.OpenFile(path, os.O_CREATE|os.O_EXCL, 0o444)
	if err != nil {
		t.Fatalf("name a network namespace: %v", err)
	}
	f.Close()
	err = unix.Mount(n.Path(), path, "", unix.MS_BIND, "")
	mounted := err == nil
	t.Cleanup(func() {
		if mounted {
			err = unix.Unmount(path, unix.MNT_DETACH)
		}
		err = errors.Join(err, os.Remove(path))
		if made {
			_ = os.Remove(dir) // unless others have come to use it
		}
		if err != nil {
			t.Errorf("take a network namespace's name away: %v", err)
		}
	})
	if err != nil {
		t.Fatalf("name a network namespace: mount %s: %v", path, err)
	}
}
