package report

import (
	"cmp"
	"slices"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
)

// findKey is what the same finding has in common from sample to sample. Its owner may
// change.
type findKey struct {
	id           string
	netns        uint32
	laddr, raddr string
	lport, rport uint16
}

func keyOf(x *advice.Finding) findKey {
	s := &x.Scope
	return findKey{x.ID, s.NetNS, s.Laddr, s.Raddr, s.Lport, s.Rport}
}

type seen struct {
	worst           advice.Finding
	first, last, at int64
	foreseen        string            // the forecast at first
	under           []*advice.Finding // all that was under it at some time, each as it was then at its worst
}

// findings are those of all samples, each once, at its worst.
type findings struct {
	by    map[findKey]*seen
	under map[findKey]findKey // which of them was a consequence of another at some time
}

func (f *findings) see(now int64, x *advice.Finding) {
	k := keyOf(x)
	v := f.by[k]
	switch {
	case v == nil && len(f.by) >= maxHeld:
		return
	case v == nil:
		if f.by == nil {
			f.by = make(map[findKey]*seen)
		}
		v = &seen{*x, now, now, now, x.When, nil}
		f.by[k] = v
		f.below(k, v, x)
		return
	}
	f.below(k, v, x)
	v.last = now
	if x.Severity > v.worst.Severity || x.Severity == v.worst.Severity && heavier(x, &v.worst) {
		v.worst, v.at = *x, now
	}
}

// maxUnder is how much is kept under one finding.
const maxUnder = 16

// below notes what is under x, which is known as k and seen as v.
func (f *findings) below(k findKey, v *seen, x *advice.Finding) {
	for i := range x.Under {
		u := &x.Under[i]
		key := keyOf(u)
		at := slices.IndexFunc(v.under, func(o *advice.Finding) bool { return keyOf(o) == key })
		switch {
		case key == k:
		case at >= 0 && (u.Severity > v.under[at].Severity || u.Severity == v.under[at].Severity && heavier(u, v.under[at])):
			v.under[at] = u
		case at < 0 && len(v.under) < maxUnder:
			v.under = append(v.under, u)
			if f.under == nil {
				f.under = make(map[findKey]findKey)
			}
			f.under[key] = k
		}
	}
}

// covered reports whether the finding of k, which may have been found before, is part of
// the story of another one, which is as severe and not part of its own.
func (f *findings) covered(k findKey, v *seen) bool {
	root, ok := f.under[k]
	return ok && f.under[root] != k && f.by[root] != nil && f.by[root].worst.Severity >= v.worst.Severity
}

// heavier reports whether x is worse than a finding of the same rule and severity: by the
// number that they rest on first, then by what helps, then by how many calls failed.
func heavier(x, than *advice.Finding) bool {
	return cmp.Or(cmp.Compare(weight(x), weight(than)), cmp.Compare(len(x.Now), len(than.Now)), cmp.Compare(failing(x), failing(than))) > 0
}

func weight(x *advice.Finding) float64 {
	if len(x.Evidence) == 0 {
		return 0
	}
	return x.Evidence[0].Value
}

func failing(x *advice.Finding) (n uint64) {
	for i := range x.Contributors {
		if s := &x.Contributors[i]; s.Part == advice.Fails {
			n += s.N
		}
	}
	return n
}

// report lists them, the worst first, then by time, and as the rules found them. That
// nothing is wrong is said only if nothing ever was.
func (f *findings) report(names namer) (out []Finding, found []advice.Finding) {
	var all []*seen
	worst := event.Skip
	for k, v := range f.by {
		if f.covered(k, v) {
			continue
		}
		all = append(all, v)
		worst = max(worst, v.worst.Severity)
	}
	slices.SortFunc(all, func(a, b *seen) int {
		return cmp.Or(cmp.Compare(b.worst.Severity, a.worst.Severity), cmp.Compare(a.first, b.first),
			cmp.Compare(a.worst.ID, b.worst.ID), cmp.Compare(a.worst.What, b.worst.What),
			cmp.Compare(a.worst.Scope.NetNS, b.worst.Scope.NetNS))
	})
	out = []Finding{}
	for _, v := range all {
		if worst >= event.Warn && v.worst.Severity == event.OK {
			continue
		}
		out, found = append(out, v.finding(names)), append(found, v.worst)
	}
	return out, found
}

func (v *seen) finding(names namer) Finding {
	x := &v.worst
	f := Finding{ID: x.ID, Severity: x.Severity.String(), Title: safe(x.Title), NetNS: x.Scope.NetNS, NetNSName: names.of(x.Scope.NetNS),
		First: stamp(v.first), Last: stamp(v.last), At: stamp(v.at), Foreseen: safe(v.foreseen), What: safe(x.What), Who: safe(string(x.Who)), When: safe(x.When),
		Reason: safe(x.Why), Evidence: []Evidence{}, Remedies: []Remedy{}, scope: x.Scope, from: v.first}
	for _, s := range x.Contributors {
		f.Shares = append(f.Shares, Share{string(s.Part), safe(s.Comm), s.PID, uint64(max(s.Processes, 0)), s.N, s.Share, s.Rate})
	}
	for _, e := range x.Evidence {
		f.Evidence = append(f.Evidence, Evidence{safe(e.Name), e.Value, e.Limit, e.Unit, safe(e.Source)})
	}
	for _, u := range v.under {
		f.Consequences = append(f.Consequences, Consequence{u.ID, u.Severity.String(), u.Scope.NetNS, safe(cmp.Or(u.Short, u.Title)), safe(string(u.Who))})
	}
	for _, r := range slices.Concat(x.Now, x.Fix) {
		f.Remedies = append(f.Remedies, Remedy{r.Kind, safe(r.Text), safe(r.Command()), safe(r.Undo()), safe(r.Risk)})
	}
	return f
}
