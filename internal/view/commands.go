package view

import (
	"net/netip"
	"strconv"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/rows"
)

// ssCommand is what shows the sockets of r in TIME_WAIT, with ss; enter brings a
// command of the shell into the row's network namespace.
func ssCommand(r *rows.Row, enter string) string {
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

// tcpdumpCommand is what shows the packets of r, by both ends as far as they are known.
func tcpdumpCommand(r *rows.Row, enter string) string {
	var match []string
	switch {
	case r.Role != event.Server && r.Remote.IsValid():
		match = append(match, "host "+r.Remote.Addr().WithZone("").String(), "port "+strconv.Itoa(int(r.Remote.Port())))
		if r.Local.Addr().IsValid() {
			match = append(match, "host "+r.Local.Addr().WithZone("").String())
		}
	case r.Local.Port() != 0:
		match = append(match, "port "+strconv.Itoa(int(r.Local.Port())))
	default:
		match = append(match, "tcp")
	}
	return enter + "tcpdump -ni any '" + strings.Join(match, " and ") + "'"
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
