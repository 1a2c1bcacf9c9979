package advice

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

// stories has the text of each rule, as ID.txt.
//
//go:embed explain/*.txt
var stories embed.FS

// Explain returns the whole story of the rule with the ID: its title, what lies
// behind it, what helps and what does not. The error names the rules there are.
func Explain(id string) (string, error) {
	var known []string
	for _, r := range append(slices.Clone(rules), limited, nothing) {
		if strings.EqualFold(r.id, id) {
			text, err := stories.ReadFile("explain/" + r.id + ".txt")
			if err != nil {
				return "", fmt.Errorf("explain %s: %w", r.id, err)
			}
			return r.id + " " + r.title + "\n\n" + string(text), nil
		}
		known = append(known, r.id)
	}
	slices.Sort(known)
	return "", fmt.Errorf("no finding %q; there are %s", id, strings.Join(known, ", "))
}
