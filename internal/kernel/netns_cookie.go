package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Cookie returns the kernel's own identity of n (SO_NETNS_COOKIE, Linux 5.14 and
// later). No other namespace ever has it, while a new namespace may get the inode
// number of one that is gone. It joins n unless that is the current one; see Do.
func (n NetNS) Cookie() (uint64, error) {
	var cookie uint64
	err := n.Do(func() error {
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer unix.Close(fd)
		cookie, err = unix.GetsockoptUint64(fd, unix.SOL_SOCKET, unix.SO_NETNS_COOKIE)
		return err
	})
	if err != nil {
		return 0, fmt.Errorf("read cookie of network namespace %s: %w", n, err)
	}
	return cookie, nil
}
