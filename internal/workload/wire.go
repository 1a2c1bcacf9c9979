package workload

import (
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"sync"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/netns"
)

// Addresses at the far end of a Wire.
var (
	WireIPv4   = netip.MustParseAddrPort("10.77.0.2:7000")
	WireIPv6   = netip.MustParseAddrPort("[fd77::2]:7000")
	WireMapped = netip.MustParseAddrPort("[::ffff:10.77.0.2]:7000")
)

const wireDevice = "wire0"

// Wire connects two network namespaces by a TUN device in each, and can hold
// the packets back: what one end sends while the wire is held has certainly
// been sent before the other end receives it.
type Wire struct {
	near, far string // paths of the namespaces
	ends      [2]*os.File
	readers   sync.WaitGroup

	mu     sync.Mutex // guards what follows, and the order of packets
	held   bool
	queues [2][][]byte // packets held, by the end that sent them
	err    error
}

// NewWire connects the namespaces at two paths. The far one has the addresses
// WireIPv4 and WireIPv6. It needs CAP_NET_ADMIN and the tun driver.
func NewWire(near, far string) (*Wire, error) {
	w := &Wire{near: near, far: far}
	for i, path := range []string{near, far} {
		err := netns.In(path, func() (err error) {
			if w.ends[i], err = openTUN(wireDevice); err != nil {
				return err
			}
			return plug(WireIPv4.Addr(), WireIPv6.Addr(), i == 1)
		})
		if err != nil {
			return nil, errors.Join(fmt.Errorf("make a wire: %w", err), w.Close())
		}
	}
	for from := range w.ends {
		w.readers.Go(func() { w.forward(from) })
	}
	return w, nil
}

// plug gives the device its addresses, the far end's or those before them, and
// brings it up.
func plug(ip4, ip6 netip.Addr, far bool) error {
	if !far {
		ip4, ip6 = ip4.Prev(), ip6.Prev()
	}
	if err := netns.LinkUp(wireDevice); err != nil {
		return err
	}
	if err := addAddr(wireDevice, netip.PrefixFrom(ip4, 24)); err != nil {
		return err
	}
	return addAddr(wireDevice, netip.PrefixFrom(ip6, 64))
}

// openTUN makes a TUN device in the thread's network namespace; it is gone when
// the file is closed.
func openTUN(name string) (*os.File, error) {
	fd, err := openTUNNode()
	if err != nil {
		return nil, fmt.Errorf("open the tun driver: %w", err)
	}
	ifr, err := unix.NewIfreq(name)
	if err == nil {
		ifr.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, ifr)
	}
	if err != nil {
		unix.Close(fd)
		return nil, fmt.Errorf("make device %s: %w", name, err)
	}
	return os.NewFile(uintptr(fd), name), nil
}

// openTUNNode opens /dev/net/tun, or, where the driver is there and the node is
// not, a node of its own that is gone again at once.
func openTUNNode() (int, error) {
	const flags = unix.O_RDWR | unix.O_NONBLOCK | unix.O_CLOEXEC
	fd, err := unix.Open("/dev/net/tun", flags, 0)
	if !errors.Is(err, fs.ErrNotExist) {
		return fd, err
	}
	dir, err := os.MkdirTemp("", "wire")
	if err != nil {
		return -1, err
	}
	defer os.RemoveAll(dir)
	node := filepath.Join(dir, "tun")
	if err := unix.Mknod(node, unix.S_IFCHR|0o600, int(unix.Mkdev(10, 200))); err != nil {
		return -1, err
	}
	return unix.Open(node, flags, 0)
}

// forward carries what one end sends until the device is gone.
func (w *Wire) forward(from int) {
	buf := make([]byte, 1<<16)
	for {
		n, err := w.ends[from].Read(buf)
		if err != nil {
			if !errors.Is(err, os.ErrClosed) {
				w.fail(err)
			}
			return
		}
		w.mu.Lock()
		w.queues[from] = append(w.queues[from], append([]byte(nil), buf[:n]...))
		if !w.held {
			w.deliver(from)
		}
		w.mu.Unlock()
	}
}

// deliver hands over what is queued. The caller holds mu.
func (w *Wire) deliver(from int) {
	for _, packet := range w.queues[from] {
		if _, err := w.ends[1-from].Write(packet); err != nil && w.err == nil {
			w.err = err
		}
	}
	w.queues[from] = nil
}

func (w *Wire) fail(err error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.err = errors.Join(w.err, err)
}

// Hold keeps all packets back until Release.
func (w *Wire) Hold() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = true
}

// Release delivers the packets that were held back, in order, and those to come.
func (w *Wire) Release() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.held = false
	for from := range w.queues {
		w.deliver(from)
	}
}

// Close removes the devices. It returns the first error of the wire's life.
func (w *Wire) Close() error {
	var errs []error
	for _, end := range w.ends {
		if end != nil {
			errs = append(errs, end.Close())
		}
	}
	w.readers.Wait()
	return errors.Join(append(errs, w.err)...)
}
