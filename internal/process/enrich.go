package process

import (
	"github.com/twtrace/twtrace/internal/event"
)

// enrichedMax bounds what an Enricher remembers, in processes.
const enrichedMax = 1 << 16

// Enricher completes the processes of events. It is for one goroutine.
type Enricher struct {
	r     *Resolver
	known map[*event.Who]enriched // what a source tells of a process is one thing to all its events
	names Names
}

// Names counts processes whose details are not all in the records about them.
type Names struct {
	Gone      uint64 // it had ended before /proc was read: no executable is known
	Throttled uint64 // too many were new at a time, see Lookup, or it took too long
}

type enriched struct {
	who  *event.Who
	done bool
	late bool // counted as throttled
}

// NewEnricher returns one that asks r.
func NewEnricher(r *Resolver) *Enricher {
	return &Enricher{r: r, known: make(map[*event.Who]enriched)}
}

// Complete completes the processes of e with what is known by now, and reports
// whether more of them is coming. It never waits.
func (n *Enricher) Complete(e *event.Event) (more bool) {
	for _, p := range [...]*event.Proc{&e.Process, &e.Opener, &e.Accepter, &e.CloseProc} {
		if p.Start() != 0 && n.complete(p) {
			more = true
		}
	}
	return more
}

// Late counts the processes of e that are not complete, once each: the event goes
// on without them.
func (n *Enricher) Late(e *event.Event) {
	for _, p := range [...]event.Proc{e.Process, e.Opener, e.Accepter, e.CloseProc} {
		if p.Start() != 0 {
			n.late(p)
		}
	}
}

func (n *Enricher) late(p event.Proc) {
	if w := n.known[p.Who]; !w.done && !w.late {
		w.late = true
		n.remember(p.Who, w)
		n.names.Throttled++
	}
}

func (n *Enricher) complete(p *event.Proc) (more bool) {
	was := n.known[p.Who]
	if was.done {
		p.Who = was.who
		return false
	}
	info, got := n.r.find(keyOf(*p))
	if got == refused {
		n.late(*p)
	}
	if got != all {
		return got == coming
	}
	if info.Gone {
		n.names.Gone++
	}
	now := info.over(p.Who)
	n.remember(p.Who, enriched{who: now, done: true})
	n.remember(now, enriched{who: now, done: true}) // it may come again, out of a table
	p.Who = now
	return false
}

func (n *Enricher) remember(told *event.Who, w enriched) {
	if len(n.known) >= enrichedMax {
		clear(n.known)
	}
	n.known[told] = w
}

// Names returns the counts so far.
func (n *Enricher) Names() Names { return n.names }

// Describe returns p with all that can be found out of it, and waits for /proc.
// Without a start time it is p as it is.
func (r *Resolver) Describe(p event.Proc) event.Proc {
	if p.Start() == 0 {
		return p
	}
	info, _ := r.Resolve(keyOf(p)) // whatever the error, it tells what is known
	p.Who = info.over(p.Who)
	return p
}

func keyOf(p event.Proc) Key {
	return Key{PID: p.PID, Start: p.Who.Start, Comm: p.Comm, Cgroup: p.Who.CgroupID}
}

// over returns what a hook told of a process with what was found out since. The
// hook knows better who it was at the call.
func (i *Info) over(told *event.Who) *event.Who {
	w := *told
	if !w.HasUID {
		w.UID, w.HasUID = i.UID, i.HasUID
	}
	if w.PPID == 0 {
		w.PPID, w.PComm = i.PPID, i.PComm
	}
	w.Exe, w.Cmdline = i.Exe, i.Cmdline
	w.Cgroup, w.Unit, w.Pod = i.Cgroup, i.Unit, i.Pod
	w.Container, w.ContainerName, w.Runtime = i.Container, i.ContainerName, i.Runtime
	if w.PodName = i.PodName; w.PodName != "" && i.PodNamespace != "" {
		w.PodName = i.PodNamespace + "/" + i.PodName
	}
	return &w
}
