package view

import (
	"net/netip"
	"strconv"

	"github.com/twtrace/twtrace/internal/event"
)

// ssCommand is what shows the sockets of r in TIME_WAIT, with ss; enter brings a
// command of the shell into the row's network namespace.
func ssCommand(r *Row, enter string) string {
	match := ""
	switch {
	case r.Role != event.Server && r.Remote.IsValid():
		match = "dst " + ssEnd(r.Remote)
		if r.Local.Addr().IsValid() {
			match += " and src " + ssAddr(r.Local.Addr())
		}
	case r.Local.Port() != 0:
		match = "sport = :" + strconv.Itoa(int(r.Local.Port()))
	}
	command := enter + "ss -tanH state time-wait"
	if match != "" {
		command += " '" + match + "'"
	}
	return command
}

// ssEnd words an address and port as ss takes them: a zone it does not know.
func ssEnd(a netip.AddrPort) string {
	return netip.AddrPortFrom(a.Addr().WithZone(""), a.Port()).String()
}

func ssAddr(a netip.Addr) string {
	if a = a.WithZone(""); a.Is6() {
		return "[" + a.String() + "]"
	}
	return a.String()
}
