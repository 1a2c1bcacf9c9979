package advice

import (
	"cmp"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
)

// rule is one diagnosis. Each has a file of its own, named after its ID.
type rule struct {
	id    string
	title string
	find  func(Facts) []Finding // sets neither ID, title, group nor netns
	whole bool                  // it is about the whole diagnosis, not one namespace
}

// rules are all but the two that close a report.
var rules = []rule{
	tw101, tw102, tw103, tw104, tw105, tw106, tw107, tw108,
	tw201, tw202, tw203, tw204, tw205, tw206, tw207, tw208, tw209, tw210, tw211, tw212,
	tw301, tw302, tw303, tw304, tw305,
}

// everyRule is all of them.
func everyRule() []rule { return append(slices.Clone(rules), tw900, tw000) }

// ruleOf finds a rule by its ID.
func ruleOf(id string) (rule, bool) {
	all := everyRule()
	i := slices.IndexFunc(all, func(r rule) bool { return r.id == id })
	if i < 0 {
		return rule{}, false
	}
	return all[i], true
}

// ofRules is what the rules find in f, before findings become stories. It is never empty.
func ofRules(f Facts) []Finding {
	var all []Finding
	for _, r := range rules {
		all = append(all, r.apply(f)...)
	}
	all = append(all, tw900.apply(f)...)
	if !slices.ContainsFunc(all, func(x Finding) bool { return x.Severity >= event.Warn }) {
		all = append(all, tw000.apply(f)...)
	}
	return all
}

// sortFindings puts the worst first.
func sortFindings(all []Finding) {
	slices.SortStableFunc(all, func(a, b Finding) int { return cmp.Compare(b.Severity, a.Severity) })
}

func (r rule) apply(f Facts) []Finding {
	found := r.find(f)
	for i := range found {
		found[i].ID, found[i].Group = r.id, "host"
		found[i].Title = cmp.Or(found[i].Title, r.title)
		found[i].Scope.NetNS = f.NetNS.Inum
		found[i].Space = f.space()
		found[i].Now = ofKind("now", found[i].Now)
		found[i].Fix = ofKind("fix", found[i].Fix)
	}
	return found
}

// space is the network namespace by name, "" if it needs none: it is the shell's own.
func (f *Facts) space() string {
	if f.NetNS.Name == "" && f.Enter == "" {
		return ""
	}
	return f.NetNS.String()
}

// ofKind copies remedies, since a rule may have the same for now and for good.
func ofKind(kind string, all []Remedy) []Remedy {
	all = slices.Clone(all)
	for i := range all {
		all[i].Kind = kind
	}
	return all
}

// maxFindings of one rule are reported: an incident has one cause or a few.
const maxFindings = 5
