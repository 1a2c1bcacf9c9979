package advice

import (
	"fmt"
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func find(t *testing.T, all []Finding, id string) Finding {
	t.Helper()
	for _, x := range flat(all) {
		if x.ID == id {
			return x
		}
	}
	t.Fatalf("no %s among %v", id, ids(all))
	return Finding{}
}

// flat is every finding, each followed by what is under it.
func flat(all []Finding) (list []Finding) {
	for _, x := range all {
		list = append(append(list, x), x.Under...)
	}
	return list
}

func ids(all []Finding) (list []string) {
	for _, x := range flat(all) {
		list = append(list, x.ID+" "+x.Severity.String())
	}
	return list
}

// harmful is what no remedy may name, whatever the finding.
var harmful = regexp.MustCompile(`tcp_fin_timeout|tcp_tw_recycle|SO_LINGER|tcp_timestamps=0|rfc1337`)

// lowered is a command that sets tcp_max_tw_buckets.
var lowered = regexp.MustCompile(`tcp_max_tw_buckets=(\d+)`)

// checkWords checks what holds for every finding.
func checkWords(t *testing.T, all []Finding) {
	t.Helper()
	for _, x := range all {
		if x.Severity >= event.Warn && len(x.Now) == 0 {
			t.Errorf("%s is %v and does not say what helps now: %+v", x.ID, x.Severity, x)
		}
	}
	for _, x := range flat(all) {
		if x.Title == "" || x.What == "" || x.Group != "host" || x.Scope.NetNS == 0 {
			t.Errorf("%s lacks something: %+v", x.ID, x)
		}
		if x.Severity >= event.Warn && (x.Why == "" || x.Who == "" || x.When == "" || len(x.Evidence) == 0) {
			t.Errorf("%s is %v and does not say what to do, or why: %+v", x.ID, x.Severity, x)
		}
		for _, e := range x.Evidence {
			if e.Name == "" || e.Source == "" {
				t.Errorf("%s: evidence lacks something: %+v", x.ID, e)
			}
		}
		if slices.ContainsFunc(x.Now, func(r Remedy) bool { return r.Kind != "now" }) || slices.ContainsFunc(x.Fix, func(r Remedy) bool { return r.Kind != "fix" }) {
			t.Errorf("%s: remedies are of the wrong kind: %+v, %+v", x.ID, x.Now, x.Fix)
		}
		for _, r := range append(slices.Clone(x.Now), x.Fix...) {
			words := r.Text + " " + r.Command()
			if x.ID == "TW303" {
				words = restored.ReplaceAllString(words, "")
			}
			if harmful.MatchString(words) {
				t.Errorf("%s advises what it must not: %s", x.ID, words)
			}
			if strings.Contains(r.Command(), "sysctl -w") && (r.Undo() == "" || r.Risk == "") {
				t.Errorf("%s: %s has no undo or no risk", x.ID, r.Command())
			}
			if to, from := lowered.FindStringSubmatch(r.Command()), lowered.FindStringSubmatch(r.Undo()); to != nil {
				var high, low uint64
				fmt.Sscan(to[1], &high)
				fmt.Sscan(from[1], &low)
				if high <= low {
					t.Errorf("%s lowers the limit from %d to %d", x.ID, low, high)
				}
			}
		}
	}
}

// restored is a setting that TW303 puts back to what harms nobody.
var restored = regexp.MustCompile(`tcp_fin_timeout=60\b|tcp_tw_recycle=0\b`)

// TestNeverSays: what harms, or does nothing for TIME_WAIT, is no remedy of any finding.
func TestNeverSays(t *testing.T) {
	n := 0
	for _, tt := range slices.Concat(slices.Collect(maps.Values(scenarios))...) {
		for _, x := range flat(Diagnose(tt.facts())) {
			for _, r := range append(x.Now, x.Fix...) {
				n++
				if words := restored.ReplaceAllString(r.Text+" "+r.Command(), ""); harmful.MatchString(words) {
					t.Errorf("%s: %s advises %s", tt.name, x.ID, words)
				}
			}
			tuning := strings.Contains(all(x), "tcp_tw_reuse=") || strings.Contains(all(x), "ip_local_port_range=")
			switch x.ID {
			case "TW106", "TW107", "TW108", "TW203", "TW204", "TW207", "TW210":
				if strings.Contains(all(x), "tcp_tw_reuse=") {
					t.Errorf("%s: %s is tuned for TIME_WAIT: %s", tt.name, x.ID, all(x))
				}
			case "TW201":
				if tuning {
					t.Errorf("%s: TW201 tunes the kernel: %s", tt.name, all(x))
				}
			}
			if x.ID == "TW203" && tuning {
				t.Errorf("%s: a crawler needs no more ports: %s", tt.name, all(x))
			}
		}
	}
	if n == 0 {
		t.Error("nothing was advised")
	}
}

// all is every command of a finding.
func all(x Finding) string {
	var commands []string
	for _, r := range append(x.Now, x.Fix...) {
		commands = append(commands, r.Command())
	}
	return strings.Join(commands, "\n")
}

// scenario is what is known of a host, and which rules speak on it.
type scenario struct {
	name    string
	facts   func() Facts
	want    []string // each ID with its severity, in order
	words   []string // that the finding of the rule says: what, who, when or why
	advises []string // that its remedies say, or their commands
}

// scenarios are those of all rules.
var scenarios = map[string][]scenario{
	"TW000": tw000Scenarios, "TW101": tw101Scenarios, "TW102": tw102Scenarios, "TW103": tw103Scenarios, "TW104": tw104Scenarios,
	"TW105": tw105Scenarios, "TW106": tw106Scenarios, "TW107": tw107Scenarios, "TW108": tw108Scenarios, "TW201": tw201Scenarios, "TW202": tw202Scenarios, "TW203": tw203Scenarios,
	"TW204": tw204Scenarios, "TW205": tw205Scenarios, "TW206": tw206Scenarios, "TW207": tw207Scenarios, "TW208": tw208Scenarios,
	"TW209": tw209Scenarios, "TW210": tw210Scenarios, "TW211": tw211Scenarios, "TW212": tw212Scenarios, "TW301": tw301Scenarios, "TW302": tw302Scenarios,
	"TW303": tw303Scenarios, "TW304": tw304Scenarios, "TW305": tw305Scenarios, "TW900": tw900Scenarios,
}

// play checks the scenarios of a rule: in at least one it speaks, in one it is silent.
func play(t *testing.T, id string) {
	spoke, silent := 0, 0
	for _, tt := range scenarios[id] {
		t.Run(tt.name, func(t *testing.T) {
			got := Diagnose(tt.facts())
			if !slices.Equal(ids(got), tt.want) {
				t.Fatalf("found %v, want %v", ids(got), tt.want)
			}
			checkWords(t, got)
			got = flat(got)
			at := slices.IndexFunc(got, func(x Finding) bool { return x.ID == id })
			if at < 0 {
				silent++
				return
			}
			spoke++
			x := got[at]
			if says := strings.Join([]string{x.What, string(x.Who), x.When, x.Why}, "\n"); !containsAll(says, tt.words) {
				t.Errorf("it does not say all of %q:\n%s", tt.words, says)
			}
			var advice []string
			for _, r := range slices.Concat(x.Now, x.Fix) {
				advice = append(advice, r.Text, r.Command(), r.Undo())
			}
			if advises := strings.Join(advice, "\n"); !containsAll(advises, tt.advises) {
				t.Errorf("it does not advise all of %q:\n%s", tt.advises, advises)
			}
		})
	}
	if spoke == 0 || silent == 0 {
		t.Errorf("%s speaks in %d scenarios and is silent in %d: it needs both", id, spoke, silent)
	}
}

func containsAll(text string, parts []string) bool {
	return !slices.ContainsFunc(parts, func(part string) bool { return !strings.Contains(text, part) })
}
