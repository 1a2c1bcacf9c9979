package main

import (
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
)

// mostTaken is of how many ports it is looked up who has them: those asked for most often.
const mostTaken = 16

// takenPorts says who has the ports that bind() did not get, those asked for most often
// first, as the failed calls are.
func (d *diagnosis) takenPorts(f *advice.Facts, now time.Time) []advice.TakenPort {
	var out []takenPort
	for _, fail := range f.Traffic.Fails {
		if fail.Call == event.Bind && fail.Errno == eaddrinuse && fail.Local.Port() != 0 && len(out) < mostTaken {
			out = append(out, takenPort{TakenPort: advice.TakenPort{Local: fail.Local, By: fail.Process, N: fail.N}})
		}
	}
	if d.session != nil && len(out) > 0 {
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
	left map[string]int // its sockets in TIME_WAIT, by comm
	last int64          // when the last of them began
}

// whoHas adds what the table knows of ports, in one pass through all sockets.
func (d *diagnosis) whoHas(ports []takenPort, f *advice.Facts, now time.Time) {
	t, netns, begin := d.session.table, f.NetNS.Inum, d.old.at.UnixNano()
	listeners := t.Listeners(netns)
	for i := range ports {
		p := &ports[i]
		for _, l := range listeners {
			if l.Since >= begin && p.instead(l.Local, l.Process) {
				p.Instead = l.Local
			}
		}
		p.Listener, p.Listens = t.Listening(netns, p.Local)
	}
	for s := range t.Sockets() {
		if s.NetNS != netns {
			continue
		}
		young := s.Role == event.Client && s.Since >= begin && !f.Limits.Ephemeral(s.Local.Port())
		for i := range ports {
			p := &ports[i]
			if young && p.instead(s.Local, s.Process) {
				p.Instead = s.Local
			}
			if s.State == event.TimeWait && s.Local.Port() == p.Local.Port() && inTheWay(s.Local.Addr(), p.Local.Addr()) {
				p.leftBy(&s)
			}
		}
	}
	for i := range ports {
		if p := &ports[i]; p.TimeWait > 0 {
			p.FreeIn = max(time.Unix(0, p.last).Add(pressure.Hold).Sub(now), 0)
		}
	}
}

// instead tells whether who did not get the port has another one, at local.
func (p *takenPort) instead(local netip.AddrPort, by event.Proc) bool {
	return local.Port() != p.Local.Port() && by.Is(p.By)
}

// leftBy adds a socket in TIME_WAIT on the port.
func (p *takenPort) leftBy(s *conn.Socket) {
	p.TimeWait++
	p.last = max(p.last, s.Since)
	if !s.Process.Known() {
		return
	}
	if p.left == nil {
		p.left = make(map[string]int)
	}
	if p.left[s.Process.Comm]++; p.left[s.Process.Comm] > p.left[p.Left.Comm] || !p.Left.Known() {
		p.Left = s.Process
	}
}

// inTheWay tells whether a socket at the one address keeps the other from its port.
func inTheWay(a, b netip.Addr) bool { return a == b || a.IsUnspecified() || b.IsUnspecified() }
