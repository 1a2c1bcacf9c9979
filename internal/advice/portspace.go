package advice

import (
	"fmt"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// boundPorts is TW102.
func boundPorts(f Facts) []Finding {
	var found []Finding
	for _, b := range f.Traffic.Bound {
		if b.Gauge == nil && b.Failed == 0 {
			continue
		}
		u := use{}
		if b.Gauge != nil {
			u = gauged(b.Gauge)
		}
		if u.severity() < Warn && b.Failed == 0 || len(found) == mostFindings {
			continue
		}
		usable := uint64(f.Limits.UsablePorts())
		x := Finding{
			Severity: u.severity(),
			What:     b.what(u, usable),
			Short:    "ports bound before connect: " + output.Percent(max(uint64(u.Used), uint64(b.Taken)), usable) + " used",
			Who:      earlierOwner,
			When:     u.when("bind() to port 0 fails with EADDRINUSE (98)"),
			Why: "a port that is bound before connect() is taken from all destinations, not from one: " +
				"binding first gives up that ports are shared between destinations",
			Scope: Scope{Laddr: b.Local.String()}.of(b.Owner),
			Evidence: []Evidence{
				{Name: "ports_bound", Value: u.Used, Limit: float64(usable), Unit: "ports", Source: "trace"},
				{Name: "EADDRINUSE", Value: float64(b.Failed), Unit: "calls", Source: "trace"},
			},
			Now: []Remedy{{Text: "bind to other source addresses too: each has ports of its own"}},
			Fix: []Remedy{{Text: "set IP_BIND_ADDRESS_NO_PORT before bind() to an address and port 0: connect() then chooses the port " +
				"(HAProxy and recent nginx do it), or do not bind at all"}},
		}
		if b.Taken > 0 {
			x.Evidence = append(x.Evidence, Evidence{Name: "ports_taken", Value: float64(b.Taken), Limit: float64(usable), Unit: "ports", Source: "trace"})
		}
		if !b.Owner.Known() {
			b.Owner = f.boundBy()
			x.Scope = x.Scope.of(b.Owner)
		}
		if b.Owner.Known() {
			x.Who = named(b.Owner) + " bound most of them of late, or wanted to"
		}
		if w, ok := widerRange(f); ok {
			x.Now = append(x.Now, w)
		}
		if u.soon() {
			x.Forecast = &Forecast{Event: "ports_exhausted", InS: u.In.Seconds()}
		}
		if b.Failed > 0 {
			x.Severity, x.Forecast = Crit, &Forecast{Event: "ports_exhausted"}
			x.Short = "bind() to port 0 fails: no port is free"
			x.When = fmt.Sprintf("now: %s calls found no port in %s", output.Count(b.Failed), seconds(f.watched()))
		}
		found = append(found, x)
	}
	return found
}

// what is how many ports are taken. Of those from before a trace it is not known
// whether they were bound.
func (b *BoundPorts) what(u use, usable uint64) string {
	words := fmt.Sprintf("%s of %s ports (%s) are known to be held by clients of %s that bind before they connect", output.Count(uint64(u.Used)),
		output.Count(usable), output.Percent(uint64(u.Used), usable), b.Local)
	if b.Taken > 0 {
		words += fmt.Sprintf("; sockets to all destinations hold %s", output.Count(uint64(b.Taken)))
	}
	return words
}

// boundBy is who asked for any port with bind(), and got none.
func (f *Facts) boundBy() event.Proc {
	for _, v := range f.Traffic.Fails {
		if v.Call == event.Bind && v.Errno == uint16(unix.EADDRINUSE) && v.Local.Port() == 0 {
			return v.Process
		}
	}
	return event.Proc{}
}

// When the search for a port is worth a word: from so much time in the kernel on, per
// connection and as a share of a CPU. On Linux 6.18 a connect() on loopback takes 16 us,
// and a short connection some 60 us of its client's time in the kernel. The moment that
// all ports of the first parity are taken, a connect() takes 0.7 to 2 ms at the default
// range (50 to 140 ns for each port passed over), and no more than that until the last
// port. At 231 connections/s, which hold half of the range, that is 17 % of a CPU or more.
const (
	searchShare = 0.10
	searchTime  = 200 * time.Microsecond
	searchPorts = 1000 // passed over; fewer cost less than a connection does anyway
)

// Searches tells whether the client of d may be searching for ports: half of them are
// taken, and it uses a good deal of a CPU in the kernel. What proves it is d.Passed.
func (f *Facts) Searches(d *Destination) bool {
	o, ok := f.ownerOf(d.byOpener().Owner, event.Client)
	u := f.use(d)
	return ok && u.Limit > 0 && float64(d.States.All()) >= pressure.HalfShare*u.Limit && u.severity() < Warn && d.Failed == 0 &&
		o.System >= searchShare && o.Opens > 0
}

// searching is TW103. Where the ports run out anyway, that is said already.
func searching(f Facts) []Finding {
	var found []Finding
	for _, d := range f.Destinations {
		if d.Passed < searchPorts || !f.Searches(&d) || len(found) == mostFindings {
			continue
		}
		d = d.byOpener()
		u, held := f.use(&d), uint64(d.States.All())
		o, _ := f.ownerOf(d.Owner, event.Client)
		each := time.Duration(o.System * float64(f.watched()) / float64(o.Opens))
		if each < searchTime {
			continue
		}
		found = append(found, Finding{
			Severity: Warn,
			What: fmt.Sprintf("%s -> %s holds %s of %s ports (%s), and each connection costs its client %s in the kernel", d.Local, d.Remote,
				output.Count(held), output.Count(uint64(u.Limit)), output.Percent(held, uint64(u.Limit)), output.Duration(int64(each))),
			Short: "connect() searches for a port: " + output.Duration(int64(each)) + " a connection",
			Who:   fmt.Sprintf("%s spends %.0f%% of a CPU in the kernel", named(o.Process), 100*o.System),
			When:  "now; no call fails yet: at this rate it " + u.settles(),
			Why: fmt.Sprintf("connect() tries every second port first, and of those all are taken: each call passes over %s ports "+
				"before it finds one among the others", output.Count(uint64(d.Passed))),
			Now:   portRemedies(f, d, f.reuse(d)),
			Fix:   reuseConnections(d),
			Scope: Scope{Laddr: d.Local.String(), Raddr: d.Remote.Addr().String(), Rport: d.Remote.Port()}.of(o.Process),
			Evidence: []Evidence{
				{Name: "ports_used", Value: float64(held), Limit: u.Limit, Unit: "ports", Source: "trace"},
				{Name: "ports_passed_over", Value: float64(d.Passed), Unit: "ports", Source: "trace"},
				{Name: "system_cpu", Value: 100 * o.System, Unit: "%", Source: "/proc/PID/stat"},
				{Name: "system_time_per_connection", Value: each.Seconds(), Unit: "s", Source: "/proc/PID/stat"},
			},
		})
	}
	return found
}

// bindFails is TW104.
func bindFails(f Facts) []Finding {
	var found []Finding
	for _, p := range f.Traffic.Taken {
		x := Finding{
			Severity: Crit,
			What:     fmt.Sprintf("bind() to %s failed with EADDRINUSE (98) %s in %s", p.Local, times(p.N), seconds(f.watched())),
			Short:    fmt.Sprintf("bind() to port %d fails with EADDRINUSE", p.Local.Port()),
			Who:      named(p.By) + " asked for it",
			When:     "now",
			Scope:    Scope{Laddr: p.Local.Addr().String(), Lport: p.Local.Port()}.of(p.By),
			Evidence: []Evidence{
				{Name: "EADDRINUSE", Value: float64(p.N), Unit: "calls", Source: "trace"},
				{Name: "time_wait", Value: float64(p.TimeWait), Unit: "sockets", Source: "trace"},
			},
		}
		p.explain(&x)
		p.tookAnother(&x)
		found = append(found, x)
	}
	sortFindings(found)
	return found[:min(len(found), mostFindings)]
}

// A program that finds a port taken and looks for another asks for it so often, and takes
// one that is so near.
const (
	fewTries = 3
	nearPort = 64
)

// tookAnother makes less of it if the process went on to another port: nothing if that is
// what it does when a port is taken, and a warning if it may want both.
func (p *TakenPort) tookAnother(x *Finding) {
	if !p.Instead.IsValid() || p.N > fewTries {
		return
	}
	x.Severity = Warn
	x.When = "not known: it went on, and has taken " + p.Instead.String() + " since; it may need both"
	if d := int(p.Instead.Port()) - int(p.Local.Port()); max(d, -d) <= nearPort {
		x.Severity, x.Now = Info, nil
		x.When = "no harm, if it is to look for a free one: it has taken " + p.Instead.String() + " since"
	}
}

// explain says what is in the way, and what helps.
func (p *TakenPort) explain(x *Finding) {
	always := Remedy{Text: "set SO_REUSEADDR on every listener, always: it must have been set on the old sockets and on the new one"}
	switch {
	case p.Listens:
		x.Why = named(p.Listener) + " listens on the port"
		x.Now = []Remedy{{Text: "stop " + named(p.Listener) + ", or use another port"}}
		x.Fix = []Remedy{{Text: "SO_REUSEPORT on all of them, if several are to share the port"}}
	case p.TimeWait > 0:
		x.Why = fmt.Sprintf("nobody listens there, and %s of the port are in TIME_WAIT: they keep it from whoever has no SO_REUSEADDR, "+
			"or if they had none themselves", plural(uint64(p.TimeWait), "socket"))
		if p.Left.Known() {
			x.Why += "; " + named(p.Left) + " left them"
		}
		x.When = fmt.Sprintf("now; the last of them expires in about %s, and then the port is free", seconds(p.FreeIn))
		x.Evidence = append(x.Evidence, Evidence{Name: "free_in", Value: p.FreeIn.Seconds(), Unit: "s", Source: "trace"})
		x.Now = []Remedy{{Text: "start it again in " + seconds(p.FreeIn) + ", or have it set SO_REUSEADDR"}}
		x.Fix = []Remedy{always}
	default:
		x.Why = "nobody is known to listen there, and nothing of the port is in TIME_WAIT: a connection of the old server may live on, or " +
			"somebody has bound the port without listening"
		x.Now = []Remedy{{Text: "see who has the port", Command: fmt.Sprintf("ss -tanp 'sport = :%d'", p.Local.Port())}}
		x.Fix = []Remedy{always}
	}
}
