package metrics

import (
	"cmp"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// maxFailures is how many kinds of failures of owners have series of their own, for each
// owner that may have any.
const maxFailures = 2

// ownerKey names an owner: the values of its labels.
type ownerKey struct {
	comm, unit, container, pod string
	role                       event.Role
}

func (k ownerKey) compare(o ownerKey) int {
	return cmp.Or(strings.Compare(k.comm, o.comm), strings.Compare(k.unit, o.unit), strings.Compare(k.container, o.container),
		strings.Compare(k.pod, o.pod), cmp.Compare(k.role, o.role))
}

// ownerOf is the owner of a group.
func ownerOf(g *conn.Group) ownerKey {
	k := ownerKey{role: g.Role}
	switch {
	case g.Kind == conn.GroupOther:
		k.comm, k.role = other, event.RoleNone
		return k
	case g.Owner.Comm == "":
		k.comm = nobody
		return k
	}
	k.comm = clean(g.Owner.Comm)
	if w := g.Owner.Who; w != nil {
		k.unit, k.container, k.pod = clean(w.Unit), clean(cmp.Or(w.ContainerName, w.Container)), clean(cmp.Or(w.PodName, w.Pod))
	}
	return k
}

// The counters of an owner.
const (
	countOpened = iota
	countShort
	countClosed // by the side that closed first: event.Side more
	counts      = countClosed + int(event.BothSides) + 1
)

// families are counters whose sum over all owners is a total of the table.
var families = [...]struct {
	metric   *metric
	from, to int
	total    func(*conn.Counters) uint64
}{
	{opened, countOpened, countOpened + 1, func(c *conn.Counters) uint64 { return c.Opens }},
	{shortLived, countShort, countShort + 1, func(c *conn.Counters) uint64 { return c.Short }},
	{closed, countClosed, counts, func(c *conn.Counters) uint64 { return c.Ends }},
}

// owner is the connections of one owner in one role.
type owner struct {
	key    ownerKey
	member bool // it has series of its own
	count  [counts]uint64
	fails  []failure

	// At the sample that is taken.
	delta      [counts]int64
	failDeltas []failure
	open, tw   uint64
	alive      uint64
	seen       bool // the table has a group of it

	size   float64 // what happened, weighed by age
	since  int64   // when it got its series, ns since the epoch
	last   int64   // when the table last had a group of it
	folded bool    // it is counted as one without room

	labels   pairs
	byCloser [event.BothSides + 1]pairs
}

// failure is how often a call failed in one way.
type failure struct {
	call   event.Call
	errno  uint16
	cause  event.Cause
	rest   bool // those that the table does not tell apart
	n      uint64
	labels pairs
}

func (f *failure) same(o *failure) bool {
	return f.call == o.call && f.errno == o.errno && f.cause == o.cause && f.rest == o.rest
}

// fail adds n failures like f to a list.
func fail(list []failure, f failure) []failure {
	for i := range list {
		if list[i].same(&f) {
			list[i].n += f.n
			return list
		}
	}
	return append(list, f)
}

// noPort is the failure that alerts ask for.
var noPort = failure{call: event.Connect, errno: event.EADDRNOTAVAIL, cause: event.NoPort}

// past is what a group had counted at the sample before.
type past struct {
	opens, ends, short uint64
	closer             [event.BothSides + 1]uint64
	fails              conn.Fails
	owner              *owner
	who                *event.Who // what owner was made of, with comm and role
	comm               string
	role               event.Role
	stamp              uint64
}

// owners follow who opens and closes connections.
type owners struct {
	most    int // owners with series of their own
	basic   bool
	all     map[ownerKey]*owner
	list    []*owner // those of all, the members first in the order in which they became so
	other   [event.Server + 1]*owner
	groups  map[uint64]*past
	stamp   uint64
	at      int64
	before  conn.Counters         // of the table, at the sample before
	owed    [len(families)]int64  // of what was counted too often: it is taken off what comes next
	retired [len(families)]uint64 // counts of owners that gave their series up
	gone    uint64                // failures of those

	replaced    int64 // when one owner last took the place of another
	folded      uint64
	failsFolded uint64
	kinds       int // failures of members that have series
}

func newOwners(most int, basic bool) *owners {
	o := &owners{most: most, basic: basic, all: make(map[ownerKey]*owner), groups: make(map[uint64]*past)}
	for role := range o.other {
		o.other[role] = &owner{key: ownerKey{comm: other, role: event.Role(role)}}
		o.name(o.other[role])
	}
	o.expect(o.other[event.Client])
	return o
}

// restart forgets the groups of a table, and goes on counting with those of another.
func (o *owners) restart() {
	clear(o.groups)
	o.before = conn.Counters{}
}

// name makes the labels of an owner's series.
func (o *owners) name(w *owner) {
	role := roleName(w.key.role)
	values := []string{w.key.comm, w.key.unit, w.key.container, w.key.pod}
	detail := Full
	if o.basic {
		values, detail = nil, Basic
	}
	w.labels = label(opened.labelsAt(detail), append(slices.Clone(values), role)...)
	for side := range w.byCloser {
		w.byCloser[side] = label(closed.labelsAt(detail), append(slices.Clone(values), role, sideName(event.Side(side)))...)
	}
}

// expect has the series of connects that find no port start at 0, so that the first of
// them are an increase.
func (o *owners) expect(w *owner) {
	if w.key.role == event.Client {
		w.fails = fail(w.fails, noPort)
	}
}

// observe takes a snapshot into account. If reset, the table has forgotten which side
// closed.
func (o *owners) observe(s *conn.Snapshot, reset bool) {
	o.stamp++
	for _, w := range o.list {
		w.clear()
	}
	for _, w := range o.other {
		w.clear()
	}
	for i := range s.Groups {
		o.add(&s.Groups[i], reset, s.At)
	}
	for id, p := range o.groups {
		if p.stamp != o.stamp {
			delete(o.groups, id)
		}
	}
	o.weigh(s.At)
	o.choose(s.At)
	o.pour(s)
	o.before, o.at = s.Totals.Counters, s.At
}

func (w *owner) clear() {
	w.delta, w.open, w.tw, w.alive, w.seen = [counts]int64{}, 0, 0, 0, false
	w.failDeltas = w.failDeltas[:0]
}

// add counts what has happened in a group since the sample before.
func (o *owners) add(g *conn.Group, reset bool, now int64) {
	p := o.groups[g.ID]
	if p == nil {
		p = new(past)
		o.groups[g.ID] = p
	}
	if p.owner == nil || p.who != g.Owner.Who || p.comm != g.Owner.Comm || p.role != g.Role {
		p.owner = o.of(ownerOf(g))
		p.who, p.comm, p.role = g.Owner.Who, g.Owner.Comm, g.Role
	}
	if reset {
		p.closer = [event.BothSides + 1]uint64{}
	}
	p.stamp = o.stamp
	w := p.owner
	w.seen, w.last = true, now
	w.open += g.Counters.Open()
	w.tw += g.TimeWait
	w.alive += g.Alive()
	w.delta[countOpened] += int64(g.Opens - p.opens)
	w.delta[countShort] += int64(g.Short - p.short)
	ends := int64(g.Ends - p.ends)
	for side := event.LocalSide; side <= event.BothSides; side++ {
		n := int64(g.Closer[side] - p.closer[side])
		w.delta[countClosed+int(side)] += n
		ends -= n
	}
	w.delta[countClosed] += ends
	for i, f := range g.Fails.By {
		if n := f.N - p.fails.By[i].N; n > 0 {
			w.failDeltas = fail(w.failDeltas, failure{call: f.Call, errno: knownErrno(f.Errno), cause: f.Cause, n: n})
		}
	}
	if n := g.Fails.Other - p.fails.Other; n > 0 {
		w.failDeltas = fail(w.failDeltas, failure{rest: true, n: n})
	}
	p.opens, p.ends, p.short, p.closer, p.fails = g.Opens, g.Ends, g.Short, g.Closer, g.Fails
}

// of returns the owner of a key.
func (o *owners) of(k ownerKey) *owner {
	if k.comm == other {
		return o.other[k.role]
	}
	w := o.all[k]
	if w == nil {
		w = &owner{key: k}
		o.all[k] = w
		o.list = append(o.list, w)
	}
	return w
}

// points adds those of all owners with series, and of _other.
func (o *owners) points(b *batch) {
	for _, w := range o.list {
		if w.member {
			o.pointsOf(b, w)
		}
	}
	for _, w := range o.other {
		o.pointsOf(b, w)
	}
}

func (o *owners) pointsOf(b *batch, w *owner) {
	b.add(opened, w.labels, float64(w.count[countOpened]))
	b.add(shortLived, w.labels, float64(w.count[countShort]))
	for side, labels := range w.byCloser {
		if n := w.count[countClosed+side]; n > 0 || w.key.comm == other {
			b.add(closed, labels, float64(n))
		}
	}
	b.add(open, w.labels, float64(w.open))
	b.add(ownerTW, w.labels, float64(w.tw))
	for i := range w.fails {
		f := &w.fails[i]
		if f.labels == nil {
			f.labels = o.failLabels(w, f)
		}
		b.add(failed, f.labels, float64(f.n))
	}
}

func (o *owners) failLabels(w *owner, f *failure) pairs {
	values, detail := []string{w.key.comm, w.key.unit, w.key.container, w.key.pod}, Full
	if o.basic {
		values, detail = nil, Basic
	}
	return label(failed.labelsAt(detail), append(append(values, roleName(w.key.role)), f.values()...)...)
}
