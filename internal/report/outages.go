package report

import (
	"cmp"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// outageGap is how long no call fails between two outages. Within it, or as long as nothing
// is free, they are one: who calls seldom fails seldom.
const outageGap = int64(10 * time.Second)

// maxFailers bounds the programs, and the processes of each, that are kept of an outage.
const maxFailers = 64

// outage is a time in which calls failed for want of a port, or the kernel refused TIME_WAIT.
type outage struct {
	key         pressure.Key
	first, last int64 // failures, ns since the epoch
	n           uint64
	full        int64 // the last sample that found it lasting
	over        int64 // when it was over, by the samples; 0: they found no end
	lasts       bool  // by the last sample
	who         map[string]*failer
}

// failer is a program whose calls failed.
type failer struct {
	n    uint64
	pids map[uint32]struct{}
}

// outages are those of a recording, counted call by call.
type outages struct {
	list []*outage
	open map[pressure.Key]*outage
	left uint64 // outages that there was no room for
}

// refusal is what e found used up; ok is false if it is no such failure.
func refusal(e *event.Event) (k pressure.Key, ok bool) {
	k = pressure.Key{NetNS: e.NetNS, Local: e.Local.Addr(), Remote: e.Remote}
	switch {
	case e.Kind == event.TimeWaitRefused:
		return pressure.Key{What: pressure.Buckets, NetNS: e.NetNS}, true
	case e.Kind != event.Fail:
		return k, false
	case e.Call == event.Bind && e.Errno == event.EADDRINUSE && e.Local.Port() == 0:
		return pressure.Key{What: pressure.LocalPorts, NetNS: e.NetNS, Local: k.Local}, true
	}
	return k, e.Call == event.Connect && e.Cause == event.NoPort
}

func (o *outages) add(e *event.Event) {
	k, ok := refusal(e)
	if !ok {
		return
	}
	v := o.open[k]
	if v == nil || e.Time-max(v.last, v.full, v.over) > outageGap {
		if len(o.list) >= maxHeld {
			o.left++
			return
		}
		v = &outage{key: k, first: e.Time, who: make(map[string]*failer)}
		if o.list = append(o.list, v); o.open == nil {
			o.open = make(map[pressure.Key]*outage)
		}
		o.open[k] = v
	}
	v.n++
	v.first, v.last = min(v.first, e.Time), max(v.last, e.Time)
	v.failed(e.Process)
}

func (v *outage) failed(p event.Proc) {
	f := v.who[p.Comm]
	if f == nil {
		if len(v.who) >= maxFailers {
			return
		}
		f = &failer{pids: make(map[uint32]struct{})}
		v.who[p.Comm] = f
	}
	if f.n++; p.PID != 0 && len(f.pids) < maxFailers {
		f.pids[p.PID] = struct{}{}
	}
}

// see takes a sample of what was used up into account.
func (o *outages) see(now int64, g *pressure.Gauge) {
	v := o.open[g.Key]
	if v == nil || g.Outage.From == 0 {
		return
	}
	if v.lasts = g.Outage.Lasts(); v.lasts {
		v.full = now
	} else if g.Outage.To > v.last {
		v.over = g.Outage.To
	}
}

// end is when an outage was over, 0 if it lasts at now, the end of the recording.
func (v *outage) end(now int64) int64 {
	if v.lasts && now-max(v.full, v.last) < outageGap {
		return 0
	}
	return max(v.last, v.over)
}

// report lists the outages by time.
func (o *outages) report(now int64, names namer) []Outage {
	out := []Outage{}
	for _, v := range o.list {
		k := v.key
		x := Outage{What: k.What.String(), NetNS: k.NetNS, NetNSName: names.of(k.NetNS), Raddr: addrText(k.Remote.Addr()), Rport: k.Remote.Port(),
			Begin: stamp(v.first), N: v.n, Shares: v.shares(), key: k, from: v.first, to: v.end(now)}
		if k.What != pressure.Buckets {
			x.Laddr = addrText(k.Local)
		}
		if x.to != 0 {
			x.End = stamp(x.to)
		}
		x.Duration = milli(time.Duration(cmp.Or(x.to, now) - v.first))
		out = append(out, x)
	}
	slices.SortStableFunc(out, func(a, b Outage) int { return cmp.Compare(a.from, b.from) })
	return out
}

// shares are the programs whose calls failed, the most first.
func (v *outage) shares() []Share {
	var out []Share
	for comm, f := range v.who {
		s := Share{Role: string(advice.Fails), Comm: safe(comm), Processes: uint64(len(f.pids)), N: f.n, Share: float64(f.n) / float64(v.n)}
		if len(f.pids) == 1 {
			for s.PID = range f.pids {
			}
		}
		if comm != "" {
			out = append(out, s)
		}
	}
	slices.SortFunc(out, func(a, b Share) int { return cmp.Or(cmp.Compare(b.N, a.N), cmp.Compare(a.Comm, b.Comm)) })
	return out
}

// outageSection is the first table of the page: when calls failed, for how long and how many.
func (r *Report) outageSection() section {
	t := table{Caption: "Outages in order", Omitted: omitted(r.Omitted.Outages, "outages"),
		Columns: slices.Concat(left(r.zoned("start"), "end"), right("length", "failures"), left("what failed", "namespace", "where", "whose calls"))}
	for i := range r.Outages {
		o := &r.Outages[i]
		end := "still active at end of recording"
		if o.End != "" {
			end = r.when(o.End)
		}
		begin := text(r.when(o.Begin))
		begin.Zoom = r.around(o.from, o.to)
		t.add(begin, wrap(end), text(seconds(o.Duration)), count(o.N), text(o.words()), code(r.space(o.NetNS)), names(flow(o.Laddr, o.Raddr, o.Rport)), names(shareWords(o.Shares)))
	}
	return section{ID: "outages", Title: "Outages", Tables: []table{t}, Empty: "No call failed for want of a port, and the kernel refused no TIME_WAIT socket.",
		Intro: "From the first failure to when something was free again. Failures less than 10 s apart are one outage."}
}

// words say what was used up.
func (o *Outage) words() string {
	switch o.What {
	case pressure.Buckets.String():
		return "TIME_WAIT refused"
	case pressure.LocalPorts.String():
		return "bind()"
	}
	return "connect()"
}

// maxShares is how many programs a cell names.
const maxShares = 4

// shareWords are programs with their shares: nginx (2 processes) 91%, orders[7] 9%.
func shareWords(list []Share) string {
	words := ""
	for i, s := range list {
		if i == maxShares {
			return words + omittedPrograms(len(list)-i)
		}
		if i > 0 {
			words += ", "
		}
		words += programName(s.Comm, s.PID, s.Processes, 0)
		if s.Share < 1 {
			words += " " + shareText(s.Share)
		}
	}
	return words
}

// allOutages are the outages by the calls that failed; where the recording has none of
// these, the last one of each storm.
func (b *Builder) allOutages(names namer) []Outage {
	out := b.outages.report(b.time.now, names)
	if len(out) > 0 {
		return out
	}
	for _, s := range b.storms.list {
		if s.lastFrom == 0 {
			continue
		}
		o := Outage{What: s.Reason, NetNS: s.NetNS, NetNSName: names.of(s.NetNS), Laddr: s.Laddr, Raddr: s.Raddr, Rport: s.Rport, Begin: stamp(s.lastFrom), N: s.Fails, from: s.lastFrom, to: s.lastTo}
		if o.to != 0 {
			o.End = stamp(o.to)
		}
		o.Duration = milli(time.Duration(cmp.Or(o.to, b.time.now) - o.from))
		out = append(out, o)
	}
	return out
}
