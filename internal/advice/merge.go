package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/event"
)

// Diagnose returns what the rules find in one or several namespaces, best given with the
// fullest first: the worst finding first, and those that are one story under its first
// cause. Without a warning in any of them there is TW000, the verdict that nothing is
// wrong: once, and so is what could not be seen.
func Diagnose(facts ...Facts) []Finding {
	var all []Finding
	for _, f := range facts {
		all = append(all, ofRules(f)...)
	}
	all = chain(all, facts)
	sortFindings(all)
	sick := len(all) > 0 && all[0].Severity >= event.Warn
	seen := make(map[string]int) // how often each finding that is printed once was found
	var again []uint32           // namespaces for which TW900 says to run twtrace again
	kept := all[:0]
	for _, x := range all {
		if x.ID == tw000.id && sick {
			continue
		}
		if x.General() {
			if x.ID == tw900.id && len(x.Fix) > 0 {
				again = append(again, x.Scope.NetNS)
			}
			if seen[x.ID]++; seen[x.ID] > 1 {
				continue
			}
		}
		kept = append(kept, x)
	}
	for i := range kept {
		n := seen[kept[i].ID] - 1
		if n < 1 {
			continue
		}
		kept[i].Scope.NetNS, kept[i].Space = 0, ""
		for j := range kept[i].Fix {
			kept[i].Fix[j].Shell.NetNS = again
		}
		if n == 1 {
			kept[i].What += "; the same in 1 more network namespace"
		} else {
			kept[i].What += fmt.Sprintf("; the same in %d more network namespaces", n)
		}
	}
	return kept
}
