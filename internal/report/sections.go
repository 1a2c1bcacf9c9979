package report

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/output"
)

// sections are the parts of the page that are tables, in order.
func (r *Report) sections() []section {
	return []section{r.eventSection(), r.stormSection(), r.destinationSection(), r.ownerSection(), r.lifeSection(), r.endSection(),
		r.failureSection(), r.lossSection(), r.hostSection()}
}

// timeRows is how many rows the table of the time line has.
const timeRows = 12

// timeTable is the series as a table of a few rows.
func (r *Report) timeTable() table {
	t := table{Caption: "Activity over time. TIME_WAIT, open and ports are the maximum of the period, the others count events",
		Columns: slices.Concat(left(r.zoned("from")), right("TIME_WAIT", "open", "opened", "ended", "entered TW", "left TW", "failed", "refused", "lost", "ports"))}
	s := &r.Series
	per := (len(s.Time) + timeRows - 1) / timeRows
	for i := 0; i < len(s.Time); i += per {
		var sum step
		sum.share = -1
		for j := i; j < min(i+per, len(s.Time)); j++ {
			o := step{timeWait: s.TimeWait[j], established: s.Established[j], opened: s.Opened[j], ended: s.Ended[j], begins: s.Begins[j],
				exits: s.Exits[j], failed: s.Failed[j], refused: s.Refused[j], lost: s.Lost[j], share: -1}
			if p := s.PortsShare[j]; p != nil {
				o.share = *p
			}
			sum.merge(&o)
		}
		ports := ""
		if sum.share >= 0 {
			ports = share(sum.share)
		}
		t.add(text(r.when(stamp(int64(math.Round(s.Time[i]*1e3))*1e6))), count(sum.timeWait), count(sum.established), count(sum.opened), count(sum.ended),
			count(sum.begins), count(sum.exits), count(sum.failed), count(sum.refused), count(sum.lost), text(ports))
	}
	return t
}

func (r *Report) stormSection() section {
	t := table{Caption: "Storms in order; peak values",
		Columns: slices.Concat(left(r.zoned("start"), "end", "severity", "what", "namespace", "where", "who"), right("demand", "used", "limit", "failures", "life p50")),
		Omitted: omitted(r.Omitted.Storms, "storms")}
	for i := range r.Storms {
		s := &r.Storms[i]
		end := "still active at end of recording"
		if s.End != "" {
			end = r.when(s.End)
		}
		of := text("")
		if s.Usable > 0 {
			of = count(s.Usable)
		}
		begin := text(r.when(s.Begin))
		begin.Zoom = r.around(s.from, s.to)
		t.add(begin, wrap(end), cell{Text: severityWord(s.Severity), Mark: s.Severity}, text(s.Reason), code(r.space(s.NetNS)),
			names(flow(s.Laddr, s.Raddr, s.Rport)), names(s.who()), text(output.Rate(max(s.Rate, s.Demand))), count(s.Used), of, count(s.Fails), lifeOf(s.LifeP50))
	}
	return section{ID: "storms", Title: "Storms", Tables: []table{t}, Empty: "The recording has no storms.",
		Intro: "Ports or TIME_WAIT buckets that ran out or nearly did, and groups of processes that opened and closed many short-lived connections. " +
			"A storm ends when it was calm for 30 s."}
}

func lifeOf(ns int64) cell {
	if ns == 0 {
		return text("")
	}
	return life(&ns)
}

// end is that of the last step.
func (s *Series) end() float64 {
	if len(s.Time) == 0 {
		return 0
	}
	return s.Time[len(s.Time)-1] + s.Step
}

func (r *Report) destinationSection() section {
	t := table{Caption: "Destinations by share of ports in use", Omitted: omitted(r.Omitted.Destinations, "destinations"),
		Columns: slices.Concat(left("namespace", "from -> to", "mostly opened by"), right("ports used", "usable", "share", r.zoned("at"), "opened", "entered TW", "no port", "failed", "life p50"))}
	for _, d := range r.Destinations {
		used, of, full, at := text(""), text(""), text(""), text("")
		if d.Used > 0 {
			used, at = count(d.Used), text(r.when(d.UsedAt))
		}
		if d.Usable > 0 {
			of, full = count(d.Usable), text(share(d.share))
		}
		t.add(code(r.space(d.NetNS)), names(flow(d.Laddr, d.Raddr, d.Rport)), names(programName(d.Comm, d.PID, d.Procs, d.Others)), used, of, full, at,
			count(d.Opened), count(d.Begins), count(d.NoPort), count(d.Failed), life(d.LifeP50))
	}
	return section{ID: "destinations", Title: "Worst destinations", Tables: []table{t}, Empty: "No client connections.",
		Intro: "A port in TIME_WAIT is blocked for one source address, destination address and destination port only. The ports used " +
			"are the maximum; no port counts the connect() calls that found no free port."}
}

