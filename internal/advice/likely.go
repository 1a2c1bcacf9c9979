package advice

import (
	"cmp"
	"slices"

	"github.com/twtrace/twtrace/internal/output"
)

// Likely is the program that holds ports by a guess, where no owner is known: it alone owns
// TCP sockets in the network namespace.
type Likely struct {
	Comm      string `json:"comm"`
	Unit      string `json:"unit,omitempty"`
	Pod       string `json:"pod,omitempty"`
	Processes int    `json:"processes,omitempty"` // that own the sockets; 0 if not known
	Sockets   uint64 `json:"sockets"`             // that it owns now, listening or connected; at least 1
	Reason    string `json:"reason"`              // in words

	by Contributor
}

// likely guesses who holds the ports of d, where nobody is known; nil if several programs may.
// Who only fails there is a victim, and no guess.
func (f *Facts) likely(d *Destination) *Likely {
	o := f.Traffic.Sole
	fails := slices.ContainsFunc(d.Failers.List, func(v Contributor) bool { return ProgramOf(v.Process) == ProgramOf(o.Process) })
	if o.N == 0 || o.Process.Comm == "" || fails {
		return nil
	}
	in := cmp.Or(f.space(), "this network namespace")
	reason := "the only program in " + in + " that owns a TCP socket"
	if o.N > 1 {
		reason = "the only program in " + in + " that owns TCP sockets, " + output.Count(o.N) + " in all"
	}
	scope := Scope{}.ofMany(o.Process, o.PIDs)
	return &Likely{Comm: scope.Comm, Unit: scope.Unit, Pod: scope.Pod, Processes: o.PIDs, Sockets: o.N, Reason: reason, by: o}
}

// name is the program, with the number of its processes if there are several. It has no pid:
// which process it was is not guessed.
func (l *Likely) name() string {
	o := l.by
	o.Process.PID = 0
	return o.name()
}
