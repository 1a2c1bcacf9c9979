package advice

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw104 = rule{id: "TW104", title: "bind() finds its port taken", find: bindFails}

// bindFails is TW104.
func bindFails(f Facts) []Finding {
	var found []Finding
	for _, p := range f.Traffic.Taken {
		if p.N == 0 {
			continue
		}
		x := Finding{
			Severity: event.Crit,
			What:     fmt.Sprintf("bind() to %s failed with %s %s in the last %s", p.Local, errnoName(unix.EADDRINUSE), times(p.N), output.Seconds(f.watched())),
			When:     "now",
			Scope:    Scope{Laddr: p.Local.Addr().String(), Lport: p.Local.Port()},
			Evidence: []Evidence{{Name: "EADDRINUSE", Value: float64(p.N), Unit: "calls", Source: "trace"}},
		}
		f.explainTaken(&p, &x)
		p.over(&x)
		found = append(found, x)
	}
	sortFindings(found)
	return found[:min(len(found), maxFindings)]
}

// wants is who asked for the port.
func (f *Facts) wants(p *TakenPort) claim {
	return f.counted(Fails, one(Contributor{Process: p.By, PIDs: 1, N: p.N}), named(p.By)+" wants the port")
}

// hasPort is whose h is, with what was counted of it, or what is known instead.
func (f *Facts) hasPort(h *PortHolder) claim {
	if h.Process.Comm == "" {
		return claim{words: h.who()}
	}
	return f.counted(Holds, one(Contributor{Process: h.Process, N: uint64(h.N)}), h.who())
}

// explainTaken says what holds the port, and what helps.
func (f *Facts) explainTaken(p *TakenPort, x *Finding) {
	if len(p.Holders) == 0 {
		f.takenByUnknown(p, x)
		return
	}
	h := &p.Holders[0]
	x.Short = fmt.Sprintf("bind() to port %d fails: %s", p.Local.Port(), h.short())
	x.by(f.wants(p), f.hasPort(h))
	x.Why = h.has()
	if p.Past {
		x.Why = "when it last failed, " + x.Why + "; by now nothing has the port"
	}
	for _, o := range p.Holders[1:min(len(p.Holders), 3)] {
		x.Why += "; " + o.has()
	}
	if n := len(p.Holders) - 3; n > 0 {
		x.Why += fmt.Sprintf("; and %s", plural(uint64(n), "other holder"))
	}
	for _, o := range p.Holders {
		x.Evidence = append(x.Evidence, Evidence{Name: o.evidence(), Value: float64(o.N), Unit: "sockets", Source: "trace"})
	}
	switch {
	case h.State == event.Listening:
		x.Now = []Remedy{{Text: "stop " + named(h.Process) + ", or use another port"}}
		x.Fix = []Remedy{{Text: "if several processes are to share the port, set SO_REUSEPORT on all of them"}}
	case h.State == event.Closed:
		x.Now = []Remedy{{Text: "stop " + named(h.Process) + ", or use another port"}}
		x.Fix = []Remedy{{Text: "have one of the two programs use another port"}}
	default:
		f.freePort(p, h, x)
	}
}

// freePort is what helps where connections hold the port of p, h before all others.
func (f *Facts) freePort(p *TakenPort, h *PortHolder, x *Finding) {
	reserve, reserved := f.reserve(p.Local.Port())
	if h.left() {
		if free := lastFree(p.Holders); free > 0 {
			free = max(free, time.Second)
			x.When = fmt.Sprintf("now; the last of them expires in about %s, then the port is free", output.Seconds(free))
			x.Evidence = append(x.Evidence, Evidence{Name: "free_in", Value: free.Seconds(), Unit: "s", Source: "trace"})
			x.Now = append(x.Now, Remedy{Text: "start it again in " + output.Seconds(free)})
		}
	}
	if h.Role != event.Client { // an old server's: the listener's setting is theirs
		text := "set SO_REUSEADDR before bind(), if " + named(p.By) + " does not set it yet"
		if h.Role == event.RoleNone {
			text += "; it helps only if a server left them, and set it too"
		} else {
			text += "; it helps only if the listener that accepted them had set it too"
		}
		x.Now = append(x.Now, Remedy{Text: text})
	}
	if h.Role != event.Server && reserved {
		x.Now = append(x.Now, reserve)
	}
	if h.Role == event.Client && !h.left() {
		x.Now = append(x.Now, Remedy{Text: "then restart " + named(h.Process) + ", or have it connect again: its new connection gets another port"})
	}
	switch {
	case h.Role == event.Server:
		x.Fix = append(x.Fix, Remedy{Text: "set SO_REUSEADDR on every listening socket before bind(): both the old server and the new one must have it"})
	case f.Limits.Ephemeral(p.Local.Port()):
		x.Fix = append(x.Fix, Remedy{Text: fmt.Sprintf("keep the port reserved in /etc/sysctl.d, or give %s one outside ip_local_port_range, %d to %d",
			named(p.By), f.Limits.PortLow, f.Limits.PortHigh)})
	default:
		x.Fix = append(x.Fix, Remedy{Text: "have the client not bind its local port, or use another port"})
	}
}

// lastFree is when the last of the holders in TIME_WAIT expires, 0 if others hold the port
// too.
func lastFree(all []PortHolder) (last time.Duration) {
	for _, h := range all {
		if h.State != event.TimeWait {
			return 0
		}
		last = max(last, h.FreeIn)
	}
	return last
}

// takenByUnknown is of a port on which nothing was found.
func (f *Facts) takenByUnknown(p *TakenPort, x *Finding) {
	x.Short = fmt.Sprintf("bind() to port %d fails with EADDRINUSE", p.Local.Port())
	x.by(f.wants(p), claim{words: "who has it is not known"})
	x.Why = "nothing was found on the port: it may be free again by now, or a program has bound it without listening, which Linux shows from 6.8 on"
	x.Now = []Remedy{{Text: "see who holds the port while it fails",
		Shell: Shell{Run: fmt.Sprintf("%sss -tanp 'sport = :%d'", f.Enter, p.Local.Port())}}}
}

// reserve is the remedy that keeps connect() from a port; ok is false if connect() does not
// choose it anyway.
func (f *Facts) reserve(port uint16) (r Remedy, ok bool) {
	if !f.Limits.Ephemeral(port) {
		return Remedy{}, false
	}
	return Remedy{
		Text:     fmt.Sprintf("reserve port %d, so that connect() does not choose it", port),
		Settings: f.set(ipv4("ip_local_reserved_ports", withPorts(f.Limits.ReservedPorts, port), f.Limits.ReservedPorts)),
		Risk:     "none known: existing connections keep their ports, and bind() to the port still works",
	}, true
}

// A program that finds a port taken and tries another one asks no more often than this,
// and takes one no farther away.
const (
	fewTries = 3
	nearPort = 64
)

// over lowers the severity if the process has the port by now, or went on to another one:
// to a note if it took the next free one, to a warning if it may need both.
func (p *TakenPort) over(x *Finding) {
	switch {
	case p.Got:
		x.Severity, x.Now = event.Info, nil
		x.When = "over: " + p.By.Comm + " listens on the port by now"
	case p.Instead.IsValid() && p.N <= fewTries:
		x.Severity = event.Warn
		x.When = "not known: it went on and bound " + p.Instead.String() + " since; it may need both"
		if d := int(p.Instead.Port()) - int(p.Local.Port()); max(d, -d) <= nearPort {
			x.Severity, x.Now = event.Info, nil
			x.When = "no harm if it tries ports until one is free: it has bound " + p.Instead.String() + " since"
		}
	}
}
