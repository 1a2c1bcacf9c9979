package advice

import (
	"cmp"
	"fmt"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// unknownOwner stands for an owner that /proc and sock_diag do not show.
const unknownOwner = "not known: the kernel keeps no owner of TIME_WAIT (TW900 says how to see it)"

// earlierOwner stands for one that a trace did not see.
const earlierOwner = "not known: they were there before the trace"

// named is a process with what runs it, as far as that is known.
func named(p event.Proc) string {
	if !p.Known() && p.Comm == "" {
		return "a process that is not known"
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

// parentOf is who started a process, "" if that is not known.
func parentOf(p event.Proc) string {
	switch w := p.Who; {
	case w == nil || w.PComm == "":
		return ""
	case w.PPID == 0: // they have several of that name
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

// ofMany narrows a scope to processes of a name: a pid stands for one alone.
func (s Scope) ofMany(p event.Proc, pids int) Scope {
	s = s.of(p)
	if pids > 1 {
		s.PID = 0
	}
	return s
}

// closedHere is how many of the connections whose closer is known this side closed
// first, and of how many.
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

// flowInWords is what the connections of one owner are like.
func (f *Facts) flowInWords(v *Flow) string {
	words := output.Rate(f.perSecond(v.Opens)) + " opened"
	if v.LifeP50 > 0 {
		words += ", half of them live for less than " + output.Duration(int64(v.LifeP50))
	}
	if n, of := v.closedHere(); of > 0 {
		words += ", " + output.Percent(n, of) + " closed from here first"
	}
	return words
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
