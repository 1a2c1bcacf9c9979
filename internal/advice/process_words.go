package advice

import (
	"cmp"
	"fmt"
	"net/netip"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// ownerOf is what the processes of a program do in a role.
func (f *Facts) ownerOf(p event.Proc, role event.Role) (Owner, bool) {
	for _, o := range f.Traffic.Owners {
		if o.Role == role && p.Comm != "" && ProgramOf(o.Process) == ProgramOf(p) {
			return o, true
		}
	}
	return Owner{}, false
}

// at narrows a scope to the two ends, as far as there are any.
func (s Scope) at(local, remote netip.AddrPort) Scope {
	if local.IsValid() {
		s.Laddr, s.Lport = local.Addr().String(), local.Port()
	}
	if remote.IsValid() {
		s.Raddr, s.Rport = remote.Addr().String(), remote.Port()
	}
	return s
}

// unknownOwner is for an owner that /proc and sock_diag do not show.
const unknownOwner Who = "not known: the kernel keeps no owner for TIME_WAIT; `twtrace explain TW900` says how to see it"

// earlierOwner is for one that a trace did not see.
const earlierOwner Who = "not known: they are older than the trace"

// named is a process and its pod, container or unit, where known.
func named(p event.Proc) string {
	if !p.Known() && p.Comm == "" {
		return "an unknown process"
	}
	name := p.Comm
	if p.PID != 0 {
		name = fmt.Sprintf("%s[%d]", p.Comm, p.PID)
	}
	if place := placeOf(p.Who); place != "" {
		name += " of " + place
	}
	return name
}

// placeOf is the pod, the container or the unit that a process runs in.
func placeOf(w *event.Who) string {
	switch {
	case w == nil:
		return ""
	case w.PodName != "" || w.Pod != "":
		return "pod " + cmp.Or(w.PodName, w.Pod)
	case w.ContainerName != "" || w.Container != "":
		return "container " + cmp.Or(w.ContainerName, w.Container)
	}
	return w.Unit
}

// many is how many processes of a name there are, in words.
func many(p event.Proc, pids int, about bool) string {
	if pids <= 1 {
		return named(p)
	}
	count := output.Count(uint64(pids))
	if about {
		count = "about " + count
	}
	words := fmt.Sprintf("%s processes of %s", count, p.Comm)
	if place := placeOf(p.Who); place != "" {
		words += " of " + place
	}
	return words
}

// parentOf is who started a process, "" if unknown.
func parentOf(p event.Proc) string {
	switch w := p.Who; {
	case w == nil || w.PComm == "":
		return ""
	case w.PPID == 0: // there are several parents of that name
		return w.PComm
	default:
		return fmt.Sprintf("%s[%d]", w.PComm, w.PPID)
	}
}

// of narrows a scope to a process.
func (s Scope) of(p event.Proc) Scope {
	s.Comm, s.PID = p.Comm, p.PID
	if p.Who != nil {
		s.Unit, s.Pod = p.Who.Unit, cmp.Or(p.Who.PodName, p.Who.Pod)
	}
	return s
}

// ofMany narrows a scope to processes of a name; it has a pid if there is only one.
func (s Scope) ofMany(p event.Proc, pids int) Scope {
	s = s.of(p)
	if pids > 1 {
		s.PID = 0
	}
	return s
}

// closedHere is how many connections this side closed first, among of whose closer is
// known.
func (f *Flow) closedHere() (n, of uint64) {
	for side, c := range f.Closer {
		if event.Side(side) != event.SideNone {
			of += c
		}
	}
	return f.Closer[event.LocalSide], of
}

// perSecond is a count of the window as a rate.
func (f *Facts) perSecond(n uint64) float64 {
	if f.watched() <= 0 {
		return 0
	}
	return float64(n) / f.watched().Seconds()
}

// watched is over how long the traffic was counted.
func (f *Facts) watched() time.Duration { return cmp.Or(f.Traffic.Window, f.Window) }

// source is where numbers of sockets come from.
func (f *Facts) source() string {
	if f.Traced {
		return "trace"
	}
	return "sock_diag"
}

// flowInWords describes the connections of one owner.
func (f *Facts) flowInWords(v *Flow) string {
	var parts []string
	if v.Opens > 0 {
		parts = append(parts, output.Rate(f.perSecond(v.Opens))+" opened in the last "+output.Seconds(f.watched()))
	}
	if v.LifeP50 > 0 {
		parts = append(parts, "median life "+output.Duration(int64(v.LifeP50)))
	}
	switch n, of := v.closedHere(); {
	case n > 0:
		parts = append(parts, output.Percent(n, of)+" closed by this side first")
	case of > 0:
		parts = append(parts, "all closed by the peer first")
	}
	return strings.Join(parts, ", ")
}

// flowEvidence is the same for machines.
func (f *Facts) flowEvidence(v *Flow) []Evidence {
	list := []Evidence{{Name: "opens", Value: f.perSecond(v.Opens), Unit: "1/s", Source: "trace"}}
	if v.LifeP50 > 0 {
		list = append(list, Evidence{Name: "life_p50", Value: v.LifeP50.Seconds(), Unit: "s", Source: "trace"},
			Evidence{Name: "short_lived", Value: 100 * v.Short, Limit: 100, Unit: "%", Source: "trace"})
	}
	if n, of := v.closedHere(); of > 0 {
		list = append(list, Evidence{Name: "closed_here_first", Value: float64(n), Limit: float64(of), Unit: "connections", Source: "trace"})
	}
	return list
}
