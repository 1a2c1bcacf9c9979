package filter

import (
	"fmt"
	"math"
	"net/netip"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// ParseLine makes a filter of a line in the words of the flags, "comm nginx rport
// 443", with or without their dashes, "--comm=nginx -D 443"; netns takes inode
// numbers alone. An address or prefix alone is a remote one, and any
// other word alone a part of a comm. A "!" in front of a value inverts it.
func ParseLine(line string) (*Filter, error) {
	f := &Filter{}
	words := strings.Fields(strings.ReplaceAll(line, "=", " "))
	for i := 0; i < len(words); i++ {
		name := strings.TrimLeft(words[i], "-")
		switch words[i] {
		case "4", "-4":
			f.Family = 4
			continue
		case "6", "-6":
			f.Family = 6
			continue
		}
		set, ok := lineNames[shortNames[words[i]]]
		if !ok {
			set, ok = lineNames[name]
		}
		if !ok {
			if err := f.alone(words[i]); err != nil {
				return nil, err
			}
			continue
		}
		i++
		if i == len(words) {
			return nil, fmt.Errorf("%s needs a value", name)
		}
		value := words[i]
		if value == "!" && i+1 < len(words) {
			i++
			value += words[i]
		}
		if err := set(f, value); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
	}
	return f, nil
}

// alone takes a word with no name before it.
func (f *Filter) alone(word string) error {
	bare := strings.TrimPrefix(word, "!")
	if _, err := netip.ParseAddr(bare); err == nil || strings.Contains(bare, "/") {
		return lineNames["raddr"](f, word)
	}
	not := word[:len(word)-len(bare)]
	if !strings.ContainsAny(bare, "*?,") {
		bare = "*" + bare + "*"
	}
	return lineNames["comm"](f, not+bare)
}

var shortNames = map[string]string{"-p": "pid", "-L": "lport", "-D": "rport", "-N": "netns"}

var lineNames = map[string]func(*Filter, string) error{
	"pid":    into(func(f *Filter) *Set[uint32] { return &f.PIDs }, ParsePIDs),
	"comm":   into(func(f *Filter) *Set[Glob] { return &f.Comms }, ParseComms),
	"lport":  into(func(f *Filter) *Set[Ports] { return &f.LPorts }, ParsePorts),
	"rport":  into(func(f *Filter) *Set[Ports] { return &f.RPorts }, ParsePorts),
	"laddr":  into(func(f *Filter) *Set[netip.Prefix] { return &f.LAddrs }, ParsePrefixes),
	"raddr":  into(func(f *Filter) *Set[netip.Prefix] { return &f.RAddrs }, ParsePrefixes),
	"role":   into(func(f *Filter) *Set[event.Role] { return &f.Roles }, ParseEnum[event.Role]),
	"closer": into(func(f *Filter) *Set[event.Side] { return &f.Closers }, ParseEnum[event.Side]),
	"netns":  into(func(f *Filter) *Set[uint32] { return &f.NetNS }, parseInodes),
}

func into[T any](field func(*Filter) *Set[T], parse func(string) (Set[T], error)) func(*Filter, string) error {
	return func(f *Filter, value string) error {
		s, err := parse(value)
		if err == nil {
			*field(f) = s
		}
		return err
	}
}

func parseInodes(value string) (Set[uint32], error) {
	var out Set[uint32]
	items, err := list(value, "netns", "4026531840", &out.Not)
	if err != nil {
		return out, err
	}
	for _, item := range items {
		n, ok := digits(item)
		if !ok || n == 0 || n > math.MaxUint32 {
			return Set[uint32]{}, fmt.Errorf("bad netns %q: not the inode number of one", item)
		}
		out.Items = append(out.Items, uint32(n))
	}
	return out, nil
}
