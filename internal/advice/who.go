package advice

import (
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// Who says who is behind a finding. It is a constant that names nobody, or made of
// claims: no program is named without what was counted of it.
type Who string

// Part says what a contributor did.
type Part string

// What contributors do.
const (
	Opens  Part = "opens"  // opened connections in the Window
	Fails  Part = "fails"  // made calls that failed in the Window
	Holds  Part = "holds"  // holds sockets now
	Closes Part = "closes" // closed connections first in the Window
)

// Share is what one program contributes to a finding, for machines.
type Share struct {
	Part      Part    `json:"role"`
	Comm      string  `json:"comm"`
	PID       uint32  `json:"pid,omitempty"` // if it is one process
	Unit      string  `json:"unit,omitempty"`
	Pod       string  `json:"pod,omitempty"`
	Processes int     `json:"processes,omitempty"`
	N         uint64  `json:"n"`
	Share     float64 `json:"share"`             // of all, those of unknown programs included; at most 1
	Rate      float64 `json:"per_s,omitempty"`   // per second; not of what it holds
	Guessed   uint64  `json:"guessed,omitempty"` // of N, what is its only by a guess
	Victim    bool    `json:"victim,omitempty"`  // it fails, and takes no part in the cause
}

// claim is a sentence about programs, with what was counted of them.
type claim struct {
	words  string
	shares []Share
	first  Contributor // what the finding is narrowed to
	likely *Likely     // who is guessed, where nobody is known
}

// counted is the claim that words make of contributors, "" if there are none.
func (f *Facts) counted(part Part, c *Contributors, words string) claim {
	if len(c.List) == 0 {
		return claim{}
	}
	v := claim{words: words, first: c.List[0]}
	for _, o := range c.List {
		scope := Scope{}.ofMany(o.Process, o.PIDs)
		s := Share{Part: part, Comm: scope.Comm, PID: scope.PID, Unit: scope.Unit, Pod: scope.Pod, Processes: o.PIDs, N: o.N,
			Share: float64(o.N) / float64(c.Total), Guessed: o.Guessed}
		if part != Holds {
			s.Rate = f.perSecond(o.N)
		}
		v.shares = append(v.shares, s)
	}
	return v
}

// by sets who is behind x, by what was counted, and narrows its scope to the first
// program that is named. Claims about nobody are left out.
func (x *Finding) by(claims ...claim) {
	var words []string
	for _, c := range claims {
		x.Contributors = append(x.Contributors, c.shares...)
		if c.first.N > 0 && x.Scope.Comm == "" {
			x.Scope = x.Scope.ofMany(c.first.Process, c.first.PIDs)
		}
		if c.likely != nil {
			x.Likely = c.likely
		}
		if c.words != "" {
			words = append(words, c.words)
		}
	}
	if len(words) > 0 {
		x.Who = Who(strings.Join(words, "; "))
	}
}

// opened says who opened connections in the Window, each with its own rate.
func (f *Facts) opened(c *Contributors) claim {
	if c.alone() {
		o := c.Most()
		return f.counted(Opens, c, fmt.Sprintf("%s opened %s in the last %s", o.name(), output.Rate(f.perSecond(o.N)), output.Seconds(f.watched())))
	}
	return f.counted(Opens, c, fmt.Sprintf("opened %s in the last %s: %s", output.Rate(f.perSecond(c.Total)), output.Seconds(f.watched()), f.rates(c)))
}

// closed says who closed connections first in the Window.
func (f *Facts) closed(c *Contributors) claim {
	if c.alone() {
		o := c.Most()
		return f.counted(Closes, c, fmt.Sprintf("%s closed %s first in the last %s", o.name(), output.Rate(f.perSecond(o.N)), output.Seconds(f.watched())))
	}
	return f.counted(Closes, c, fmt.Sprintf("closed %s first in the last %s: %s", output.Rate(f.perSecond(c.Total)), output.Seconds(f.watched()), f.rates(c)))
}

// listens says who listens, if a trace knows.
func (f *Facts) listens(l *Listener) claim {
	if !l.Owner.Known() {
		return claim{}
	}
	o := Contributor{Process: l.Owner, PIDs: l.PIDs, N: 1}
	return f.counted(Holds, one(o), o.name()+" "+o.does("listens", "listen")+" there")
}

// holding says who holds things now, such as "ports".
func (f *Facts) holding(c *Contributors, what string) claim {
	if o := c.Most(); c.alone() && o.Guessed == 0 {
		return f.counted(Holds, c, fmt.Sprintf("%s %s %s %s", o.name(), o.does("holds", "hold"), output.Count(o.N), what))
	}
	return f.counted(Holds, c, fmt.Sprintf("%s %s are held now: %s", output.Count(c.Total), what, c.counts()))
}

// failing says whose calls failed in the Window, and who of them is only the victim.
func (f *Facts) failing(d *Destination) claim {
	c := &d.Failers
	var victims []string
	for _, o := range c.List {
		if f.victim(d, o) {
			victims = append(victims, o.name())
		}
	}
	words := "found no free port: " + f.rates(c)
	switch n, o := len(victims), c.Most(); {
	case n == 1 && c.alone():
		words = fmt.Sprintf("%s is the victim: %s of its calls failed, %s, and none succeeded in the last %s",
			o.name(), output.Count(o.N), output.Rate(f.perSecond(o.N)), output.Seconds(f.watched()))
	case n == 1:
		words += "; " + victims[0] + " only fails, so it is a victim"
	case n > 1:
		words += "; " + strings.Join(victims[:min(n, maxNamed)], ", ") + " only fail, so they are victims"
	}
	v := f.counted(Fails, c, words)
	for i, o := range c.List {
		v.shares[i].Victim = f.victim(d, o)
	}
	return v
}

// victim reports whether a program that fails takes no part in what fills d: it opened
// nothing and holds nothing and, where nobody knows who holds the ports, what fails now
// would not take half of them if it succeeded.
func (f *Facts) victim(d *Destination, o Contributor) bool {
	if d.Openers.Part(o.Process) > 0 || d.Holders.Part(o.Process) > 0 {
		return false
	}
	return 2*d.Holders.unknown() < d.Holders.Total || 2*f.perMinute(d.Failers.Total) < float64(d.Holders.Total)
}

// perMinute is how many ports a count of the Window takes, if each is held for a minute.
func (f *Facts) perMinute(n uint64) float64 { return f.perSecond(n) * event.TimeWaitLen.Seconds() }

// holders says who holds the ports of d, where its openers do not say it already; or that
// nobody knows, and who is likely.
func (f *Facts) holders(d *Destination) claim {
	v := f.holding(&d.Holders, "ports")
	unknown, demand := d.Holders.unknown(), d.Openers.Total+d.Failers.Total
	asNow := 2*unknown >= d.Holders.Total && f.perMinute(demand) >= float64(d.Holders.Total)
	switch {
	case d.Holders.Total == 0:
		return v
	case len(d.Holders.List) == 0:
		v.words = "who holds the ports is not known: what is older than the trace has no owner"
		if asNow {
			break
		}
		if v.likely = f.likely(d); v.likely != nil {
			v.words += "; likely " + v.likely.name() + " (a guess: " + v.likely.Reason + ")"
		}
	case 10*unknown < d.Holders.Total && sameOrder(d.Openers.List, d.Holders.List):
		v.words = ""
	}
	if asNow {
		v.words += fmt.Sprintf("; a guess: the same programs as now, whose connects, %s, would take %s ports in a minute",
			output.Rate(f.perSecond(demand)), output.Count(uint64(f.perMinute(demand))))
	}
	return v
}

// sameOrder reports whether the same programs have the largest parts, in the same order.
func sameOrder(a, b []Contributor) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range min(len(a), maxNamed) {
		if ProgramOf(a[i].Process) != ProgramOf(b[i].Process) {
			return false
		}
	}
	return true
}

