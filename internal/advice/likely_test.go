package advice

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
)

// TestLikely: where nobody is known who holds the ports, the only program that owns sockets is
// a guess, with what it rests on. Nothing else of the finding changes.
func TestLikely(t *testing.T) {
	workers := Contributor{Process: proc(12, "nginx", "nginx.service"), PIDs: 3, N: 1200}
	for _, tt := range []struct {
		name         string
		sole         Contributor
		failed, held []Contributor
		fails        uint64
		want, brief  string // "": no guess
	}{
		{name: "none"},
		{name: "one process", sole: part(12, "nginx", 1, 1), want: "likely nginx (a guess: the only program in ux-web that owns a TCP socket)",
			brief: "not known; likely nginx (a guess)"},
		{name: "several", sole: workers, want: "likely nginx of nginx.service (3 processes) (a guess: the only program in ux-web that owns TCP sockets, 1,200 in all)",
			brief: "not known; likely nginx of nginx.service (3 processes) (a guess)"},
		{name: "not counted", sole: part(12, "nginx", 1, 0)},
		{name: "not named", sole: Contributor{PIDs: 1, N: 4}},
		{name: "some are known", sole: part(12, "nginx", 1, 4), held: []Contributor{part(9, "bench", 1, 500)}},
		{name: "it only fails", sole: part(4, "api", 1, 4), failed: []Contributor{part(4, "api", 1, 20)}, fails: 20},
		{name: "what fails would fill them", sole: part(12, "nginx", 1, 4), failed: []Contributor{part(4, "api", 1, 9000)}, fails: 9000},
		{name: "another one only fails", sole: part(12, "nginx", 1, 4), failed: []Contributor{part(4, "api", 1, 20)}, fails: 20,
			want: "likely nginx (a guess: the only program in ux-web that owns TCP sockets, 4 in all)", brief: "api[4]; likely nginx holds the ports (a guess)"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, d := shared(nil, tt.failed, tt.held, 0, tt.fails, 26000)
			f.NetNS.Name, f.Enter = "ux-web", "ip netns exec ux-web "
			f.Destinations[len(f.Destinations)-1] = d
			without := Diagnose(f)
			f.Traffic.Sole = tt.sole
			found := Diagnose(f)
			v := Judge(found, About{Now: f.Time})
			x := found[0]
			if x.ID != "TW101" {
				t.Fatalf("%+v", x)
			}
			if v.Likely != tt.brief || (x.Likely != nil) != (tt.want != "") || !strings.HasSuffix(string(x.Who), tt.want) {
				t.Errorf("who:\n%s\nlikely: %+v\nbriefly: %q", x.Who, x.Likely, v.Likely)
			}
			if l := x.Likely; l != nil && (l.Comm != "nginx" || l.Sockets != tt.sole.N || l.Processes != tt.sole.PIDs || !strings.Contains(string(x.Who), l.Reason)) {
				t.Errorf("%+v", l)
			}
			for width := range 200 {
				if block := fmt.Sprint(v.Lines(width)); tt.want != "" && !strings.Contains(strings.Join(strings.Fields(block), " "), "likely nginx") {
					t.Errorf("no guess in %d columns: %s", width, block)
				}
			}
			for _, wrong := range guessedMore(without, found) {
				t.Error(wrong)
			}
		})
	}
}

// guessedMore is where a guess has changed more of findings than their Who.
func guessedMore(without, found []Finding) (all []string) {
	if len(without) != len(found) {
		return []string{fmt.Sprintf("%d findings, and %d with a guess", len(without), len(found))}
	}
	for i := range found {
		a, b := without[i], found[i]
		guessed := b.Likely != nil && strings.HasPrefix(string(b.Who), string(a.Who)+"; likely ")
		if !guessed && b.Who != a.Who {
			all = append(all, fmt.Sprintf("who is %q, and with a guess %q", a.Who, b.Who))
		}
		all = append(all, guessedMore(a.Under, b.Under)...)
		b.Who, b.Likely, a.Under, b.Under = a.Who, nil, nil, nil
		if !reflect.DeepEqual(a, b) {
			all = append(all, fmt.Sprintf("%+v, and with a guess %+v", a, b))
		}
	}
	return all
}

// guessFlaws are what is wrong with the guess of a finding about f.
func guessFlaws(f *Facts, x *Finding) (all []string) {
	l, said := x.Likely, strings.Contains(string(x.Who), "(a guess: the only program")
	switch o := f.Traffic.Sole; {
	case l == nil && said:
		all = append(all, "guesses, and does not say so to machines")
	case l == nil:
	case !said || !strings.Contains(string(x.Who), "likely "+l.Comm):
		all = append(all, "guesses, and does not say so")
	case l.Sockets == 0 || l.Sockets != o.N || l.Comm == "" || l.Comm != o.Process.Comm:
		all = append(all, "guesses, and counts nothing")
	}
	for _, s := range x.Contributors {
		if l != nil && s.Part == Holds {
			all = append(all, "guesses where something is known")
		}
	}
	return all
}