func (r *Report) ownerSection() section {
	t := table{Caption: "Owners by number of connections", Omitted: omitted(r.Omitted.Owners, "owners"),
		Columns: slices.Concat(left("owner", "role", "runs in"), right("opened", "entered TW", "no TW", "closed first", "life p50", "life p99", "failed", "refused"))}
	for i := range r.Owners {
		o := &r.Owners[i]
		name := process(o.Name, o.PID)
		if o.Processes > 1 {
			name += " (" + output.Count(o.Processes) + " processes)"
		}
		t.add(code(name), text(o.Role), code(o.place()), count(o.Opened), count(o.Begins), count(o.Closed),
			percent(o.Local, o.Closers), life(o.LifeP50), life(o.LifeP99), count(o.Failed), count(o.Refused))
	}
	return section{ID: "owners", Title: "Top owners", Tables: []table{t}, Empty: "No connections.",
		Intro: "Clients: the process that called connect(). Servers: the acceptor if seen, otherwise the closer, otherwise the listener. " +
			"Closed first is the share of connections whose first FIN came from this side, which then holds the TIME_WAIT." +
			r.beforeText()}
}

// beforeText counts the sockets that have no owner here.
func (r *Report) beforeText() string {
	if r.Totals.Before == 0 {
		return ""
	}
	return " " + plural(r.Totals.Before, "socket was", "sockets were") + " in TIME_WAIT before the trace started; their owners are unknown."
}

// place is what an owner runs in, the narrowest of it.
func (o *Owner) place() string {
	for _, p := range []string{cmp.Or(o.PodName, o.Pod), cmp.Or(o.ContainerName, o.Container), o.Unit, o.Exe} {
		if p != "" {
			return p
		}
	}
	return ""
}

func (r *Report) lifeSection() section {
	l := &r.Lifetimes
	t := table{Caption: "Connections by lifetime", Columns: slices.Concat(right("from", "below", "client", "server or other"), []column{{Name: "share", Bar: true}})}
	top := uint64(1)
	for _, b := range l.Bars {
		top = max(top, b.Client+b.Other)
	}
	for _, b := range l.Bars {
		below, n := text(""), b.Client+b.Other
		if b.To > 0 {
			below = text(output.Duration(b.To))
		}
		bar := percent(n, l.Known)
		bar.Bar = float64(n) / float64(top)
		t.add(text(output.Duration(b.From)), below, count(b.Client), count(b.Other), bar)
	}
	s := section{ID: "lifetimes", Title: "Lifetimes", Tables: []table{t}, Empty: "No connection opened and closed during the recording."}
	if l.Known > 0 {
		s.Intro = fmt.Sprintf("%s opened and closed during the recording: 50%% lived at most %s, 90%% at most %s, 99%% at most %s. "+
			"A lifetime lasts from ESTABLISHED to the next state.", plural(l.Known, "connection", "connections"), life(l.P50).Text, life(l.P90).Text, life(l.P99).Text)
	}
	return s
}

func (r *Report) endSection() section {
	s := section{ID: "ends", Title: "How connections and TIME_WAIT ended", Empty: "Nothing ended."}
	for _, g := range []struct {
		caption string
		counts  []Count
	}{
		{"TIME_WAIT started", r.Begins},
		{"TIME_WAIT ended", r.Exits},
		{"Ended with no TIME_WAIT on this side", r.Closes},
	} {
		t := table{Caption: g.caption, Columns: slices.Concat(left("reason"), right("count", "share"))}
		var all uint64
		for _, c := range g.counts {
			all += c.N
		}
		for _, c := range g.counts {
			t.add(text(c.Reason), count(c.N), percent(c.N, all))
		}
		if len(t.Rows) > 0 {
			s.Tables = append(s.Tables, t)
		}
	}
	return s
}

func (r *Report) failureSection() section {
	t := table{Caption: "Failed calls by number", Omitted: omitted(r.Omitted.Failures, "failed calls"),
		Columns: slices.Concat(left("call", "errno"), right("count"), left("process", "to"), right(r.zoned("first"), "last"))}
	for _, f := range r.Failures {
		t.add(text(f.Call), text(failedWith(&f)), count(f.N), code(process(f.Comm, f.PID)), code(flow("", f.Raddr, f.Rport)),
			text(r.when(f.First)), text(r.when(f.Last)))
	}
	return section{ID: "failures", Title: "Failures", Tables: []table{t}, Empty: "No failed calls."}
}

