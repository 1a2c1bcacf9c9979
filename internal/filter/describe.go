package filter

import (
	"fmt"
	"net/netip"
	"strconv"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// String describes the filter, for the start record: "pid 4242, remote port 3306 or
// 8000-8099, not reason expired". It is "" if f matches all.
func (f *Filter) String() string {
	if f == nil {
		return ""
	}
	var parts []string
	add := func(s string) {
		if s != "" {
			parts = append(parts, s)
		}
	}
	add(words("pid", f.PIDs, decimal))
	if f.Follow {
		add("followed processes")
	}
	add(words("comm", f.Comms, Glob.String))
	add(words("uid", f.UIDs, decimal))
	add(words("exe", f.Exes, Path.String))
	add(words("parent", f.Parents, Parent.String))
	add(words("cgroup", f.Cgroups, Path.String))
	add(words("unit", f.Units, Glob.String))
	add(words("container", f.Containers, ID.String))
	add(words("pod", f.Pods, ID.String))
	add(words("local port", f.LPorts, Ports.String))
	add(words("remote port", f.RPorts, Ports.String))
	add(addrWords("local address", f.LAddrs))
	add(addrWords("remote address", f.RAddrs))
	if f.Ends.Active() {
		add(endWords(f.Ends))
	}
	if f.Family != 0 {
		add(fmt.Sprintf("IPv%d", f.Family))
	}
	add(words("netns", f.NetNS, f.netnsWord))
	add(words("role", f.Roles, event.Role.String))
	add(words("closed by", f.Closers, event.Side.String))
	add(words("event", f.Events, event.Kind.String))
	add(words("reason", f.Reasons, event.Reason.String))
	for _, g := range f.All {
		add(g.String())
	}
	text := strings.Join(parts, ", ")
	if f.Inverse {
		return "not (" + text + ")"
	}
	return text
}

func (f *Filter) netnsWord(inum uint32) string {
	if name := f.NetNSNames[inum]; name != "" {
		return name
	}
	return decimal(inum)
}

// String returns "80" or "8000-8099".
func (p Ports) String() string {
	if p.First == p.Last {
		return decimal(p.First)
	}
	return decimal(p.First) + "-" + decimal(p.Last)
}

func decimal[T ~uint16 | ~uint32](n T) string { return strconv.FormatUint(uint64(n), 10) }

func words[T any](name string, s Set[T], word func(T) string) string {
	if !s.Active() {
		return ""
	}
	items := make([]string, len(s.Items))
	for i, v := range s.Items {
		items[i] = word(v)
	}
	out := name + " " + strings.Join(items, " or ")
	if s.Not {
		return "not " + out
	}
	return out
}

// addrWords lists addresses and prefixes.
func addrWords(name string, s Set[netip.Prefix]) string { return words(name, s, prefixWord) }

// endWords lists ends, each with its own name.
func endWords(s Set[End]) string {
	not := ""
	if s.Not {
		not = "not "
	}
	return not + strings.TrimPrefix(words("", Set[End]{Items: s.Items}, End.String), " ")
}

// prefixWord omits the length of a prefix that is one address.
func prefixWord(p netip.Prefix) string {
	if p.IsSingleIP() {
		return p.Addr().String()
	}
	return p.String()
}
