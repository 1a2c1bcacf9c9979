package view

import (
	"cmp"
	"net/netip"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// Journal remembers what happened that is worth a word. The zero Journal is ready.
type Journal struct {
	at map[incident]*Entry
}

// What a Journal keeps: so many entries, and the same again within joinFor counts in
// the entry there is.
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

// Add takes an event, if it is worth a word.
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
	k.comm = string([]byte(k.comm))
	v := &Entry{Time: e.Time, Count: n}
	v.Severity, v.Text = words(e)
	j.at[k] = v
	if len(j.at) > 2*journalLen {
		j.trim()
	}
}

// notable tells which events are worth a word, in the seldom cases.
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

// words says what e is.
func words(e *event.Event) (Severity, string) {
	who := ""
	if e.Process.Known() {
		who = "  " + e.Process.Comm + "[" + strconv.FormatUint(uint64(e.Process.PID), 10) + "]"
	}
	to := ""
	switch {
	case e.Role == event.Server && e.Local.IsValid():
		to = " at " + e.Local.String()
	case e.Remote.IsValid():
		to = " to " + e.Remote.String()
	case e.Local.IsValid():
		to = " at " + e.Local.String()
	}
	switch e.Kind {
	case event.Fail:
		name := cmp.Or(unix.ErrnoName(unix.Errno(e.Errno)), "errno "+strconv.Itoa(int(e.Errno)))
		severity := Fine
		switch unix.Errno(e.Errno) {
		case unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EMFILE, unix.ENFILE:
			severity = Crit
		}
		return severity, e.Call.String() + to + " failed: " + name + who
	case event.TimeWaitRefused:
		return Crit, "TIME_WAIT refused (" + e.Reason.String() + "):" + to + who
	case event.Lost:
		return Crit, "events lost: " + cmp.Or(e.Stage.String(), "other")
	case event.StormStart, event.StormUpdate, event.StormEnd:
		return stormWords(e, to, who)
	}
	return Fine, e.Kind.String() + " " + e.Reason.String() + to + who
}

func stormWords(e *event.Event, to, who string) (Severity, string) {
	text := e.Kind.String() + " " + e.Reason.String() + to + who
	severity := Fine
	if s := e.Storm; s != nil {
		severity = Severity(s.Severity)
		if s.Rate > 0 {
			text += "  " + output.Rate(s.Rate)
		}
	}
	if e.Kind == event.StormEnd {
		severity = Fine
	}
	return severity, text
}