// users says who uses the ports of d: who opened, who found none, and who holds them.
func (f *Facts) users(d *Destination) []claim {
	return []claim{f.opened(&d.Openers), f.failing(d), f.holders(d)}
}

// biggest is the program that opens most to d or, if none does, holds most.
func (d *Destination) biggest() Contributor {
	if o := d.Openers.Most(); o.N > 0 {
		return o
	}
	return d.Holders.Most()
}

// does is the form of a verb that fits one process or many.
func (o *Contributor) does(one, several string) string { return verb(max(o.PIDs, 1), one, several) }

// one is a single program as all contributors of a count.
func one(o Contributor) *Contributors { return &Contributors{List: []Contributor{o}, Total: o.N} }

// whose is the name of the largest contributor for a short line: with its pid if it is one
// process, else with their number, and how many other programs there are.
func (x *Finding) whose() string {
	if x.Scope.Comm == "" {
		return ""
	}
	if len(x.Contributors) == 0 {
		return nameWithPID(x.Scope.Comm, x.Scope.PID)
	}
	s := x.Contributors[0]
	name := nameWithPID(s.Comm, s.PID)
	if s.PID == 0 && s.Processes > 1 {
		name += ", " + output.Count(uint64(s.Processes)) + " processes"
	}
	others := 0
	for _, o := range x.Contributors[1:] {
		if o.Part == s.Part {
			others++
		}
	}
	if others > 0 {
		name += fmt.Sprintf(", +%d more", others)
	}
	if s.Victim {
		name = "victim: " + name
	}
	return name
}

// nameWithPID is nginx[12], or nginx if the pid is 0.
func nameWithPID(comm string, pid uint32) string {
	if pid == 0 {
		return comm
	}
	return fmt.Sprintf("%s[%d]", comm, pid)
}

// peerAt is the other end of connections, which is no program that twtrace could name.
func peerAt(who string, at netip.AddrPort, does string) Who {
	return Who(who + " " + at.String() + ": " + does)
}

// traceItself is who does not see something.
func traceItself(seen time.Duration) Who {
	return Who("this trace, which has run for " + output.Seconds(seen))
}

// contributor is what an owner contributes to a count.
func (o *Owner) contributor(n uint64) Contributor {
	return Contributor{Process: o.Process, PIDs: o.PIDs, About: o.About, N: n}
}

// whoListens is who listens where nobody knows it.
func (f *Facts) whoListens() Who {
	return Who("not known; " + f.show("ss -tlnp") + " shows who listens there")
}
