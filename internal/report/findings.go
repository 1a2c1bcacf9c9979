package report

import (
	"cmp"
	"slices"

	"github.com/twtrace/twtrace/internal/advice"
)

// findKey is what the same finding has in common from look to look. Who is behind
// it may change.
type findKey struct {
	id           string
	netns        uint32
	laddr, raddr string
	lport, rport uint16
}

type seen struct {
	worst           advice.Finding
	first, last, at int64
	foreseen        string // the forecast at first
}

// findings are those of all looks, each once, at its worst.
type findings struct {
	by map[findKey]*seen
}

func (f *findings) see(now int64, x *advice.Finding) {
	s := &x.Scope
	k := findKey{x.ID, s.NetNS, s.Laddr, s.Raddr, s.Lport, s.Rport}
	v := f.by[k]
	switch {
	case v == nil && len(f.by) >= mostHeld:
		return
	case v == nil:
		if f.by == nil {
			f.by = make(map[findKey]*seen)
		}
		f.by[k] = &seen{*x, now, now, now, x.When}
		return
	}
	v.last = now
	if x.Severity > v.worst.Severity || x.Severity == v.worst.Severity && weight(x) > weight(&v.worst) {
		v.worst, v.at = *x, now
	}
}

// weight orders findings of one rule: by the number that they rest on first.
func weight(x *advice.Finding) float64 {
	if len(x.Evidence) == 0 {
		return 0
	}
	return x.Evidence[0].Value
}

// report lists them, the worst first, then by time. That nothing is wrong is said
// only if nothing ever was.
func (f *findings) report() []Finding {
	var all []*seen
	worst := advice.Skip
	for _, v := range f.by {
		all = append(all, v)
		worst = max(worst, v.worst.Severity)
	}
	slices.SortFunc(all, func(a, b *seen) int {
		return cmp.Or(cmp.Compare(b.worst.Severity, a.worst.Severity), cmp.Compare(a.first, b.first),
			cmp.Compare(a.worst.ID, b.worst.ID), cmp.Compare(a.worst.What, b.worst.What),
			cmp.Compare(a.worst.Scope.NetNS, b.worst.Scope.NetNS))
	})
	out := []Finding{}
	for _, v := range all {
		if worst >= advice.Warn && v.worst.Severity == advice.OK {
			continue
		}
		out = append(out, v.finding())
	}
	return out
}

func (v *seen) finding() Finding {
	x := &v.worst
	f := Finding{ID: x.ID, Severity: x.Severity.String(), Title: safe(x.Title), NetNS: x.Scope.NetNS,
		First: stamp(v.first), Last: stamp(v.last), At: stamp(v.at), Foreseen: safe(v.foreseen), What: safe(x.What), Who: safe(x.Who), When: safe(x.When),
		Reason: safe(x.Why), Evidence: []Evidence{}, Remedies: []Remedy{}}
	for _, e := range x.Evidence {
		f.Evidence = append(f.Evidence, Evidence{safe(e.Name), e.Value, e.Limit, e.Unit, safe(e.Source)})
	}
	for _, r := range slices.Concat(x.Now, x.Fix) {
		f.Remedies = append(f.Remedies, Remedy{r.Kind, safe(r.Text), safe(r.Command), safe(r.Undo), safe(r.Risk)})
	}
	return f
}
