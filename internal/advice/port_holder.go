package advice

import (
	"fmt"
	"strconv"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// left reports whether h is what a connection left behind: no process has it any more.
func (h *PortHolder) left() bool { return h.State == event.TimeWait || h.State == event.FinWait2 }

// toItself reports whether h is connected to itself: its connect() to a local port where
// nobody listened got that very port.
func (h *PortHolder) toItself() bool { return h.Remote.IsValid() && h.Remote == h.Local }

// short is what h is, in a few words.
func (h *PortHolder) short() string {
	switch {
	case h.State == event.Listening:
		return named(h.Process) + " listens on it"
	case h.State == event.Closed:
		return named(h.Process) + " has bound it"
	case h.toItself():
		return "a connection to itself has it"
	case h.left() && h.Role == event.Client:
		return fmt.Sprintf("%s of an outgoing connection has it", h.State)
	case h.left():
		return fmt.Sprintf("sockets in %s have it", h.State)
	case h.Role == event.Client:
		return "an outgoing connection has it"
	}
	return "open connections have it"
}

// who is whose h is, or what is known instead.
func (h *PortHolder) who() string {
	switch {
	case h.Process.Comm != "":
		switch {
		case h.Guess:
			return "likely " + named(h.Process) + " left what holds it: no other program has connections to where that went"
		case h.left():
			return named(h.Process) + " left what holds it"
		}
		return named(h.Process) + " has it"
	case h.left():
		return "who left what holds it is not known: it is older than the trace, and the kernel keeps no owner of it"
	}
	return "the process that has it is not known"
}

// has is h in words, with the port as the object.
func (h *PortHolder) has() string {
	switch {
	case h.State == event.Listening:
		return fmt.Sprintf("%s listens on %s", named(h.Process), h.Local)
	case h.State == event.Closed:
		return fmt.Sprintf("%s has bound %s, and neither listens nor connects", named(h.Process), h.Local)
	}
	words := h.connections()
	if h.toItself() {
		words += " from " + h.Local.String() + " to itself: connect() to a port where nobody listens can get that very port"
	} else if h.Remote.IsValid() {
		words += " to " + h.Remote.String()
		if h.Peer.Known() {
			words += ", where " + named(h.Peer) + " listens,"
		}
	}
	switch {
	case h.toItself():
	case h.State == event.TimeWait:
		words += verb(h.N, " is", " are") + " in TIME_WAIT on the port"
	case h.State == event.FinWait2:
		words += verb(h.N, " waits", " wait") + " in FIN_WAIT2 for the peer's FIN"
	default:
		words += verb(h.N, " is", " are") + " open with it as local port"
	}
	if h.State == event.TimeWait && h.FreeIn > 0 {
		words += ", for " + output.Seconds(max(h.FreeIn, time.Second)) + " more"
	}
	return words
}

// connections is how many h are, of which kind and of whom.
func (h *PortHolder) connections() string {
	kind := "connection"
	switch h.Role {
	case event.Client:
		kind = "outgoing connection"
	case event.Server:
		kind = "accepted connection"
	}
	words := plural(uint64(h.N), kind)
	switch {
	case h.Process.Comm == "":
	case h.Guess:
		words += ", likely of " + named(h.Process) + ","
	default:
		words += " of " + named(h.Process)
	}
	return words
}

// evidence is the name of h for machines.
func (h *PortHolder) evidence() string {
	switch {
	case h.State == event.Listening:
		return "listeners"
	case h.State == event.Closed:
		return "bound"
	case h.toItself():
		return "connected_to_itself"
	case h.State == event.TimeWait:
		return "time_wait"
	case h.State == event.FinWait2:
		return "fin_wait2"
	case h.Role == event.Client:
		return "outgoing"
	case h.Role == event.Server:
		return "accepted"
	}
	return "open"
}

// verb is the form that fits n.
func verb(n int, one, many string) string {
	if n == 1 {
		return one
	}
	return many
}

// withPorts is a list of reserved ports with others at its end.
func withPorts(list string, ports ...uint16) string {
	for _, p := range ports {
		if list != "" {
			list += ","
		}
		list += strconv.Itoa(int(p))
	}
	return list
}
