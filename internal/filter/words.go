package filter

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// Word is a word of the language: a name that a value follows, as in "rport 443".
type Word struct {
	Name    string
	Aliases []string // older names
	Short   string   // its flag's letter, "" if it has none
	Takes   string   // what its value is
	Means   string   // in a few words, for hints and the docs
	Values  []string // all values there are; nil if they are not a fixed list
	set     func(l *Language, f *Filter, value string) error
}

// Words are all words, in the order in which help lists them.
var Words = []Word{
	{Name: "comm", Takes: "NAME", Means: "process name", set: into(func(f *Filter) *Set[Glob] { return &f.Comms }, ParseComms)},
	{Name: "pid", Short: "p", Takes: "PID", Means: "process id", set: into(func(f *Filter) *Set[uint32] { return &f.PIDs }, ParsePIDs)},
	{Name: "port", Takes: "PORT", Means: "local or remote port", set: into(ends, parseEitherPort)},
	{Name: "lport", Short: "L", Takes: "PORT", Means: "local port", set: into(func(f *Filter) *Set[Ports] { return &f.LPorts }, ParsePorts)},
	{Name: "rport", Short: "D", Takes: "PORT", Means: "remote port", set: into(func(f *Filter) *Set[Ports] { return &f.RPorts }, ParsePorts)},
	{Name: "addr", Takes: "CIDR", Means: "local or remote address", set: into(ends, parseEitherAddr)},
	{Name: "laddr", Takes: "CIDR", Means: "local address", set: into(func(f *Filter) *Set[netip.Prefix] { return &f.LAddrs }, ParsePrefixes)},
	{Name: "raddr", Takes: "CIDR", Means: "remote address", set: into(func(f *Filter) *Set[netip.Prefix] { return &f.RAddrs }, ParsePrefixes)},
	{Name: "netns", Short: "N", Takes: "NAME", Means: "network namespace", set: (*Language).setNetNS},
	{Name: "unit", Takes: "NAME", Means: "systemd unit", set: into(func(f *Filter) *Set[Glob] { return &f.Units }, ParseUnits)},
	{Name: "uid", Takes: "UID", Means: "user id", set: into(func(f *Filter) *Set[uint32] { return &f.UIDs }, ParseUIDs)},
	{Name: "exe", Takes: "PATH", Means: "executable", set: into(func(f *Filter) *Set[Path] { return &f.Exes }, ParseExes)},
	{Name: "parent", Takes: "PID", Means: "pid or comm of the parent", set: into(func(f *Filter) *Set[Parent] { return &f.Parents }, ParseParents)},
	{Name: "pod", Takes: "UID", Means: "Kubernetes pod", set: into(func(f *Filter) *Set[ID] { return &f.Pods }, ParseIDs)},
	{Name: "container", Takes: "ID", Means: "container", set: into(func(f *Filter) *Set[ID] { return &f.Containers }, ParseIDs)},
	{Name: "cgroup", Takes: "PATH", Means: "cgroup, or one below it", set: into(func(f *Filter) *Set[Path] { return &f.Cgroups }, ParseCgroups)},
	{Name: "role", Takes: "ROLE", Means: "role of the socket", Values: event.Names[event.Role](),
		set: into(func(f *Filter) *Set[event.Role] { return &f.Roles }, ParseEnum[event.Role])},
	{Name: "closed-by", Aliases: []string{"closer", "closed_by"}, Takes: "SIDE", Means: "side whose FIN came first", Values: event.Names[event.Side](),
		set: into(func(f *Filter) *Set[event.Side] { return &f.Closers }, ParseEnum[event.Side])},
	{Name: "event", Takes: "EVENT", Means: "kind of record", Values: event.Names[event.Kind](),
		set: into(func(f *Filter) *Set[event.Kind] { return &f.Events }, ParseEnum[event.Kind])},
	{Name: "reason", Takes: "REASON", Means: "why TIME_WAIT started or ended", Values: event.Names[event.Reason](),
		set: into(func(f *Filter) *Set[event.Reason] { return &f.Reasons }, ParseEnum[event.Reason])},
}

// families are words without a value.
var families = map[string]uint8{"4": 4, "ipv4": 4, "6": 6, "ipv6": 6}

func ends(f *Filter) *Set[End] { return &f.Ends }

func into[T any](field func(*Filter) *Set[T], parse func(string) (Set[T], error)) func(*Language, *Filter, string) error {
	return func(_ *Language, f *Filter, value string) error {
		s, err := parse(value)
		if err == nil {
			*field(f) = s
		}
		return err
	}
}

// findWord returns the word of that name, in any case of its letters; nil if there is none.
func findWord(name string) *Word {
	name = strings.ToLower(name)
	for i := range Words {
		if w := &Words[i]; w.Name == name || slices.Contains(w.Aliases, name) {
			return w
		}
	}
	return nil
}

// flagWord returns the word of a flag, "--comm" or "-D"; nil if there is none.
func flagWord(flag string) *Word {
	name := strings.TrimLeft(flag, "-")
	for i := range Words {
		if name != "" && Words[i].Short == name {
			return &Words[i]
		}
	}
	return findWord(name)
}
