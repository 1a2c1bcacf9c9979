package report

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// Setting is a sysctl that was changed while the recording ran.
type Setting struct {
	At     time.Time // when its new value was read
	After  time.Time // when its old value was read last; zero if that is not known
	NetNS  uint32
	Name   string
	Before string
	Value  string
}

// maxChanges and maxEvents bound what is listed.
const (
	maxChanges = 100
	maxEvents  = 200
)

// changes are the settings that changed in the time of the report.
func (b *Builder) changes(end *End, names namer) []Change {
	out := []Change{}
	for _, s := range end.Changes {
		at := s.At.UnixNano()
		if at < b.time.begin || at > b.time.now {
			continue
		}
		c := Change{At: stamp(at), NetNS: s.NetNS, NetNSName: names.of(s.NetNS), Name: safe(s.Name), Before: safe(s.Before), Value: safe(s.Value), at: at, since: at}
		if !s.After.IsZero() {
			c.since = max(s.After.UnixNano(), b.time.begin)
			within := milli(s.At.Sub(s.After))
			c.Within = &within
		}
		out = append(out, c)
	}
	return out
}

// short is a sysctl without what all of them start with.
func short(name string) string { return strings.TrimPrefix(name, "net.ipv4.") }

// words are what changed: tcp_tw_reuse 2 -> 1.
func (c *Change) words() string {
	return fmt.Sprintf("%s %s -> %s", short(c.Name), orDash(c.Before), orDash(c.Value))
}

// late says up to when c may have changed, "" if that is no later than a second.
func (r *Report) late(c *Change) string {
	switch {
	case c.Within == nil:
		return ", or some seconds earlier"
	case *c.Within >= 2:
		return ", between then and " + r.when(c.At)
	}
	return ""
}

// happening is a line of what happened.
type happening struct {
	at       int64 // ns since the epoch
	zoom     *span
	severity string
	what     string
	where    string
	text     string
}

// happenings are what happened, in order.
func (r *Report) happenings() []happening {
	var out []happening
	add := func(h happening) { out = append(out, h) }
	for i := range r.Storms {
		r.stormHappens(&r.Storms[i], add)
	}
	for i := range r.Outages {
		r.outageHappens(&r.Outages[i], add)
	}
	for i := range r.Changes {
		c := &r.Changes[i]
		add(happening{c.since, r.around(c.since, c.at), "", "sysctl changed", r.space(c.NetNS), c.words() + r.late(c)})
	}
	for _, l := range r.lost {
		add(happening{l.at, nil, "", "events lost", "", output.Count(l.n) + " events lost"})
	}
	slices.SortStableFunc(out, func(a, b happening) int { return cmp.Compare(a.at, b.at) })
	return out
}

// place is a namespace and a flow.
func (r *Report) place(netns uint32, laddr, raddr string, rport uint16) string {
	return strings.TrimSpace(r.space(netns) + " " + flow(laddr, raddr, rport))
}

func (r *Report) stormHappens(s *Storm, add func(happening)) {
	where := r.place(s.NetNS, s.Laddr, s.Raddr, s.Rport)
	for i, g := range s.grades {
		h := happening{g.from, nil, g.severity, "storm starts", where, s.Reason + "; " + s.who()}
		if i > 0 {
			h.what, h.text = "storm", "its severity is "+severityWord(g.severity)+" from here on"
		}
		add(h)
	}
	if s.to != 0 {
		add(happening{s.to, nil, "", "storm ends", where, s.Reason + ", after " + seconds(float64(s.to-s.from)/1e9)})
	}
}

// first says what failed first in an outage.
func (o *Outage) first() string {
	if o.What == pressure.Buckets.String() {
		return "the kernel refuses TIME_WAIT: bucket limit reached"
	}
	return o.words() + " finds no free port"
}

func (r *Report) outageHappens(o *Outage, add func(happening)) {
	where := r.place(o.NetNS, o.Laddr, o.Raddr, o.Rport)
	add(happening{o.from, r.around(o.from, o.to), event.Crit.String(), "outage starts", where, o.first()})
	if o.to != 0 {
		add(happening{o.to, nil, "", "outage ends", where, "after " + seconds(o.Duration) + " and " + plural(o.N, "failure", "failures")})
	}
}

// around is a time with a little around it; to 0 is the end of the recording.
func (r *Report) around(from, to int64) *span {
	a, b := epochSeconds(from), epochSeconds(to)
	if to == 0 {
		b = r.Series.end()
	}
	if len(r.Series.Time) == 0 {
		return nil
	}
	by := max((b-a)/10, 2*r.Series.Step)
	return &span{max(a-by, r.Series.Time[0]), min(b+by, r.Series.end())}
}

func (r *Report) eventSection() section {
	t := table{Caption: "Outages, storms, changed sysctls and losses in order", Columns: left(r.zoned("time"), "what", "where", "details")}
	all := r.happenings()
	list, left := first(all, maxEvents)
	for _, h := range list {
		at, what := text(r.when(stamp(h.at))), text(h.what)
		if at.Zoom = h.zoom; h.severity != "" {
			what.Mark = h.severity
		}
		t.add(at, what, names(h.where), wrap(h.text))
	}
	t.Omitted = omitted(left, "events")
	return section{ID: "events", Title: "What happened", Tables: []table{t}, Empty: "No outage, no storm, and no sysctl changed."}
}

// maxLost bounds the times of losses that are kept.
const maxLost = 50

// loss is events lost in one second.
type loss struct {
	at int64
	n  uint64
}

// losing notes when events were lost.
func (b *Builder) losing(e *event.Event) {
	if n := len(b.lostAt); n > 0 && (e.Time-b.lostAt[n-1].at < int64(time.Second) || n == maxLost) {
		b.lostAt[n-1].n += e.Count
		return
	}
	b.lostAt = append(b.lostAt, loss{e.Time, e.Count})
}
