package filter

import (
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// list splits a flag's value at the commas that have no backslash before them,
// and takes the "!" from its front. Spaces around an item do not count.
func list(value, what, example string, not *bool) ([]string, error) {
	rest := strings.TrimSpace(value)
	rest, *not = strings.CutPrefix(rest, "!")
	var items []string
	for more := true; more; {
		var item string
		item, rest, more = cut(rest)
		item = strings.TrimSpace(item)
		switch {
		case item == "":
			return nil, fmt.Errorf("bad %s list %q: an item is empty; example: %s", what, value, example)
		case item[0] == '!':
			return nil, fmt.Errorf("bad %s list %q: one ! in front negates the whole list; example: !%s",
				what, value, example)
		}
		items = append(items, item)
	}
	return items, nil
}

// cut cuts s at its first comma that has no backslash before it.
func cut(s string) (before, after string, found bool) {
	for i := 0; i < len(s); i++ {
		switch s[i] {
		case '\\':
			i++
		case ',':
			return s[:i], s[i+1:], true
		}
	}
	return s, "", false
}

// ParsePorts parses a list of ports and ranges: "3306,8000-8099". A "!" in
// front means all others. The ranges come back sorted and merged.
func ParsePorts(value string) (Set[Ports], error) {
	var out Set[Ports]
	items, err := list(value, "port", "3306,8000-8099", &out.Not)
	if err != nil {
		return Set[Ports]{}, err
	}
	for _, item := range items {
		r, err := parseRange(item)
		if err != nil {
			return Set[Ports]{}, err
		}
		out.Items = append(out.Items, r)
	}
	out.Items = merge(out.Items)
	return out, nil
}

func parseRange(item string) (Ports, error) {
	a, b, isRange := strings.Cut(item, "-")
	first, err := parsePort(a, item)
	if err != nil {
		return Ports{}, err
	}
	if !isRange {
		return Ports{first, first}, nil
	}
	last, err := parsePort(b, item)
	if err != nil {
		return Ports{}, err
	}
	if first > last {
		return Ports{}, fmt.Errorf("bad port range %q: it ends before it begins; did you mean %d-%d?", item, last, first)
	}
	return Ports{first, last}, nil
}

func parsePort(s, item string) (uint16, error) {
	s = strings.TrimSpace(s)
	n, ok := digits(s)
	switch {
	case !ok:
		return 0, fmt.Errorf("bad port %q: not a number; example: 3306,8000-8099", item)
	case n < 1 || n > 65535:
		return 0, fmt.Errorf("bad port %q: ports go from 1 to 65535", item)
	}
	return uint16(n), nil
}

// digits parses decimal digits and nothing else, no sign. A number that is too
// large comes back as the largest.
func digits(s string) (uint64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, _ := strconv.ParseUint(s, 10, 64) // the only error left is the range
	return n, true
}

// merge sorts ranges and joins those that overlap or touch.
func merge(in []Ports) []Ports {
	slices.SortFunc(in, func(a, b Ports) int { return int(a.First) - int(b.First) })
	out := in[:0]
	for _, r := range in {
		if n := len(out); n > 0 && int(r.First) <= int(out[n-1].Last)+1 {
			out[n-1].Last = max(out[n-1].Last, r.Last)
		} else {
			out = append(out, r)
		}
	}
	return out
}

// ParsePrefixes parses a list of addresses and prefixes: "10.0.0.0/8,2001:db8::1".
// A "!" in front means all others. A bare address is the prefix of that one
// address, host bits are cleared, and IPv4-mapped IPv6 becomes IPv4.
func ParsePrefixes(value string) (Set[netip.Prefix], error) {
	var out Set[netip.Prefix]
	items, err := list(value, "address", "10.0.0.0/8,2001:db8::1", &out.Not)
	if err != nil {
		return Set[netip.Prefix]{}, err
	}
	for _, item := range items {
		p, err := parsePrefix(item)
		if err != nil {
			return Set[netip.Prefix]{}, err
		}
		if !slices.Contains(out.Items, p) {
			out.Items = append(out.Items, p)
		}
	}
	return out, nil
}

func parsePrefix(item string) (netip.Prefix, error) {
	addr, length, isPrefix := strings.Cut(item, "/")
	a, err := netip.ParseAddr(addr)
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("bad address %q: not an IP address; example: 10.0.0.0/8,2001:db8::1", item)
	}
	if a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("bad address %q: leave out the zone %%%s; it is no part of an address on the wire",
			item, a.Zone())
	}
	bits := uint64(a.BitLen())
	if isPrefix {
		n, ok := digits(length)
		if !ok || n > bits {
			return netip.Prefix{}, fmt.Errorf("bad prefix %q: its length goes from 0 to %d", item, bits)
		}
		bits = n
	}
	if a.Is4In6() {
		if bits < 96 {
			return netip.Prefix{}, fmt.Errorf("bad prefix %q: of IPv4-mapped addresses it has 96 bits or more; for all of IPv4 use 0.0.0.0/0",
				item)
		}
		a, bits = a.Unmap(), bits-96
	}
	return netip.PrefixFrom(a, int(bits)).Masked(), nil
}

// ParsePIDs parses a list of process ids: "4242,4243". A "!" in front means
// all others.
func ParsePIDs(value string) (Set[uint32], error) {
	var out Set[uint32]
	items, err := list(value, "pid", "4242,4243", &out.Not)
	if err != nil {
		return Set[uint32]{}, err
	}
	for _, item := range items {
		n, ok := digits(item)
		switch {
		case !ok:
			return Set[uint32]{}, fmt.Errorf("bad pid %q: not a number (names go to --comm); example: 4242,4243", item)
		case n < 1 || n > maxPID:
			return Set[uint32]{}, fmt.Errorf("bad pid %q: pids go from 1 to %d", item, maxPID)
		}
		if !slices.Contains(out.Items, uint32(n)) {
			out.Items = append(out.Items, uint32(n))
		}
	}
	return out, nil
}

// maxPID is the largest pid of a 64-bit kernel: PID_MAX_LIMIT less one.
const maxPID = 4<<20 - 1

// ParseEnum parses a list of names of T: "expired,reused" for event.Reason. A
// "!" in front means all others.
func ParseEnum[T event.Enum](value string) (Set[T], error) {
	var out Set[T]
	what, all := enumName[T](), event.Names[T]()
	items, err := list(value, what, all[0], &out.Not)
	if err != nil {
		return Set[T]{}, err
	}
	for _, item := range items {
		v, ok := event.Parse[T](item)
		if rest, short := strings.CutPrefix(item, "tw_"); !ok && short {
			v, ok = event.Parse[T]("time_wait_" + rest) // as text prints it
		}
		if !ok {
			return Set[T]{}, fmt.Errorf("bad %s %q: use %s", what, item, strings.Join(all, ", "))
		}
		if !slices.Contains(out.Items, v) {
			out.Items = append(out.Items, v)
		}
	}
	return out, nil
}

// enumName is what a user calls a value of T.
func enumName[T event.Enum]() string {
	var zero T
	switch any(zero).(type) {
	case event.Kind:
		return "event"
	case event.State:
		return "state"
	case event.Reason:
		return "reason"
	case event.Role:
		return "role"
	case event.Side:
		return "closer"
	case event.OwnerFrom:
		return "owner"
	case event.Call:
		return "call"
	case event.Stage:
		return "stage"
	}
	return "value"
}
