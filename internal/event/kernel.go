package event

import (
	"net/netip"
	"syscall"
	"time"
)

// TimeWaitLen is how long TIME_WAIT lasts: TCP_TIMEWAIT_LEN, a constant of the
// kernel. The timer that ends it may fire up to 2 s later.
const TimeWaitLen = 60 * time.Second

// Values of Event.Errno that mean that something ran out. Their numbers are those of
// the architecture, as in the kernel's answers.
const (
	EADDRNOTAVAIL = uint16(syscall.EADDRNOTAVAIL) // connect() found no local port
	EADDRINUSE    = uint16(syscall.EADDRINUSE)    // bind() found no local port, or not this one
	EMFILE        = uint16(syscall.EMFILE)        // the process has no file descriptor left
	ENFILE        = uint16(syscall.ENFILE)        // the host has none
)

// Tuple is a connection by its addresses: its identity as long as it lives, where
// no cookie is known.
type Tuple struct {
	NetNS         uint32
	Local, Remote netip.AddrPort
}

// Tuple returns the addresses of e's connection. IPv4-mapped ones have IPv4 form, so
// that two sources that differ in that agree.
func (e *Event) Tuple() Tuple { return Tuple{e.NetNS, unmap(e.Local), unmap(e.Remote)} }

func unmap(a netip.AddrPort) netip.AddrPort {
	return netip.AddrPortFrom(a.Addr().Unmap(), a.Port())
}
