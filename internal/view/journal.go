package view

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Journal remembers the events that the events tab shows. The zero Journal is ready.
type Journal struct {
	Name func(netns uint32) string // of network namespaces; nil if none has one

	at   map[incident]*Entry
	last uint64 // ID of an entry
}

// What a Journal keeps: so many entries. An event that repeats within joinFor counts
// in the entry there is.
const (
	journalLen = 300
	joinFor    = int64(10 * time.Second)
)

// incident is what makes two events the same.
type incident struct {
	kind   event.Kind
	reason event.Reason
	call   event.Call
	errno  uint16
	stage  event.Stage
	netns  uint32
	pid    uint32
	comm   string
	local  netip.Addr
	remote netip.AddrPort
	since  int64 // the first one's time
}

// Add takes an event, if it is one of those.
func (j *Journal) Add(e *event.Event) {
	if !notable(e) {
		return
	}
	k := incident{kind: e.Kind, reason: e.Reason, call: e.Call, errno: e.Errno, stage: e.Stage, netns: e.NetNS,
		pid: e.Process.PID, comm: e.Process.Comm, local: e.Local.Addr(), remote: e.Remote}
	if e.Role == event.Server {
		k.remote = netip.AddrPort{}
	}
	n := max(e.Count, 1)
	if v := j.at[k]; v != nil && e.Time-v.Time < joinFor {
		v.Count += n
		v.Time = max(v.Time, e.Time)
		return
	} else if v != nil { // it stays, under a name of its own
		old := k
		old.since = v.Time
		j.at[old] = v
	}
	if j.at == nil {
		j.at = make(map[incident]*Entry)
	}
	k.comm = strings.Clone(k.comm)
	j.last++
	v := &Entry{ID: j.last, Time: e.Time, First: e.Time, Count: n, Event: copied(e)}
	v.Severity, v.Text = words(e)
	if j.Name != nil {
		v.Event.NetNSName = j.Name(e.NetNS)
	}
	j.at[k] = v
	if len(j.at) > 2*journalLen {
		j.trim()
	}
}

// notable reports whether an event is shown: failures and rare ends.
func notable(e *event.Event) bool {
	switch e.Kind {
	case event.Fail, event.TimeWaitRefused, event.Lost, event.StormStart, event.StormUpdate, event.StormEnd:
		return true
	case event.Close:
		return e.Reason == event.Timeout || e.Reason == event.FinWait2Timeout
	case event.TimeWaitExit:
		return e.Reason == event.Reset || e.Reason == event.Destroyed || e.Reason == event.NetnsExit
	}
	return false
}

// trim forgets the older half.
func (j *Journal) trim() {
	times := make([]int64, 0, len(j.at))
	for _, v := range j.at {
		times = append(times, v.Time)
	}
	slices.Sort(times)
	for k, v := range j.at {
		if v.Time < times[len(times)/2] {
			delete(j.at, k)
		}
	}
}

// Entries are the latest, the last one first.
func (j *Journal) Entries() []Entry {
	out := make([]Entry, 0, len(j.at))
	for _, v := range j.at {
		out = append(out, *v)
	}
	slices.SortFunc(out, func(a, b Entry) int { return cmp.Or(cmp.Compare(b.Time, a.Time), cmp.Compare(a.Text, b.Text)) })
	return out[:min(len(out), journalLen)]
}

// copied is a copy of an event that holds on to nothing else.
func copied(e *event.Event) *event.Event {
	k := *e
	for _, p := range []*event.Proc{&k.Process, &k.Opener, &k.Accepter, &k.CloseProc} {
		p.Comm = strings.Clone(p.Comm)
	}
	if e.Storm != nil {
		storm := *e.Storm
		k.Storm = &storm
	}
	return &k
}
