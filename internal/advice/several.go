package advice

import (
	"fmt"
	"strings"
)

// DiagnoseAll is Diagnose for several namespaces, best given with the fullest
// first. That nothing is wrong is said once, and only if it holds for all of
// them; what was not seen is said once too.
func DiagnoseAll(facts []Facts) []Finding {
	var all []Finding
	for _, f := range facts {
		all = append(all, Diagnose(f)...)
	}
	sortFindings(all)
	sick := len(all) > 0 && all[0].Severity >= Warn
	told := make(map[string]int) // how often, of what is told once
	var again []string           // the namespaces that TW900 would have looked at once more
	kept := all[:0]
	for _, x := range all {
		if x.ID == nothing.id && sick {
			continue
		}
		if x.general() {
			if x.ID == limited.id && len(x.Fix) > 0 {
				again = append(again, fmt.Sprint(x.Scope.NetNS))
			}
			if told[x.ID]++; told[x.ID] > 1 {
				continue
			}
		}
		kept = append(kept, x)
	}
	for i := range kept {
		n := told[kept[i].ID] - 1
		if n < 1 {
			continue
		}
		kept[i].Scope.NetNS = 0
		for j := range kept[i].Fix {
			kept[i].Fix[j].Command = lookAgain(kept[i].Fix[j].Command, again)
		}
		if n == 1 {
			kept[i].What += "; in 1 more network namespace likewise"
		} else {
			kept[i].What += fmt.Sprintf("; in %d more network namespaces likewise", n)
		}
	}
	return kept
}

// lookAgain is a command of TW900, for all of these namespaces.
func lookAgain(command string, spaces []string) string {
	command, _, _ = strings.Cut(command, inNetNS)
	return command + inNetNS + strings.Join(spaces, ",")
}
