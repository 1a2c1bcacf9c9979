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
// and cuts the "!" off its front. It ignores spaces around an item.
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

// each parses a list item by item.
func each[T any](value, what, example string, parse func(string) (T, error)) (Set[T], error) {
	var out Set[T]
	items, err := list(value, what, example, &out.Not)
	if err != nil {
		return Set[T]{}, err
	}
	for _, item := range items {
		v, err := parse(item)
		if err != nil {
			return Set[T]{}, err
		}
		out.Items = append(out.Items, v)
	}
	return out, nil
}

// unique drops the items of s that it has before; it passes err on.
func unique[T comparable](s Set[T], err error) (Set[T], error) {
	var items []T
	for _, v := range s.Items {
		if !slices.Contains(items, v) {
			items = append(items, v)
		}
	}
	s.Items = items
	return s, err
}

// ParsePorts parses a list of ports and ranges: "3306,8000-8099". A "!" in
// front means all others. It returns the ranges sorted and merged.
func ParsePorts(value string) (Set[Ports], error) {
	out, err := each(value, "port", "3306,8000-8099", parseRange)
	out.Items = merge(out.Items)
	return out, err
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
		return Ports{}, fmt.Errorf("bad port range %q: the first port is above the last; did you mean %d-%d?", item, last, first)
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

// digits parses decimal digits and nothing else, no sign. For a number that is too
// large it returns the largest.
func digits(s string) (uint64, bool) {
	if s == "" || strings.Trim(s, "0123456789") != "" {
		return 0, false
	}
	n, _ := strconv.ParseUint(s, 10, 64) // out of range is the only possible error
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
	return unique(each(value, "address", "10.0.0.0/8,2001:db8::1", parsePrefix))
}

func parsePrefix(item string) (netip.Prefix, error) {
	addr, length, isPrefix := strings.Cut(item, "/")
	addr, front, short := wholeAddress(addr)
	a, err := netip.ParseAddr(addr)
	if end, port := splitEnd(item); err != nil && port != "" {
		if _, err := parsePrefix(end); err == nil && end != "" {
			return netip.Prefix{}, fmt.Errorf("bad address %q: it has a port; give %s here, and %s to lport or rport", item, end, port)
		}
	}
	if err != nil {
		return netip.Prefix{}, fmt.Errorf("bad address %q: not an IP address; example: 10.0.0.0/8,2001:db8::1", item)
	}
	if a.Zone() != "" {
		return netip.Prefix{}, fmt.Errorf("bad address %q: traced addresses have no zone; leave out %%%s",
			item, a.Zone())
	}
	bits := uint64(a.BitLen())
	if short {
		bits = uint64(front)
	}
	if isPrefix {
		n, ok := digits(length)
		if !ok || n > uint64(a.BitLen()) {
			return netip.Prefix{}, fmt.Errorf("bad prefix %q: the length must be 0 to %d", item, a.BitLen())
		}
		bits = n
	}
	if a.Is4In6() {
		if bits < 96 {
			return netip.Prefix{}, fmt.Errorf("bad prefix %q: the length must be 96 or more for an IPv4-mapped address; for all of IPv4 use 0.0.0.0/0",
				item)
		}
		a, bits = a.Unmap(), bits-96
	}
	return netip.PrefixFrom(a, int(bits)).Masked(), nil
}

// ParsePIDs parses a list of process ids: "4242,4243". A "!" in front means
// all others.
func ParsePIDs(value string) (Set[uint32], error) {
	return unique(each(value, "pid", "4242,4243", func(item string) (uint32, error) {
		n, ok := digits(item)
		switch {
		case !ok:
			return 0, fmt.Errorf("bad pid %q: not a number; for a name use --comm; example: 4242,4243", item)
		case n < 1 || n > maxPID:
			return 0, fmt.Errorf("bad pid %q: pids go from 1 to %d", item, maxPID)
		}
		return uint32(n), nil
	}))
}

// maxPID is the largest pid of a 64-bit kernel: PID_MAX_LIMIT less one.
const maxPID = 4<<20 - 1

// ParseEnum parses a list of names of T: "expired,reused" for event.Reason. A
// "!" in front means all others.
func ParseEnum[T event.Enum](value string) (Set[T], error) {
	what, all := enumName[T](), event.Names[T]()
	return unique(each(value, what, all[0], func(item string) (T, error) {
		v, ok := event.Parse[T](item)
		if rest, short := strings.CutPrefix(item, "tw_"); !ok && short {
			v, ok = event.Parse[T]("time_wait_" + rest) // as text output prints it
		}
		if !ok {
			return v, fmt.Errorf("bad %s %q: use %s", what, item, strings.Join(all, ", "))
		}
		return v, nil
	}))
}

// enumName is the name of T in errors, as the flag of it has it.
func enumName[T event.Enum]() string {
	var zero T
	switch any(zero).(type) {
	case event.Kind:
		return "event"
	case event.Reason:
		return "reason"
	case event.Role:
		return "role"
	case event.Side:
		return "closed-by"
	}
	return "value"
}
