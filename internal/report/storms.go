package report

import (
	"cmp"
	"net/netip"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
)

// mostHeld bounds the storms, the findings and the kinds of failures that are held.
const mostHeld = 1000

// stormKey is what storm records of one storm have in common. The owner of a port
// range is who opens most, which may change; of churn it is what churns.
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
		if len(s.list) >= mostHeld {
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

// take has s tell the most of what e tells.
func (s *Storm) take(e *event.Event) {
	i := e.Storm
	if s.Severity == "" || i.Severity == event.Crit {
		s.Severity = cmp.Or(i.Severity.String(), event.Warn.String())
	}
	s.Rate, s.Fails = max(s.Rate, i.Rate), max(s.Fails, i.Fails)
	if i.Used >= s.Used {
		s.Used, s.Usable = i.Used, i.Usable
	}
	if i.LifeP50 > 0 {
		s.LifeP50 = i.LifeP50
	}
	if e.Process.Known() || e.Process.Comm != "" {
		s.PID, s.Comm = e.Process.PID, safe(e.Process.Comm)
	}
}

func (s *storms) report() []Storm {
	out := []Storm{}
	for _, storm := range s.list {
		out = append(out, *storm)
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
