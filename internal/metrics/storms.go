package metrics

import (
	"net/netip"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// maxStorms bounds the storms in progress that are known. A detector follows as many groups.
const maxStorms = 4096

// stormKey names a storm, as its records do: those of ports and buckets by what is limited,
// those of churn by whose it is.
type stormKey struct {
	reason event.Reason
	netns  uint32
	local  netip.Addr
	remote netip.AddrPort
	comm   string
	cgroup uint64
}

func stormOf(e *event.Event) stormKey {
	k := stormKey{reason: e.Reason, netns: e.NetNS}
	if e.Reason == event.Churn {
		k.comm, k.cgroup = e.Process.Comm, e.Process.Cgroup()
		return k
	}
	k.local, k.remote = e.Local.Addr(), e.Remote
	return k
}

// stormReasons and stormSeverities are the labels of storms.
var (
	stormReasons    = [...]event.Reason{event.Ports, event.Buckets, event.Churn}
	stormSeverities = [...]event.Severity{event.Warn, event.Crit}
)

// stormCount follows storms by their records.
type stormCount struct {
	active map[stormKey]event.Severity
	total  map[event.Reason]uint64
}

// observe takes a record into account, if it is one of a storm.
func (s *stormCount) observe(e *event.Event) {
	switch e.Kind {
	case event.StormStart:
		s.total[e.Reason]++
	case event.StormUpdate:
	case event.StormEnd:
		delete(s.active, stormOf(e))
		return
	default:
		return
	}
	k := stormOf(e)
	if _, known := s.active[k]; e.Storm != nil && (known || len(s.active) < maxStorms) {
		k.comm = strings.Clone(k.comm)
		s.active[k] = e.Storm.Severity
	}
}

// points are how many storms there are, by reason and severity.
func (s *stormCount) points(b *batch) {
	n := make(map[event.Reason]map[event.Severity]int)
	for _, r := range stormReasons {
		n[r] = make(map[event.Severity]int)
	}
	for k, v := range s.active {
		if n[k.reason] != nil {
			n[k.reason][v]++
		}
	}
	for _, r := range stormReasons {
		b.add(storms, label(storms.labels, reasonName(r)), float64(s.total[r]))
		for _, v := range stormSeverities {
			b.add(stormActive, label(stormActive.labels, reasonName(r), severityName(v)), float64(n[r][v]))
		}
	}
}