func (r *Report) lossSection() section {
	l := &r.Losses
	lost := table{Caption: "Events lost", Columns: slices.Concat(left("where"), right("count"))}
	for _, s := range l.Stages {
		lost.add(text(s.Stage), count(s.N))
	}
	drift := table{Caption: "Kernel counters minus traced counts", Columns: right("namespace", "births", "reused", "refused", "alive")}
	for _, d := range l.Drift {
		drift.add(text(r.space(d.NetNS)), signed(d.Births), signed(d.Reused), signed(d.Refused), signed(d.Alive))
	}
	s := section{ID: "losses", Title: "What the recording misses", Tables: []table{lost, drift}}
	s.Tables = slices.DeleteFunc(s.Tables, func(t table) bool { return len(t.Rows) == 0 })
	s.Notes = r.lossNotes()
	return s
}

func (r *Report) lossNotes() []string {
	l := &r.Losses
	var notes []string
	if len(l.Stages) == 0 {
		notes = append(notes, "No events were lost.")
	}
	if len(l.Drift) == 0 && l.Alive != nil {
		notes = append(notes, "The kernel's TIME_WAIT counters agree with the trace in every network namespace.")
	}
	if l.Alive == nil {
		notes = append(notes, "The recording has no end record, so the kernel's counters are unknown.")
	} else if *l.Alive > 0 {
		notes = append(notes, plural(*l.Alive, "socket was", "sockets were")+" still in TIME_WAIT, or parked in FIN_WAIT2, when the trace ended.")
	}
	if l.Late > 0 {
		notes = append(notes, plural(l.Late, "TIME_WAIT start was", "TIME_WAIT starts were")+" detected late, when TIME_WAIT ended.")
	}
	for _, u := range l.Unnamed {
		notes = append(notes, plural(u.N, "process lacks", "processes lack")+" details: "+unnamedWords(u.Reason)+".")
	}
	for _, d := range l.Damage {
		notes = append(notes, "Damaged: "+d+".")
	}
	if n := r.Omitted.Damage; n > 0 {
		notes = append(notes, omitted(n, "damaged places")+".")
	}
	for _, m := range r.Trace.Missing {
		notes = append(notes, "Not seen: "+m+".")
	}
	return notes
}

func unnamedWords(why string) string {
	switch why {
	case "gone":
		return "they ended before twtrace could read them"
	case "throttled":
		return "too many started at once to read them all"
	}
	return why
}

func signed(n int64) cell { return text(fmt.Sprintf("%+d", n)) }

func (r *Report) hostSection() section {
	t := &r.Trace
	host := table{Caption: "The recording", Columns: left("what", "value")}
	for _, row := range [][2]string{{"host", t.Host}, {"kernel", t.Kernel}, {"boot id", t.BootID}, {"recorded by twtrace", t.Version},
		{"from (UTC)", t.Begin}, {"to (UTC)", t.End}, {"length", output.Duration(int64(t.Duration * float64(time.Second)))},
		{"ended by", t.Why}, {"filter", t.Filter}, {"hooks", strings.Join(t.Hooks, ", ")}} {
		host.add(text(row[0]), code(row[1]))
	}
	spaces := table{Caption: "TIME_WAIT sockets of network namespaces, and their limit tcp_max_tw_buckets", Omitted: omitted(r.Omitted.Namespaces, "namespaces"),
		Columns: slices.Concat(left("namespace"), right("number", "maximum", "limit", "share", r.zoned("at"), "refused"))}
	for _, n := range r.Namespaces {
		of, full := text(""), text("")
		if n.Limit > 0 {
			of, full = count(n.Limit), text(share(n.share))
		}
		spaces.add(code(n.Name), text(fmt.Sprint(n.NetNS)), count(n.Used), of, full, text(r.when(n.At)), count(n.Refused))
	}
	s := section{ID: "host", Title: "Host and limits", Tables: []table{host, spaces}}
	for i := range t.Limits {
		limits := table{Caption: t.Limits[i].whose(r), Columns: left("sysctl", "value")}
		for _, l := range t.Limits[i].Sysctls {
			limits.add(code(l.Name), code(l.Value))
		}
		s.Tables = append(s.Tables, limits)
	}
	if n := omitted(r.Omitted.Limits, "sets of limits"); n != "" {
		s.Notes = append(s.Notes, n+".")
	}
	s.Tables = slices.DeleteFunc(s.Tables, func(t table) bool { return len(t.Rows) == 0 })
	if len(t.Limits) == 0 {
		s.Notes = append(s.Notes, "The recording has no limits, so no share of ports or buckets is known.")
	}
	return s
}
