package process

import (
	"github.com/twtrace/twtrace/internal/event"
)

// enrichedMax is the size of an Enricher's memory: two for each process, some 0.3 KiB each.
const enrichedMax = 8192

// Enricher completes the processes of events. It is for one goroutine.
type Enricher struct {
	r     *Resolver
	known *Cache[*event.Who, enriched] // all events of a process share the Who of their source
	names Names
}

// Names counts processes whose records lack details.
type Names struct {
	Gone      uint64 // it ended before the Resolver read /proc: no executable is known
	Throttled uint64 // too many processes were new at a time, or the answer took too long
}

type enriched struct {
	who  *event.Who
	done bool
	late bool // counted as throttled
}

// NewEnricher returns an Enricher that asks r.
func NewEnricher(r *Resolver) *Enricher {
	return &Enricher{r: r, known: NewCache[*event.Who, enriched](enrichedMax)}
}

// Complete completes the processes of e with what is known now, and reports whether
// more will be known soon. It never waits.
func (n *Enricher) Complete(e *event.Event) (more bool) {
	for _, p := range [...]*event.Proc{&e.Process, &e.Opener, &e.Accepter, &e.CloseProc} {
		if p.Start() != 0 && n.complete(p) {
			more = true
		}
	}
	return more
}

// Late counts the processes of e that are not complete, once each: the caller does
// not wait for them any longer.
func (n *Enricher) Late(e *event.Event) {
	for _, p := range [...]event.Proc{e.Process, e.Opener, e.Accepter, e.CloseProc} {
		if p.Start() != 0 {
			n.late(p)
		}
	}
}

func (n *Enricher) late(p event.Proc) {
	if w, _ := n.known.Get(p.Who); !w.done && !w.late {
		w.late = true
		n.known.Put(p.Who, w)
		n.names.Throttled++
	}
}

func (n *Enricher) complete(p *event.Proc) (more bool) {
	was, _ := n.known.Get(p.Who)
	if was.done {
		p.Who = was.who
		return false
	}
	info, got := n.r.find(keyOf(*p))
	if got == refused {
		n.late(*p)
	}
	if got != complete {
		return got == pending
	}
	if info.Gone {
		n.names.Gone++
	}
	now := info.over(p.Who)
	n.known.Put(p.Who, enriched{who: now, done: true})
	n.known.Put(now, enriched{who: now, done: true}) // a table may return it
	p.Who = now
	return false
}

// Names returns the counts so far.
func (n *Enricher) Names() Names { return n.names }

// Describe returns p with all that /proc has about it, and waits for that. Without a
// start time it returns p as it is.
func (r *Resolver) Describe(p event.Proc) event.Proc {
	if p.Start() == 0 {
		return p
	}
	info, _ := r.Resolve(keyOf(p)) // with any error, it has what is known
	p.Who = info.over(p.Who)
	return p
}

func keyOf(p event.Proc) Key {
	return Key{PID: p.PID, Start: p.Who.Start, Comm: p.Comm, Cgroup: p.Who.CgroupID}
}

// over returns what a hook knows about a process, completed by i. The hook knows
// better who the process was at the call.
func (i *Info) over(hook *event.Who) *event.Who {
	w := *hook
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
