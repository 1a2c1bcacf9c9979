package advice

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

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

// atLeastNo is plural, and words what is none: "no connection".
func atLeastNo(n uint64, thing string) string {
	if n == 0 {
		return "no " + thing
	}
	return plural(n, thing)
}

// connectionRate is "20 connections/s".
func connectionRate(perSecond float64) string {
	return strings.TrimSuffix(output.Rate(perSecond), "/s") + " connections/s"
}

// addrText is an address, "" if there is none.
func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.String()
}

// times is how often: "once", "12 times".
func times(n uint64) string {
	if n == 1 {
		return "once"
	}
	return output.Count(n) + " times"
}

// errnoName is how a call failed: "ECONNREFUSED (111)".
func errnoName(n unix.Errno) string {
	if name := unix.ErrnoName(n); name != "" {
		return fmt.Sprintf("%s (%d)", name, n)
	}
	return "errno " + strconv.Itoa(int(n))
}
