package report

import (
	"fmt"
	"slices"
	"strings"
)

// How many sets of limits are shown, and of each how many namespaces are named.
const (
	maxLimits = 10
	maxNamed  = 10
)

// GroupLimits puts namespaces with the same limits together. The key 0 is the one
// namespace of a recording that has no number for it.
func GroupLimits(by map[uint32]map[string]string) []Limits {
	var out []Limits
	at := make(map[string]int) // in out, by the limits in words
	for _, netns := range sortedKeys(by) {
		words := fmt.Sprint(by[netns]) // in the order of the names
		i, known := at[words]
		if !known {
			i = len(out)
			at[words] = i
			l := Limits{NetNS: []uint32{}}
			for _, name := range sortedKeys(by[netns]) {
				l.Sysctls = append(l.Sysctls, Sysctl{safe(name), safe(by[netns][name])})
			}
			out = append(out, l)
		}
		switch {
		case netns == 0:
		case len(out[i].NetNS) < maxNamed:
			out[i].NetNS = append(out[i].NetNS, netns)
		default:
			out[i].More++
		}
	}
	return slices.DeleteFunc(out, func(l Limits) bool { return len(l.Sysctls) == 0 })
}

// whose says whose limits they are.
func (l *Limits) whose(r *Report) string {
	if len(l.NetNS) == 0 {
		return "Limits at the start of the trace"
	}
	var names []string
	for _, n := range l.NetNS {
		names = append(names, r.spaceWords(n))
	}
	words := "Limits of network namespace "
	if len(names) > 1 {
		words = "Limits of network namespaces "
	}
	words += strings.Join(names, ", ")
	if l.More > 0 {
		words += fmt.Sprintf(" and %d more", l.More)
	}
	return words
}
