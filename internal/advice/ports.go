package advice

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// mostFindings of one rule are reported: an incident has one cause or a few.
const mostFindings = 5

// portsHeldByTimeWait is TW101.
func portsHeldByTimeWait(f Facts) []Finding {
	return fullest(f, func(d Destination, u use) (Finding, bool) {
		if !d.mostlyTimeWait() {
			return Finding{}, false
		}
		x := d.finding(f, u)
		x.Why = fmt.Sprintf("%s of these ports are in TIME_WAIT, which stays for 60 s with the side that closes first: this one. "+
			"%s began in each of the last %.0f s. Other destinations still work; restarting the client frees no port",
			output.Count(uint64(d.States.Of(event.TimeWait))), output.Rate(u.Rate), pressure.Recent.Seconds())
		if f.Traced && d.Opens > 0 {
			x.Why += "; " + f.flowInWords(&d.Flow)
		}
		reuse := f.reuse(d)
		x.Why += f.reuseInWords(d, reuse)
		if reuse >= reuseSeen && d.Failed == 0 && (d.Gauge == nil || u.severity() < Warn) {
			x.Severity, x.Forecast = Info, nil
			x.When = "no harm: connect() takes over those that are old enough"
			if reuse == reuseSeen {
				x.When = "no harm as long as the destination uses TCP timestamps: connect() takes over those that are old enough"
			}
		}
		if x.Severity > Info {
			x.Now = portRemedies(f, d, reuse)
		}
		x.Fix = reuseConnections(d)
		return x, true
	})
}

// reuseInWords says whether ports in TIME_WAIT are taken over, behind a why.
func (f *Facts) reuseInWords(d Destination, r reuse) string {
	switch r {
	case reuseWorks:
		return fmt.Sprintf("; tcp_tw_reuse is %d and covers them", f.Limits.TWReuse)
	case reuseSeen:
		if d.Begun > 0 {
			return fmt.Sprintf("; tcp_tw_reuse is 1, and %s of them use TCP timestamps", d.stamped())
		}
		return fmt.Sprintf("; tcp_tw_reuse is 1, and connect() has taken over %s", output.Count(f.recycled()))
	case reuseInVain:
		if d.Begun > 0 {
			return "; tcp_tw_reuse is 1, but the destination does not use TCP timestamps"
		}
		return "; tcp_tw_reuse is 1 and no port was taken over, so the destination does not seem to use TCP timestamps"
	case reuseImpossible:
		return "; TCP timestamps are off here, so no port can be taken over early"
	case reuseUseless:
		return "; the destination does not use TCP timestamps, so tcp_tw_reuse could not take over any port"
	}
	if d.Begun > 0 {
		return fmt.Sprintf("; %s of those that began of late use TCP timestamps", d.stamped())
	}
	return ""
}

// stamped is the share of the sockets in TIME_WAIT whose peer uses timestamps, of
// those of which that is known.
func (d *Destination) stamped() string { return output.Percent(uint64(d.Stamped), uint64(d.Begun)) }

// portsHeldByLive is TW106.
func portsHeldByLive(f Facts) []Finding {
	return fullest(f, func(d Destination, u use) (Finding, bool) {
		if d.mostlyTimeWait() {
			return Finding{}, false
		}
		x := d.finding(f, u)
		s := &d.States
		switch most := max(s.Of(event.Established), s.Of(event.SynSent), s.Of(event.CloseWait), s.idle()); {
		case most == s.Of(event.SynSent):
			x.Why = "most are in SYN_SENT: the destination does not answer"
			x.Fix = []Remedy{{Text: "find out why the destination does not answer; a shorter connect timeout in the client frees the ports sooner"}}
		case most == s.Of(event.CloseWait):
			x.Why = "most are in CLOSE_WAIT: the peer has closed, and the client never does"
			x.Fix = []Remedy{{Text: "the client leaks sockets: it must close connections that the peer has closed"}}
		case most == s.idle():
			x.Why = "most are in FIN_WAIT2: this side has closed, and the peer does not"
			x.Fix = []Remedy{{Text: "the peer leaks sockets: it must close connections that the client has closed"}}
		default:
			x.Why = "most are ESTABLISHED: a pool that leaks or is too large"
			x.Fix = []Remedy{{Text: "bound the client's pool, or find what never gives connections back to it"}}
		}
		x.Why += "; reuse of TIME_WAIT does not help here"
		if r, ok := widerRange(f); ok {
			x.Now = append(x.Now, r)
		}
		return x, true
	})
}

// fullest runs find on the destinations that are short of ports, the worst
// first, and returns what it finds in the first of them.
func fullest(f Facts, find func(Destination, use) (Finding, bool)) []Finding {
	type short struct {
		d Destination
		u use
	}
	var all []short
	for _, d := range f.Destinations {
		if u := f.use(&d); u.severity() >= Warn || d.Failed > 0 || u.held() {
			all = append(all, short{d, u})
		}
	}
	slices.SortStableFunc(all, func(a, b short) int {
		return cmp.Or(cmp.Compare(b.u.severity(), a.u.severity()), cmp.Compare(b.u.Used, a.u.Used))
	})
	var found []Finding
	for _, s := range all {
		x, ok := find(s.d, s.u)
		if ok && len(found) < mostFindings {
			found = append(found, x)
		}
	}
	return found
}

