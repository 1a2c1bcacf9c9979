package diagnose

import (
	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// shares add up the parts of programs in one count, group by group. Groups of one process
// and of many are told apart, since those of many count the processes of the others too.
type shares struct {
	parts []*part
	at    map[advice.Program]*part // once there are more than fewParts: most have one or two
	total uint64
}

// fewParts are looked through one by one.
const fewParts = 8

// part is what the groups of one program come to.
type part struct {
	advice.Contributor
	key   advice.Program
	most  uint64 // the largest of one process
	pids  identities
	crowd int    // processes that groups of many ever had, those of pids included
	many  uint64 // what these groups count: at least one for each process that has a part
	about bool
	life  conn.Hist
}

// add counts n for the program of g, and returns its part; nil if there is none to count,
// or the program is not known. before is what the mark knows of g.
func (s *shares) add(g *conn.Group, n uint64, before groupCounts) *part {
	s.total += n
	if n == 0 || g.Owner.Comm == "" {
		return nil
	}
	p := s.of(g.Owner)
	p.N += n
	if g.Kind == conn.GroupComm {
		p.crowd, p.many = p.crowd+g.PIDs, p.many+n
		p.about = p.about || g.About || before.pids > 0
	} else {
		p.pids.add(g.Owner)
	}
	if n > p.most {
		p.most, p.Process = n, withParent(g.Owner, p.Process)
	} else {
		p.Process = withParent(p.Process, g.Owner)
	}
	return p
}

// of is the part of a process's program.
func (s *shares) of(owner event.Proc) *part {
	k := advice.ProgramOf(owner)
	if p := s.find(k); p != nil {
		return p
	}
	p := &part{Contributor: advice.Contributor{Process: owner}, key: k}
	s.parts = append(s.parts, p)
	if s.at != nil {
		s.at[k] = p
	} else if len(s.parts) > fewParts {
		s.at = make(map[advice.Program]*part)
		for _, p := range s.parts {
			s.at[p.key] = p
		}
	}
	return p
}

// find is the part of a program, nil if it has none.
func (s *shares) find(k advice.Program) *part {
	if s.at != nil {
		return s.at[k]
	}
	for _, p := range s.parts {
		if p.key == k {
			return p
		}
	}
	return nil
}

// identities are processes with groups of their own. Most often it is one.
type identities struct {
	first uint64
	more  map[uint64]struct{}
}

// identity tells processes apart that had the same pid.
func identity(p event.Proc) uint64 { return uint64(p.PID)<<32 ^ p.Start() }

func (i *identities) add(p event.Proc) {
	id := identity(p)
	if i.first == 0 {
		i.first = id
	}
	if i.has(id) {
		return
	}
	if i.more == nil {
		i.more = make(map[uint64]struct{})
	}
	i.more[id] = struct{}{}
}

func (i *identities) has(id uint64) bool {
	_, ok := i.more[id]
	return ok || id == i.first
}

func (i *identities) len() int {
	if i.first == 0 {
		return 0
	}
	return 1 + len(i.more)
}

// contributors are the shares of total, or of what was counted if that is more.
func (s *shares) contributors(total uint64) advice.Contributors {
	list := make([]advice.Contributor, 0, len(s.parts))
	for _, p := range s.parts {
		p.PIDs, p.About = p.processes(), p.about || p.crowd > p.pids.len()+int(p.many)
		lifetimes(&p.Flow, &p.life)
		list = append(list, p.Contributor)
	}
	return advice.NewContributors(list, max(s.total, total))
}

// processes is how many there are. Of a group of many it is known how many it ever had, and
// that each of those that have a part counts at least one.
func (p *part) processes() int {
	if p.crowd == 0 {
		return p.pids.len()
	}
	return min(p.crowd, p.pids.len()+int(p.many))
}

// destinationShares are who uses the ports of a destination.
type destinationShares struct{ opens, fails, holds shares }

// add counts a group of clients of the destination.
func (s *destinationShares) add(d *Diagnosis, g *conn.Group) {
	before := d.old.groups[g.ID]
	if p := s.opens.add(g, less(g.Opens, before.opens), before); p != nil {
		d.add(&p.Flow, g)
		p.life.Merge(&g.Life)
		p.Pool.Add(poolOf(g))
	}
	s.fails.add(g, less(g.NoPort, before.noPort), before)
	if p := s.holds.add(g, less(g.Alive(), g.Bound), groupCounts{}); p != nil {
		p.Guessed += min(g.Guessed, less(g.Alive(), g.Bound))
	}
}

// waiting counts for the holders who waits for an answer to a SYN.
func (s *destinationShares) waiting(v *conn.Destination) {
	for i := range v.SynSentBy {
		h := &v.SynSentBy[i]
		s.holds.add(&conn.Group{Owner: s.known(h.Process)}, h.N, groupCounts{})
	}
}

// known is p as the groups know it: with its unit, container or pod.
func (s *destinationShares) known(p event.Proc) event.Proc {
	for _, in := range []*shares{&s.holds, &s.opens, &s.fails} {
		for _, o := range in.parts {
			if o.Process.Comm == p.Comm && o.pids.has(identity(p)) {
				return event.Proc{PID: p.PID, Comm: p.Comm, Who: o.Process.Who}
			}
		}
	}
	return p
}

// boundShares are who holds the ports that clients bind before they connect, and who
// found none, at one local address.
func (d *Diagnosis) boundShares(b *advice.BoundPorts, v *conn.Destination, snap *conn.Snapshot) {
	var holds, fails shares
	for i := range snap.Groups {
		g := &snap.Groups[i]
		if g.NetNS != v.NetNS {
			continue
		}
		before := d.old.groups[g.ID]
		if g.Role == event.Client && g.Local.Addr() == v.Local {
			holds.add(g, g.Bound, groupCounts{})
		}
		if g.Local.Port() == 0 && (g.Local.Addr() == v.Local || !g.Local.Addr().IsValid()) {
			fails.add(g, less(g.Fails.Of(event.Bind, event.EADDRINUSE), before.fails.Of(event.Bind, event.EADDRINUSE)), before)
		}
	}
	b.Holders, b.Failers = holds.contributors(uint64(v.Used())), fails.contributors(b.Failed)
}

// closers adds who closes first, and whose the sockets in TIME_WAIT are, of which there
// are held.
func (d *Diagnosis) closers(f *advice.Facts, snap *conn.Snapshot, held int) {
	var closes, holds shares
	for i := range snap.Groups {
		g := &snap.Groups[i]
		if g.NetNS != f.NetNS.Inum {
			continue
		}
		before := d.old.groups[g.ID]
		closes.add(g, less(g.Enters+g.Refused, before.enters), before)
		holds.add(g, g.TimeWait+g.Parked, groupCounts{})
	}
	f.Traffic.Closers, f.Traffic.TimeWaitHolders = closes.contributors(0), holds.contributors(uint64(held))
}
