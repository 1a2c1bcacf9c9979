package advice

import (
	"go/ast"
	"go/parser"
	"go/token"
	"math"
	"math/rand/v2"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func proc(pid uint32, comm, unit string) event.Proc {
	p := event.Proc{PID: pid, Comm: comm}
	if unit != "" {
		p.Who = &event.Who{Unit: unit}
	}
	return p
}

// shared is a full destination that programs share, and what is counted of each; the rest
// of the totals is of unknown ones.
func shared(opened, failed, held []Contributor, opens, fails, holds uint64) (Facts, Destination) {
	f := traced()
	d := storming(int(holds), opens)
	d.Openers, d.Failers, d.Holders = NewContributors(opened, opens), NewContributors(failed, fails), NewContributors(held, holds)
	d.Failed = d.Failers.Total
	return f.with(d), d
}

func part(pid uint32, comm string, pids int, n uint64) Contributor {
	return Contributor{Process: proc(pid, comm, ""), PIDs: pids, N: n, Flow: churning(n)}
}

// TestWho: who uses up ports, in words and in one line.
func TestWho(t *testing.T) {
	three := func(n uint64) []Contributor {
		return []Contributor{part(11, "orders", 1, 40*n), part(12, "billing", 1, 30*n), part(13, "search", 1, 25*n)}
	}
	units := []Contributor{
		{Process: proc(7, "python3", "shop.service"), PIDs: 1, N: 300}, {Process: proc(8, "python3", "pay.service"), PIDs: 2, N: 100},
	}
	for _, tt := range []struct {
		name                string
		opened, failed      []Contributor
		held                []Contributor
		opens, fails, holds uint64
		who, short          string
	}{
		{name: "three programs", opened: three(10), held: three(100), opens: 950, holds: 9500,
			who:   "opened 95/s in the last 10s: orders[11] 40/s (42%), billing[12] 30/s (31%), search[13] 25/s (26%)",
			short: "orders[11], +2 more"},
		{name: "three programs, which fail too", opened: three(10), failed: three(1), held: three(100), opens: 950, fails: 95, holds: 9500,
			who: "opened 95/s in the last 10s: orders[11] 40/s (42%), billing[12] 30/s (31%), search[13] 25/s (26%); " +
				"found no free port: orders[11] 4.0/s (42%), billing[12] 3.0/s (31%), search[13] 2.5/s (26%)",
			short: "orders[11], +2 more"},
		{name: "workers", opened: []Contributor{part(21, "worker", 4, 800)}, held: []Contributor{part(21, "worker", 4, 8000)}, opens: 800, holds: 8000,
			who: "worker (4 processes) opened 80/s in the last 10s", short: "worker, 4 processes"},
		{name: "who opens is not who holds", opened: []Contributor{part(4, "api", 1, 20)}, held: []Contributor{part(9, "bench", 1, 20000), part(4, "api", 1, 20)},
			opens: 20, holds: 20020,
			who:   "api[4] opened 2.0/s in the last 10s; 20,020 ports are held now: bench[9] 20,000 (99%), api[4] 20 (<1%)",
			short: "api[4]"},
		{name: "the victim of one that has gone", failed: []Contributor{part(4, "api", 1, 20)}, fails: 20, holds: 28232,
			who: "api[4] is the victim: 20 of its calls failed, 2.0/s, and none succeeded in the last 10s; " +
				"who holds the ports is not known: what is older than the trace has no owner",
			short: "victim: api[4]"},
		{name: "who fails may be who filled them", failed: []Contributor{part(4, "orders", 1, 9000), part(5, "billing", 2, 1000)}, fails: 10000, holds: 28232,
			who: "found no free port: orders[4] 900/s (90%), billing (2 processes) 100/s (10%); " +
				"who holds the ports is not known: what is older than the trace has no owner; " +
				"a guess: the same programs as now, whose connects, 1,000/s, would take 60,000 ports in a minute",
			short: "orders[4], +1 more"},
		{name: "a victim among others", opened: []Contributor{part(5, "shop", 1, 900)}, failed: []Contributor{part(4, "api", 1, 20), part(5, "shop", 1, 60)},
			held: []Contributor{part(5, "shop", 1, 28000)}, opens: 900, fails: 80, holds: 28000,
			who: "shop[5] opened 90/s in the last 10s; found no free port: shop[5] 6.0/s (75%), api[4] 2.0/s (25%); " +
				"api[4] only fails, so it is a victim",
			short: "shop[5]"},
		{name: "a swarm", opened: []Contributor{part(0, "curl", 900, 900)}, held: []Contributor{part(0, "curl", 900, 9000)}, opens: 900, holds: 9000,
			who: "curl (900 processes) opened 90/s in the last 10s", short: "curl, 900 processes"},
		{name: "one name in two units", opened: units, held: units, opens: 400, holds: 400,
			who:   "opened 40/s in the last 10s: python3[7] of shop.service 30/s (75%), python3 of pay.service (2 processes) 10/s (25%)",
			short: "python3[7], +1 more"},
		{name: "half of them unknown", opened: []Contributor{part(5, "shop", 1, 450)}, held: []Contributor{part(5, "shop", 1, 9000)}, opens: 900, holds: 18000,
			who:   "opened 90/s in the last 10s: shop[5] 45/s (50%), not known 50%; 18,000 ports are held now: shop[5] 9,000 (50%), not known 50%",
			short: "shop[5]"},
		{name: "the same program before the trace, probably", opened: []Contributor{part(5, "shop", 1, 900)}, held: []Contributor{part(5, "shop", 1, 900)}, opens: 900, holds: 5000,
			who: "shop[5] opened 90/s in the last 10s; 5,000 ports are held now: shop[5] 900 (18%), not known 82%; " +
				"a guess: the same programs as now, whose connects, 90/s, would take 5,400 ports in a minute",
			short: "shop[5]"},
		{name: "a guess", held: []Contributor{{Process: proc(5, "shop", ""), PIDs: 1, N: 900, Guessed: 800}}, holds: 900,
			who: "900 ports are held now: shop[5] 900, 800 of them a guess", short: "shop[5]"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			f, d := shared(tt.opened, tt.failed, tt.held, tt.opens, tt.fails, tt.holds)
			x := d.finding(f, f.use(&d))
			if string(x.Who) != tt.who {
				t.Errorf("who:\n%s\nwant:\n%s", x.Who, tt.who)
			}
			if line := x.Line(); !strings.HasSuffix(line, "  ("+tt.short+")") {
				t.Errorf("%q, want %q", line, tt.short)
			}
			checkShares(t, &f, &d, &x)
		})
	}
}

