package advice

import (
	"fmt"
	"strconv"
	"syscall"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/output"
)

// plural is a count of things: "1 socket", "1,200 sockets".
func plural(n uint64, thing string) string {
	if n == 1 {
		return "1 " + thing
	}
	return output.Count(n) + " " + thing + "s"
}

// times is how often: "once", "12 times".
func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return output.Count(n) + " times"
}

// errnoName is how a call failed: "ECONNREFUSED (111)".
func errnoName(n uint16) string {
	if name := unix.ErrnoName(syscall.Errno(n)); name != "" {
		return fmt.Sprintf("%s (%d)", name, n)
	}
	return "errno " + strconv.Itoa(int(n))
}