// finding is what TW101 and TW106 say alike about d.
func (d *Destination) finding(f Facts, u use) Finding {
	usable := f.Limits.UsablePorts()
	used := d.States.All()
	x := Finding{
		Severity: u.severity(),
		What: fmt.Sprintf("%s -> %s holds %s of %s ports (%s)", d.Local, d.Remote,
			output.Count(uint64(used)), output.Count(uint64(usable)), output.Percent(uint64(used), uint64(usable))),
		Who:   unknownOwner,
		When:  u.when("connect() to it fails with EADDRNOTAVAIL (99)"),
		Short: d.short(u),
		Scope: Scope{Laddr: d.Local.String(), Raddr: d.Remote.Addr().String(), Rport: d.Remote.Port()}.ofMany(d.Owner, d.PIDs),
		Evidence: []Evidence{
			{Name: "ports_used", Value: float64(used), Limit: float64(usable), Unit: "ports", Source: f.source()},
			{Name: "time_wait_begins", Value: u.Rate, Unit: "1/s", Source: f.source()},
			{Name: "ports_steady", Value: u.Steady, Limit: float64(usable), Unit: "ports", Source: "forecast"},
		},
	}
	for state, n := range d.States.Full {
		if n > 0 {
			x.Evidence = append(x.Evidence, Evidence{Name: event.State(state).String(), Value: float64(n), Unit: "sockets", Source: f.source()})
		}
	}
	if d.States.Parked > 0 {
		x.Evidence = append(x.Evidence, Evidence{Name: "FIN_WAIT2_parked", Value: float64(d.States.Parked), Unit: "sockets", Source: f.source()})
	}
	x.Evidence = append(x.Evidence,
		Evidence{Name: "tcp_tw_reuse", Value: float64(f.Limits.TWReuse), Source: "net.ipv4.tcp_tw_reuse"},
		Evidence{Name: "tcp_timestamps", Value: float64(f.Limits.Timestamps), Source: "net.ipv4.tcp_timestamps"})
	if f.Traced {
		x.Who = earlierOwner
		if d.Owner.Known() {
			x.Who = many(d.Owner, d.PIDs, d.PIDs > 1) + " opened most of them of late"
		}
		x.Evidence = append(x.Evidence, f.flowEvidence(&d.Flow)...)
		x.Evidence = append(x.Evidence,
			Evidence{Name: "with_timestamps", Value: float64(d.Stamped), Limit: float64(d.Begun), Unit: "sockets", Source: "trace"},
			Evidence{Name: "EADDRNOTAVAIL", Value: float64(d.Failed), Unit: "calls", Source: "trace"})
	}
	if u.soon() {
		x.Forecast = &Forecast{Event: "ports_exhausted", InS: u.In.Seconds()}
	}
	if d.Failed > 0 {
		x.Severity = Crit
		x.When = fmt.Sprintf("now: %s connect() calls failed with EADDRNOTAVAIL (99) in %s, %s",
			output.Count(d.Failed), seconds(f.watched()), output.Rate(f.perSecond(d.Failed)))
		x.Forecast = &Forecast{Event: "ports_exhausted"}
	}
	return x
}

// short is the state of the ports in a few words.
func (d *Destination) short(u use) string {
	to := "ports to " + d.Remote.String()
	switch {
	case d.Failed > 0, u.full():
		return to + " are used up: connect() fails"
	case u.soon():
		return to + " run out in ~" + seconds(u.In)
	}
	return to + " " + output.Percent(uint64(u.Used), uint64(u.Limit)) + " used"
}

// live is how many ports are held by something else than TIME_WAIT.
func (d *Destination) live() int { return d.States.All() - d.States.Of(event.TimeWait) }

func (d *Destination) mostlyTimeWait() bool { return 2*d.States.Of(event.TimeWait) >= d.States.All() }

// idle counts FIN_WAIT2, full or parked.
func (s *States) idle() int { return s.Of(event.FinWait2) + int(s.Parked) }

// loopback reports whether tcp_tw_reuse=2 covers d, as tcp_twsk_unique has it:
// by the addresses, so the host's other addresses do not count.
func (d *Destination) loopback() bool { return d.Local.IsLoopback() || d.Remote.Addr().IsLoopback() }

// reuse says whether connect() may take over ports in TIME_WAIT.
type reuse uint8

const (
	reuseOff        reuse = iota // tcp_tw_reuse does not cover the destination
	reuseUseless                 // nor would it help: the peer has no timestamps
	reuseImpossible              // timestamps are off
	reuseInVain                  // allowed, and never happened: the peer has no timestamps
	reuseSeen                    // allowed, and happened, to this destination or another
	reuseWorks                   // loopback: both ends are here, and have timestamps
)

func (f *Facts) reuse(d Destination) reuse {
	plain := d.Begun > 0 && d.Stamped == 0 // not one has timestamps
	switch {
	case f.Limits.Timestamps == 0:
		return reuseImpossible
	case f.Limits.TWReuse == 0, f.Limits.TWReuse == 2 && !d.loopback():
		if plain {
			return reuseUseless
		}
		return reuseOff
	case d.loopback():
		return reuseWorks
	case d.Stamped > 0, d.Begun == 0 && f.recycled() > 0:
		return reuseSeen
	}
	return reuseInVain
}

// recycled is how many ports connect() took over: in the window if there is
// one, else since the namespace was made.
func (f *Facts) recycled() uint64 {
	if f.Window > 0 {
		return grown(f.After.TWRecycled, f.Before.TWRecycled)
	}
	return f.After.TWRecycled
}
