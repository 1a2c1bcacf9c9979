package filter

import (
	"fmt"
	"net/netip"
	"regexp"
	"strings"
)

// End is one end of a connection, the local or the remote one: its address, its port,
// or both.
type End struct {
	Prefix netip.Prefix // as ParsePrefixes makes them; the zero Prefix is any address
	Ports  Ports        // the zero Ports is any port
}

// String returns "port 8080", "address 10.77.0.0/16" or "10.77.0.2:8080".
func (x End) String() string {
	switch {
	case !x.Prefix.IsValid():
		return "port " + x.Ports.String()
	case x.Ports == Ports{}:
		return "address " + prefixWord(x.Prefix)
	case x.Prefix.Addr().Is6():
		return "[" + prefixWord(x.Prefix) + "]:" + x.Ports.String()
	}
	return prefixWord(x.Prefix) + ":" + x.Ports.String()
}

func (x End) match(a netip.AddrPort) bool {
	return (!x.Prefix.IsValid() || x.Prefix.Contains(plain(a.Addr()))) &&
		(x.Ports == Ports{} || x.Ports.First <= a.Port() && a.Port() <= x.Ports.Last)
}

// looksLikeEnd reports whether a word without a name is meant for an end: a port, an
// address, or the front of one.
var looksLikeEnd = regexp.MustCompile(`^(\d+(-\d*)?|\*?:[\d-]+|:[^\d:].*|\d+\.[\d.]*(/\d*)?(:.*)?|\[.*|[0-9a-fA-F]*:[0-9a-fA-F.]*:.*)$`).MatchString

// parseEnd parses "8080", ":8080", "8000-8099", "10.77", "10.77.0.2:8080", "10.0.0.0/8",
// "::1", "[::1]:80".
func parseEnd(item string) (End, error) {
	addr, port := splitEnd(item)
	var x End
	var err error
	if addr != "" && addr != "*" {
		if x.Prefix, err = parsePrefix(addr); err != nil {
			return End{}, err
		}
	}
	if port != "" {
		x.Ports, err = parseRange(port)
	}
	if err == nil && x == (End{}) {
		err = fmt.Errorf("bad address %q: example: 10.77.0.2:8080", item)
	}
	return x, err
}

// splitEnd splits an end into an address and a port; each may be "".
func splitEnd(item string) (addr, port string) {
	switch {
	case strings.HasPrefix(item, "["):
		inside, after, _ := strings.Cut(item[1:], "]")
		length, port, _ := strings.Cut(after, ":") // [fd00::]/8:80
		return inside + length, port
	case strings.Count(item, ":") == 1:
		addr, port, _ = strings.Cut(item, ":")
		if port == "" {
			port = ":" // refused as a port
		}
		return addr, port
	case !strings.ContainsAny(item, ".:/"):
		return "", item
	}
	return item, ""
}

// dotted is an IPv4 address that ends early, "10.77" or "10.77.".
var dotted = regexp.MustCompile(`^\d+(\.\d+){0,2}\.?$`)

// wholeAddress completes an IPv4 address that ends early: 10.77 is 10.77.0.0/16. A
// number without a dot is none.
func wholeAddress(addr string) (whole string, bits int, ok bool) {
	if !dotted.MatchString(addr) || !strings.Contains(addr, ".") {
		return addr, 0, false
	}
	parts := strings.Split(strings.TrimSuffix(addr, "."), ".")
	bits = 8 * len(parts)
	for len(parts) < 4 {
		parts = append(parts, "0")
	}
	return strings.Join(parts, "."), bits, true
}

// ParseEnds parses a list of ends, either of which a connection has to have:
// ":8080,10.77,10.78.0.2:443,[::1]:80". A "!" in front means all others.
func ParseEnds(value string) (Set[End], error) {
	return unique(each(value, "address", "10.77.0.2:8080,:443", parseEnd))
}

// parseEitherPort parses a list of ports for either end.
func parseEitherPort(value string) (Set[End], error) {
	ports, err := ParsePorts(value)
	out := Set[End]{Not: ports.Not}
	for _, p := range ports.Items {
		out.Items = append(out.Items, End{Ports: p})
	}
	return out, err
}

// parseEitherAddr parses a list of addresses and prefixes for either end.
func parseEitherAddr(value string) (Set[End], error) {
	addrs, err := ParsePrefixes(value)
	out := Set[End]{Not: addrs.Not}
	for _, p := range addrs.Items {
		out.Items = append(out.Items, End{Prefix: p})
	}
	return out, err
}
