package advice

import (
	"cmp"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// Program is the processes that count as one contributor: of the same name, in the same
// unit, container or pod.
type Program struct{ Comm, Unit, Container, Pod string }

// ProgramOf is the program of a process.
func ProgramOf(p event.Proc) Program {
	k := Program{Comm: p.Comm}
	if w := p.Who; w != nil {
		k.Pod, k.Container = cmp.Or(w.PodName, w.Pod), cmp.Or(w.ContainerName, w.Container)
		if k.Unit = w.Unit; k.Pod != "" {
			k.Unit, k.Container = "", ""
		} else if k.Container != "" {
			k.Unit = ""
		}
	}
	return k
}

// Contributor is the processes of one program and their part of a count.
type Contributor struct {
	Process event.Proc // the one with the largest part
	PIDs    int        // how many there are; 0 if not known
	About   bool       // PIDs is an estimate
	N       uint64
	Guessed uint64 // of N, what is its only by a guess (event.Inferred)
	Flow    Flow   // what its connections did; only of who opened them
	Pool    Pool   // how many it keeps; only of who opened them
}

// Contributors are all programs that have a part of one count, such as the connections
// opened to a destination in the Window. What no program is known for is in Total alone,
// so the parts add up to Total at most.
type Contributors struct {
	List  []Contributor // the largest part first, none of them 0
	Total uint64
}

// NewContributors are the programs that have a part of total, which is at least their sum.
// Each program comes once.
func NewContributors(parts []Contributor, total uint64) Contributors {
	c := Contributors{List: slices.DeleteFunc(parts, func(o Contributor) bool { return o.N == 0 || o.Process.Comm == "" })}
	sum := uint64(0)
	for _, o := range c.List {
		sum += o.N
	}
	c.Total = max(sum, total)
	c.sort()
	return c
}

// Add counts n for the program of p.
func (c *Contributors) Add(p event.Proc, pids int, n uint64) {
	c.Total += n
	if n == 0 || p.Comm == "" {
		return
	}
	i := slices.IndexFunc(c.List, func(o Contributor) bool { return ProgramOf(o.Process) == ProgramOf(p) })
	if i < 0 {
		c.List = append(c.List, Contributor{Process: p, PIDs: pids, N: n})
	} else {
		o := &c.List[i]
		if n > o.N {
			o.Process = p
		}
		o.N += n
		o.PIDs += pids
	}
	c.sort()
}

func (c *Contributors) sort() {
	slices.SortStableFunc(c.List, func(a, b Contributor) int {
		return cmp.Or(cmp.Compare(b.N, a.N), strings.Compare(a.Process.Comm, b.Process.Comm), cmp.Compare(a.Process.PID, b.Process.PID))
	})
}

// Most is the program with the largest part, the zero Contributor if none is known.
func (c *Contributors) Most() Contributor {
	if len(c.List) == 0 {
		return Contributor{}
	}
	return c.List[0]
}

// Part is the part of a program's processes, 0 if it has none.
func (c *Contributors) Part(p event.Proc) uint64 {
	for _, o := range c.List {
		if ProgramOf(o.Process) == ProgramOf(p) {
			return o.N
		}
	}
	return 0
}

// unknown is the part of the total that no program is known for.
func (c *Contributors) unknown() uint64 {
	rest := c.Total
	for _, o := range c.List {
		rest -= min(rest, o.N)
	}
	return rest
}

// alone reports whether one program has all of the total.
func (c *Contributors) alone() bool { return len(c.List) == 1 && c.List[0].N == c.Total }

// maxNamed is how many programs a sentence names.
const maxNamed = 4

// words names the programs, each with its part as how has it: "orders (42%), billing (32%)".
// Parts that belong to no known program are named at the end.
func (c *Contributors) words(how func(Contributor) string) string {
	var parts []string
	others := uint64(0)
	for i, o := range c.List {
		if i < maxNamed {
			parts = append(parts, o.name()+" "+how(o))
		} else {
			others += o.N
		}
	}
	if n := len(c.List) - maxNamed; n > 0 {
		parts = append(parts, plural(uint64(n), "other program")+" "+output.Percent(others, c.Total))
	}
	if rest := c.unknown(); rest > 0 && len(parts) > 0 {
		parts = append(parts, "not known "+output.Percent(rest, c.Total))
	}
	return strings.Join(parts, ", ")
}

// name is a contributor's name: with its pid if it is one process, else with their number.
func (o *Contributor) name() string {
	if n := o.processes(); n != "" {
		p := o.Process
		p.PID = 0
		return named(p) + " (" + n + ")"
	}
	return named(o.Process)
}

// processes is how many processes there are, "" if one.
func (o *Contributor) processes() string {
	switch {
	case o.PIDs <= 1:
		return ""
	case o.About:
		return "about " + output.Count(uint64(o.PIDs)) + " processes"
	}
	return output.Count(uint64(o.PIDs)) + " processes"
}

// ratesOf words each part as the program's own rate, with its share if there are several.
func (f *Facts) ratesOf(c *Contributors) func(Contributor) string {
	return func(o Contributor) string {
		rate := output.Rate(f.perSecond(o.N))
		if o.N == c.Total {
			return rate
		}
		return rate + " (" + output.Percent(o.N, c.Total) + ")"
	}
}

// rates names the programs with their own rates, and shares if there are several:
// "orders[11] 40/s (42%), billing[12] 30/s (31%)".
func (f *Facts) rates(c *Contributors) string { return c.words(f.ratesOf(c)) }

// counts names the programs with their counts, and shares if there are several.
func (c *Contributors) counts() string {
	return c.words(func(o Contributor) string {
		n := output.Count(o.N)
		if o.N != c.Total {
			n += " (" + output.Percent(o.N, c.Total) + ")"
		}
		if o.Guessed > 0 {
			n += ", " + output.Count(o.Guessed) + " of them a guess"
		}
		return n
	})
}
