package kernel

import (
	"fmt"

	"golang.org/x/sys/unix"
)

// Cookie returns the kernel's own identity of n, which no other namespace ever
// has, unlike the inode number: the next namespace gets that of one that is gone
// (SO_NETNS_COOKIE, Linux 5.14 and later). Another namespace than the current one
// is joined; see Do.
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
		return 0, fmt.Errorf("cookie of network namespace %s: %w", n, err)
	}
	return cookie, nil
}
