package advice

import (
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// madeFacts is how many facts TestProperties makes of each seed.
const madeFacts = 600

// TestProperties: whatever the facts are, a finding says no more than they do. It knows no
// rule and no wording: only what holds for every sentence.
func TestProperties(t *testing.T) {
	spoke := make(map[string]int)
	broken := make(map[string]string) // one example of each
	count := make(map[string]int)
	guesses := 0
	for seed := range uint64(4) {
		m := newMaker(seed)
		for range madeFacts {
			f := m.facts()
			all := Diagnose(f)
			if f.Traffic.Sole.N > 0 {
				known := f
				known.Traffic.Sole = Contributor{}
				for _, wrong := range guessedMore(Diagnose(known), all) {
					count["a guess changes more than who"]++
					broken["a guess changes more than who"] = fmt.Sprintf("seed %d: %s", seed, wrong)
				}
			}
			for _, x := range all { // a consequence is told under its cause
				all = append(all, x.Under...)
			}
			for _, x := range all {
				spoke[x.ID]++
				if x.Likely != nil {
					guesses++
				}
				for _, flaw := range flaws(&f, &x) {
					k := x.ID + " " + flaw.what
					if count[k]++; count[k] == 1 {
						broken[k] = fmt.Sprintf("seed %d: %s", seed, flaw.where)
					}
				}
			}
		}
	}
	for k, example := range broken {
		t.Errorf("%s, %d times, such as %s", k, count[k], example)
	}
	if guesses < 5 {
		t.Errorf("%d guesses only", guesses)
	}
	for _, r := range everyRule() {
		if spoke[r.id] < 5 {
			t.Errorf("%s spoke %d times only", r.id, spoke[r.id])
		}
	}
}

type flaw struct{ what, where string }

// flaws are what is wrong with a finding about f.
func flaws(f *Facts, x *Finding) (all []flaw) {
	add := func(what, where string) { all = append(all, flaw{what, where}) }
	if x.Severity == event.Crit && !observed(x) {
		add("is crit, and nothing has failed or is forecast", fmt.Sprintf("%+v", *x))
	}
	for name, text := range sentences(x) {
		said := text
		if strings.Contains(text, "0") {
			said = exceptions.ReplaceAllString(text, "_")
		}
		for _, p := range []struct {
			what string
			is   *regexp.Regexp
		}{{"says a number that is 0", zero}, {"prints pid 0", pidZero}, {"prints what is no value", noValue}} {
			if at := p.is.FindString(said); at != "" {
				add(p.what, fmt.Sprintf("%q in %s: %s", at, name, text))
			}
		}
		for claim := range strings.SplitSeq(text, "; ") {
			if sum := shares(claim); name == "who" && sum > 100 {
				add("has shares of more than the whole", fmt.Sprintf("%d%%: %s", sum, claim))
			}
		}
		if !sameTotal(text) {
			add("has rates that are not the shares of one total", text)
		}
		if strings.Contains(text, "`ss ") && f.Enter != "" {
			add("names a command for another namespace", text)
		}
	}
	for _, what := range guessFlaws(f, x) {
		add(what, fmt.Sprintf("%s: %+v", x.Who, x.Likely))
	}
	for _, p := range named0(x) {
		add("names a program, and counts nothing", p)
	}
	for _, r := range slices.Concat(x.Now, x.Fix) {
		if wrong := incomplete(f, r); wrong != "" {
			add("has a command that is not complete", wrong)
		}
	}
	return all
}

// sentences are what people read of a finding.
func sentences(x *Finding) map[string]string {
	all := map[string]string{"title": x.Title, "short": x.Short, "what": x.What, "who": string(x.Who), "when": x.When, "why": x.Why}
	for i, r := range slices.Concat(x.Now, x.Fix) {
		all[fmt.Sprint("remedy ", i)], all[fmt.Sprint("risk ", i)] = r.Text, r.Risk
	}
	return all
}

// observed reports whether x rests on a call or a packet that failed, or on a forecast: that
// of a limit which is reached is now.
func observed(x *Finding) bool {
	if x.Forecast != nil && x.Forecast.InS <= 300 {
		return true
	}
	return slices.ContainsFunc(x.Evidence, func(e Evidence) bool {
		return e.Value > 0 && (e.Unit == "calls" || e.Name == "refused_rate" || e.Name == "refused_in_window" || e.Name == "dropped")
	})
}

var (
	// zero is a count, a rate, a share or a time that is none.
	zero = regexp.MustCompile(`(^|[^\d.,:\w/=-])0(\.0+)?(%|/s|s\b|ns\b|ms\b| of\b| \(| (times|sockets|connections|connects|calls|segments|events|ports|more|wait|processes|were|was|SYNs|packets|entries|answers)\b)`)
	// pidZero is what a process without an id looks like.
	pidZero = regexp.MustCompile(`\[0\]|pid 0\b`)
	// noValue is what Go and net/netip print of nothing.
	noValue = regexp.MustCompile(`invalid (IP|AddrPort|Prefix)|%!|NaN|Inf\b|<nil>|\b-\d+ (of|socket|connection)| $|^ |  |; ;|, ,`)
	// exceptions are 0 as a setting or a number that programs use.
	exceptions = regexp.MustCompile(`port 0\b|bind\(0\)|linger time of 0|\w+ is 0\b|\w+=0\b`)
	percents   = regexp.MustCompile(`\((\d+)%\)`)
	rated      = regexp.MustCompile(`([\d,.]+)/s \((\d+)%\)`)
)

// shares is the sum of the shares in a sentence.
func shares(text string) (sum int) {
	for _, p := range percents.FindAllStringSubmatch(text, -1) {
		n, _ := strconv.Atoi(p[1])
		sum += n
	}
	return sum
}

// sameTotal reports whether all rates with a share, such as 40/s (42%), can be parts of one
// total, within what rounding takes.
func sameTotal(text string) bool {
	low, high := 0.0, 1e18
	for _, p := range rated.FindAllStringSubmatch(text, -1) {
		rate, _ := strconv.ParseFloat(strings.ReplaceAll(p[1], ",", ""), 64)
		share, _ := strconv.ParseFloat(p[2], 64)
		if share == 0 {
			continue
		}
		round := 0.5
		if rate < 10 {
			round = 0.05
		}
		low = max(low, (rate-round)/(share+1)*100)
		high = min(high, (rate+round)/share*100)
	}
	return low <= high
}

// named0 are the sentences of x that name a program of the facts, if x has no count above 0.
func named0(x *Finding) (all []string) {
	if slices.ContainsFunc(x.Evidence, func(e Evidence) bool { return e.Value > 0 }) {
		return nil
	}
	for _, text := range sentences(x) {
		if slices.ContainsFunc(procs, func(p event.Proc) bool { return p.Comm != "" && strings.Contains(text, p.Comm) }) {
			all = append(all, text)
		}
	}
	return all
}

// hostWide are settings that a namespace has no own of, or that conntrack keeps for all.
var hostWide = []string{"fs.file-max", "net.netfilter.nf_conntrack_max"}

// incomplete says what a command lacks: it is pasted into a shell and has to act on the
// namespace of f, and its undo on the same.
func incomplete(f *Facts, r Remedy) string {
	do, undo := r.Command(), r.Undo()
	if noValue.MatchString(strings.TrimSpace(do)) || strings.Contains(do, "=;") {
		return do
	}
	if len(r.Settings.Set) > 0 {
		here := slices.ContainsFunc(r.Settings.Set, func(s Setting) bool { return !slices.Contains(hostWide, s.Name) })
		if here && r.Settings.Enter != f.Enter || undo == "" || r.Risk == "" {
			return do + " undo: " + undo
		}
		for _, s := range r.Settings.Set {
			if s.Name == "" || s.Value == "" && s.Name != "net.ipv4.ip_local_reserved_ports" || s.Value == s.Before {
				return do + " undo: " + undo
			}
		}
	}
	for _, of := range []string{"ss ", "nstat ", "ip "} {
		if strings.HasPrefix(r.Shell.Run, of) && f.Enter != "" && !strings.HasPrefix(do, f.Enter) {
			return do
		}
	}
	return ""
}
