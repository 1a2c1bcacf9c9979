package kerneltest

import (
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

// Socket is a line of ss. A mini-socket that is parked in FIN_WAIT2 has the state
// FIN-WAIT-2, as a full socket has.
type Socket struct {
	State  string         // in ss's words: TIME-WAIT, FIN-WAIT-2; "" if a single one was asked for
	Local  netip.AddrPort // in IPv4 form where the packets are IPv4
	Remote netip.AddrPort
	Cookie uint64
}

// Sockets returns the TCP sockets of the namespace that an ss filter selects,
// such as "state", "time-wait".
func (n *NS) Sockets(t testing.TB, filter ...string) []Socket {
	t.Helper()
	out := n.SS(t, append([]string{"-H", "-tane"}, filter...)...)
	all, err := parseSS(out)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// parseSS reads the output of ss -H -tane.
func parseSS(out string) ([]Socket, error) {
	var all []Socket
	for line := range strings.Lines(out) {
		fields := strings.Fields(line)
		var s Socket
		if len(fields) > 0 && strings.Trim(fields[0], "0123456789") != "" {
			s.State, fields = fields[0], fields[1:]
		}
		if len(fields) < 4 {
			return nil, fmt.Errorf("unexpected line of ss: %q", line)
		}
		var err error
		if s.Local, err = parseAddr(fields[2]); err == nil {
			s.Remote, err = parseAddr(fields[3])
		}
		for _, f := range fields[4:] {
			if cookie, ok := strings.CutPrefix(f, "sk:"); ok && err == nil {
				s.Cookie, err = strconv.ParseUint(cookie, 16, 64)
			}
		}
		if err != nil {
			return nil, fmt.Errorf("parse %q of ss: %w", line, err)
		}
		all = append(all, s)
	}
	return all, nil
}

// parseAddr reads an address as ss prints it; a listener's peer is 0.0.0.0:* or
// [::]:*, and a device may be behind a %.
func parseAddr(text string) (netip.AddrPort, error) {
	colon := strings.LastIndexByte(text, ':')
	host, port := text[:max(colon, 0)], text[colon+1:]
	if port == "*" {
		port = "0"
	}
	host, _, _ = strings.Cut(strings.Trim(host, "[]"), "%")
	if host == "*" {
		host = "::"
	}
	p, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return netip.AddrPort{}, err
	}
	a, err := netip.ParseAddr(host)
	return netip.AddrPortFrom(a.Unmap(), uint16(p)), err
}

// SS runs ss in the namespace and returns what it prints.
func (n *NS) SS(t testing.TB, args ...string) string {
	t.Helper()
	var out []byte
	err := n.ns.Do(func() error {
		var err error
		out, err = exec.Command("ss", args...).CombinedOutput()
		return err
	})
	if err != nil {
		t.Fatalf("ss %s: %v: %s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