var noCount = regexp.MustCompile(`\[0\]|(^| )0/s|\(0%\)`)

// checkShares checks that shares add up to at most all, own rates to the rate of all, and
// that a pid is one of a single process.
func checkShares(t *testing.T, f *Facts, d *Destination, x *Finding) {
	t.Helper()
	if bad := noCount.FindString(string(x.Who)); bad != "" {
		t.Errorf("%q in %s", bad, x.Who)
	}
	sums := map[Part]float64{}
	for _, s := range x.Contributors {
		sums[s.Part] += s.Share
		if s.N == 0 || s.Comm == "" || s.PID != 0 && s.Processes > 1 || s.Part == Holds && s.Rate != 0 {
			t.Errorf("%+v", s)
		}
	}
	if len(x.Contributors) > 0 && x.Scope.Comm != x.Contributors[0].Comm {
		t.Errorf("scope %+v, the first contributor %+v", x.Scope, x.Contributors[0])
	}
	for part, c := range map[Part]*Contributors{Opens: &d.Openers, Fails: &d.Failers, Holds: &d.Holders} {
		if c.Total == 0 {
			continue
		}
		rates := 0.0
		for _, s := range x.Contributors {
			if s.Part == part {
				rates += s.Rate
			}
		}
		known := 1 - float64(c.unknown())/float64(c.Total)
		if math.Abs(sums[part]-known) > 1e-9 || sums[part] > 1+1e-9 {
			t.Errorf("%s: shares add up to %v, %v is known", part, sums[part], known)
		}
		if want := f.perSecond(c.Total - c.unknown()); part != Holds && math.Abs(rates-want) > 1e-6*want+1e-9 {
			t.Errorf("%s: rates add up to %v, want %v", part, rates, want)
		}
	}
}

// TestWhoOfAny: what holds for any facts.
func TestWhoOfAny(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	names := []string{"orders", "billing", "search", "nginx", "curl", "python3", "java"}
	some := func(most uint64) (list []Contributor, total uint64) {
		for _, i := range r.Perm(len(names))[:r.IntN(len(names))] {
			n := r.Uint64N(most)
			list = append(list, part(uint32(1+i), names[i], r.IntN(5), n))
			total += n
		}
		return list, total + r.Uint64N(2)*r.Uint64N(most)
	}
	for range 2000 {
		opened, opens := some(3000)
		failed, fails := some(300)
		held, holds := some(9000)
		f, d := shared(opened, failed, held, opens, fails, holds)
		x := d.finding(f, f.use(&d))
		checkShares(t, &f, &d, &x)
		for _, x := range Diagnose(f) {
			if noCount.MatchString(string(x.Who)) {
				t.Errorf("%s: %s", x.ID, x.Who)
			}
			if x.Scope.Comm != "" && len(x.Contributors) == 0 && x.ID != "TW208" && x.ID != "TW209" {
				t.Errorf("%s names %s, and nothing was counted: %+v", x.ID, x.Scope.Comm, x)
			}
		}
		if t.Failed() {
			t.Fatalf("of %+v\n%+v\n%+v", d.Openers, d.Failers, d.Holders)
		}
	}
}

// TestWhoIsClaimed: only who.go makes a Who of other words than constants. All else must
// claim: by words and what was counted.
func TestWhoIsClaimed(t *testing.T) {
	all, err := filepath.Glob("*.go")
	if err != nil {
		t.Fatal(err)
	}
	files, seen := token.NewFileSet(), 0
	for _, name := range all {
		if strings.HasSuffix(name, "_test.go") {
			continue
		}
		file, err := parser.ParseFile(files, name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(file, func(n ast.Node) bool {
			call, ok := n.(*ast.CallExpr)
			if !ok {
				return true
			}
			if id, ok := call.Fun.(*ast.Ident); ok && id.Name == "Who" {
				if seen++; name != "who.go" {
					t.Errorf("%v: make a claim of it", files.Position(n.Pos()))
				}
			}
			return true
		})
	}
	if seen == 0 {
		t.Error("who.go makes none")
	}
}
