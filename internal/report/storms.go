package report

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// maxHeld bounds the storms, the findings and the kinds of failures that are held.
const maxHeld = 1000

// stormKey is what storm records of one storm have in common. The owner of a port
// range is who opens most, which may change; the owner of churn is who churns.
type stormKey struct {
	reason event.Reason
	netns  uint32
	local  netip.Addr
	remote netip.AddrPort
	comm   string
}

type storms struct {
	list []*Storm
	open map[stormKey]*Storm
	left uint64 // storms that there was no room for
}

func stormKeyOf(e *event.Event) stormKey {
	k := stormKey{reason: e.Reason, netns: e.NetNS}
	if e.Reason == event.Churn {
		k.comm = e.Process.Comm
		return k
	}
	k.local, k.remote = e.Local.Addr(), e.Remote
	return k
}

func (s *storms) add(e *event.Event) {
	if e.Storm == nil {
		return
	}
	k := stormKeyOf(e)
	storm := s.open[k]
	if storm == nil || e.Kind == event.StormStart {
		if len(s.list) >= maxHeld {
			if e.Kind == event.StormStart {
				s.left++
			}
			return
		}
		storm = newStorm(e)
		s.list = append(s.list, storm)
		if s.open == nil {
			s.open = make(map[stormKey]*Storm)
		}
		s.open[k] = storm
	}
	storm.take(e)
	storm.grade(e)
	if e.Kind == event.StormEnd {
		storm.End, storm.to = stamp(e.Time), e.Time
		delete(s.open, k)
	}
}

func newStorm(e *event.Event) *Storm {
	s := &Storm{Reason: e.Reason.String(), Begin: stamp(e.Time), from: e.Time, NetNS: e.NetNS,
		Laddr: addrText(e.Local.Addr()), Raddr: addrText(e.Remote.Addr()), Rport: e.Remote.Port()}
	if e.Storm.ExhaustsIn >= 0 {
		in := e.Storm.ExhaustsIn
		s.Foreseen = &in
	}
	return s
}

// take raises the numbers of s to those of e.
func (s *Storm) take(e *event.Event) {
	i := e.Storm
	if s.Severity == "" || i.Severity == event.Crit {
		s.Severity = cmp.Or(i.Severity.String(), event.Warn.String())
	}
	s.Rate, s.Fails, s.Demand = max(s.Rate, i.Rate), max(s.Fails, i.Fails), max(s.Demand, i.Demand)
	s.outage(e)
	if i.Used >= s.Used {
		s.Used, s.Usable = i.Used, i.Usable
	}
	if i.LifeP50 > 0 {
		s.LifeP50 = i.LifeP50
	}
	if e.Process.Comm != "" {
		s.PID, s.Comm, s.Processes = e.Process.PID, safe(e.Process.Comm), uint64(i.PIDs)
		s.Others = max(s.Others, uint64(i.Others))
	}
}

// maxContributors bounds the programs that are named of a storm.
const maxContributors = 8

// hold notes who holds what a storm is about, when that was most.
func (s *storms) hold(g *pressure.Gauge) {
	k := stormKey{reason: event.Ports, netns: g.NetNS, local: g.Local, remote: g.Remote}
	if g.What == pressure.Buckets {
		k = stormKey{reason: event.Buckets, netns: g.NetNS}
	}
	storm := s.open[k]
	if storm == nil || len(g.Holders) == 0 || g.InUse() < storm.heldOf {
		return
	}
	storm.heldOf, storm.Shares = g.InUse(), nil
	for i, h := range g.Holders {
		if i == maxContributors {
			break
		}
		share := Share{Role: string(advice.Holds), Comm: safe(h.Process.Comm), Processes: uint64(max(h.PIDs, 0)), N: h.N, Share: min(float64(h.N)/float64(max(g.InUse(), 1)), 1)}
		if h.PIDs == 1 {
			share.PID = h.Process.PID
		}
		storm.Shares = append(storm.Shares, share)
	}
}

// who are the programs behind s: those that held a part, else the one of its records.
func (s *Storm) who() string {
	if len(s.Shares) > 0 {
		return shareWords(s.Shares)
	}
	return programName(s.Comm, s.PID, s.Processes, s.Others)
}

// maxGrades bounds how often a chart shows the severity of one storm change.
const maxGrades = 100

// grade is a part of a storm of one severity.
type grade struct {
	from, to int64 // ns since the epoch; to 0: to the storm's end
	severity string
}

// grade notes when the severity changes.
func (s *Storm) grade(e *event.Event) {
	severity := cmp.Or(e.Storm.Severity.String(), event.Warn.String())
	n := len(s.grades)
	if n == maxGrades || n > 0 && s.grades[n-1].severity == severity {
		return
	}
	if n > 0 {
		s.grades[n-1].to = e.Time
	}
	s.grades = append(s.grades, grade{from: e.Time, severity: severity})
}

// outage adds up how long calls failed. A record has the present outage, or the last one.
func (s *Storm) outage(e *event.Event) {
	i := e.Storm
	switch {
	case i.Outage < 0:
	case i.Resolved && s.Resolved == "":
		s.lastTo = cmp.Or(s.lastFrom, e.Time) + int64(i.Outage*1e9)
		s.past += i.Outage
		s.Outage, s.Resolved = s.past, stamp(e.Time)
	case !i.Resolved:
		s.lastFrom, s.lastTo = e.Time-int64(i.Outage*1e9), 0
		s.Outage, s.Resolved = s.past+i.Outage, ""
	}
}

func (s *storms) report(names namer) []Storm {
	out := []Storm{}
	for _, storm := range s.list {
		v := *storm
		v.NetNSName = names.of(v.NetNS)
		out = append(out, v)
	}
	slices.SortStableFunc(out, func(a, b Storm) int { return cmp.Compare(a.from, b.from) })
	return out
}

func addrText(a netip.Addr) string {
	if !a.IsValid() {
		return ""
	}
	return a.Unmap().WithZone("").String()
}
