package diagnose

import (
	"cmp"
	"net/netip"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// maxTaken is for how many ports the holder is looked up: those asked for most often.
const maxTaken = 16

// searchEvery is how often sock_diag is asked for the sockets on a port, where the table
// does not show who has it.
const searchEvery = 5 * time.Second

// takenPorts lists the holders of the ports that bind() did not get, those asked for
// most often first, as the failed calls are.
func (d *Diagnosis) takenPorts(f *advice.Facts, now time.Time) []advice.TakenPort {
	var out []takenPort
	for _, fail := range f.Traffic.Fails {
		if fail.Call == event.Bind && fail.Errno == event.EADDRINUSE && fail.Local.Port() != 0 && len(out) < maxTaken {
			out = append(out, takenPort{TakenPort: advice.TakenPort{Local: fail.Local, By: fail.Process, N: fail.N}})
		}
	}
	if !d.opt.TablesOnly && len(out) > 0 {
		d.whoHas(out, f, now)
	}
	var ports []advice.TakenPort
	for i := range out {
		ports = append(ports, out[i].TakenPort)
	}
	return ports
}

// takenPort is one that is being looked up.
type takenPort struct {
	advice.TakenPort
	sockets []conn.Socket // on the port
}

// takenKey is a port that somebody asks for.
type takenKey struct {
	netns uint32
	local netip.AddrPort
	comm  string
}

// lookup is what is remembered of it from one call of Facts to the next.
type lookup struct {
	seen     time.Time // when it was asked about
	n        uint64    // calls that failed
	since    time.Time // the last of them failed after that
	searched time.Time // when sock_diag was asked
	found    []conn.Socket
	holders  []advice.PortHolder
}

// remember returns what is known of p from earlier, and takes over its count.
func (d *Diagnosis) remember(netns uint32, p *takenPort, now time.Time) *lookup {
	k := takenKey{netns, p.Local, p.By.Comm}
	was := d.lookups[k]
	if was == nil {
		was = &lookup{}
		if d.lookups == nil {
			d.lookups = make(map[takenKey]*lookup)
		}
		d.lookups[k] = was
	}
	if p.N > was.n {
		was.since = d.called
	}
	was.seen, was.n = now, p.N
	return was
}

// forgetTaken drops the ports that nobody fails to get any more.
func (d *Diagnosis) forgetTaken(now time.Time) {
	for k, was := range d.lookups {
		if was.seen.Before(now) {
			delete(d.lookups, k)
		}
	}
}

// whoHas adds what is on ports: by the table, in one pass through all sockets, and by
// sock_diag where that does not show who it is.
func (d *Diagnosis) whoHas(ports []takenPort, f *advice.Facts, now time.Time) {
	t, netns, since := d.session.Table(), f.NetNS.Inum, d.old.at.UnixNano()
	for _, l := range t.Listeners(netns) {
		for i := range ports {
			p := &ports[i]
			if l.Since >= since && p.instead(l.Local, l.Process) {
				p.Instead = l.Local
			}
			if p.inTheWay(l.Local) {
				p.sockets = append(p.sockets, conn.Socket{NetNS: netns, State: event.Listening, Local: l.Local, Process: l.Process, Since: l.Since})
			}
		}
	}
	for s := range t.Sockets() {
		if s.NetNS != netns {
			continue
		}
		young := s.Role == event.Client && s.Since >= since && !f.Limits.Ephemeral(s.Local.Port())
		for i := range ports {
			p := &ports[i]
			if young && p.instead(s.Local, s.Process) {
				p.Instead = s.Local
			}
			if p.inTheWay(s.Local) {
				p.sockets = append(p.sockets, s)
			}
		}
	}
	for i := range ports {
		d.holders(&ports[i], f, now)
	}
}

// holders sums up what is on p. What was there when bind() failed is remembered.
func (d *Diagnosis) holders(p *takenPort, f *advice.Facts, now time.Time) {
	was := d.remember(f.NetNS.Inum, p, now)
	if slices.ContainsFunc(p.sockets, open) || len(p.sockets) == 0 {
		if now.Sub(was.searched) >= searchEvery {
			was.searched = now
			was.found = slices.DeleteFunc(d.host.Holders(f.NetNS, p.Local.Port(), now), func(s conn.Socket) bool { return !p.inTheWay(s.Local) })
		}
		if len(was.found) > 0 {
			p.sockets = was.found
		}
	}
	for _, s := range p.sockets {
		d.hold(p, s, f, now)
	}
	slices.SortStableFunc(p.Holders, func(a, b advice.PortHolder) int {
		return cmp.Or(cmp.Compare(lasting(b.State), lasting(a.State)), cmp.Compare(b.N, a.N), cmp.Compare(b.FreeIn, a.FreeIn),
			cmp.Compare(a.Process.PID, b.Process.PID), a.Local.Compare(b.Local), a.Remote.Compare(b.Remote))
	})
	if len(p.Holders) == 0 {
		p.Holders, p.Past = was.holders, len(was.holders) > 0
		return
	}
	was.holders = p.Holders
}

// open reports whether nobody knows who has a socket that somebody must have.
func open(s conn.Socket) bool {
	return !s.Process.Known() && s.State != event.TimeWait && s.State != event.FinWait2
}

// lasting orders what holds a port by how long it does: TIME_WAIT ends by itself.
func lasting(s event.State) int {
	switch s {
	case event.Listening:
		return 4
	case event.Closed:
		return 3
	case event.TimeWait, event.FinWait2:
		return 1
	}
	return 2
}

// hold adds a socket to the holders of p.
func (d *Diagnosis) hold(p *takenPort, s conn.Socket, f *advice.Facts, now time.Time) {
	h := advice.PortHolder{State: s.State, Process: s.Process, Guess: s.Owner == event.Inferred, Local: s.Local, N: 1}
	switch s.State {
	case event.Listening, event.Closed:
	default:
		h.Role = d.roleOf(&s, f)
		if h.Role != event.Server {
			h.Remote = s.Remote
			h.Peer, _ = d.session.Table().Listening(s.NetNS, s.Remote)
		}
	}
	if s.State == event.TimeWait {
		h.FreeIn = max(time.Unix(0, s.Since).Add(pressure.Hold).Sub(now), 0)
	}
	if s.State == event.Listening && s.Process.Comm == p.By.Comm && s.Since > 0 && s.Since >= d.lookups[takenKey{s.NetNS, p.Local, p.By.Comm}].since.UnixNano() {
		p.Got = true
	}
	for i := range p.Holders {
		if o := &p.Holders[i]; o.State == h.State && o.Role == h.Role && o.Process.Is(h.Process) && o.Guess == h.Guess && (o.Remote == o.Local) == (h.Remote == h.Local) {
			o.N++
			o.FreeIn = max(o.FreeIn, h.FreeIn)
			if o.Remote != h.Remote {
				o.Remote, o.Peer = netip.AddrPort{}, event.Proc{}
			}
			return
		}
	}
	p.Holders = append(p.Holders, h)
}

// roleOf is the role of a socket, by its ports where nobody saw how it came.
func (d *Diagnosis) roleOf(s *conn.Socket, f *advice.Facts) event.Role {
	if s.Role != event.RoleNone {
		return s.Role
	}
	if s.Local == s.Remote { // whoever connects to itself called connect()
		return event.Client
	}
	t := d.session.Table()
	if _, ok := t.Listening(s.NetNS, s.Local); ok {
		return event.Server
	}
	if _, ok := t.Listening(s.NetNS, s.Remote); ok {
		return event.Client
	}
	switch {
	case !f.Limits.Ephemeral(s.Local.Port()):
		return event.Server
	case !f.Limits.Ephemeral(s.Remote.Port()):
		return event.Client
	}
	return event.RoleNone
}

// instead reports whether the process that did not get the port has another one, at local.
func (p *takenPort) instead(local netip.AddrPort, by event.Proc) bool {
	return local.Port() != p.Local.Port() && by.Is(p.By)
}

// inTheWay reports whether a socket at local keeps p from being bound.
func (p *takenPort) inTheWay(local netip.AddrPort) bool {
	return local.Port() == p.Local.Port() && inTheWay(local.Addr(), p.Local.Addr().Unmap())
}

// inTheWay reports whether a socket at the one address keeps the other from its port.
func inTheWay(a, b netip.Addr) bool { return a == b || a.IsUnspecified() || b.IsUnspecified() }
