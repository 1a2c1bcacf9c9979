package report

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/output"
)

// sections are the parts of the page that are tables, in order.
func (r *Report) sections() []section {
	return []section{r.stormSection(), r.destinationSection(), r.ownerSection(), r.lifeSection(), r.endSection(),
		r.failureSection(), r.lossSection(), r.hostSection()}
}

// timeRows is in how many rows the time line is told in words.
const timeRows = 12

// timeTable is the series as a table of a few rows.
func (r *Report) timeTable() table {
	t := table{Caption: "What happened when (UTC; the most within the time for TIME_WAIT, open connections and ports, else how often)",
		Columns: slices.Concat(left("from"), right("TIME_WAIT", "open", "opened", "ended", "TW begun", "TW ended", "failed", "refused", "lost", "ports"))}
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
	t := table{Caption: "Storms by their begin; numbers at their highest",
		Columns: slices.Concat(left("begin", "end", "severity", "what", "owner", "where"), right("rate", "used", "of", "refused", "life p50")),
		Omitted: omitted(r.Omitted.Storms, "storms")}
	for i := range r.Storms {
		s := &r.Storms[i]
		end := "goes on"
		if s.End != "" {
			end = r.when(s.End)
		}
		of := text("")
		if s.Usable > 0 {
			of = count(s.Usable)
		}
		begin := text(r.when(s.Begin))
		begin.Zoom = r.stormSpan(s)
		t.add(begin, text(end), cell{Text: severityWord(s.Severity), Mark: s.Severity}, text(s.Reason),
			code(process(s.Comm, s.PID)), code(flow(s.Laddr, s.Raddr, s.Rport)), text(output.Rate(s.Rate)), count(s.Used), of, count(s.Fails), lifeOf(s.LifeP50))
	}
	return section{ID: "storms", Title: "Storms", Tables: []table{t}, Empty: "The recording tells of no storm.",
		Intro: "Ports or buckets that ran out or came near, and groups of processes that opened and closed short-lived connections fast."}
}

func lifeOf(ns int64) cell {
	if ns == 0 {
		return text("")
	}
	return life(&ns)
}

// stormSpan is the time of a storm, with a little around it.
func (r *Report) stormSpan(s *Storm) *span {
	from, to := epochSeconds(s.from), epochSeconds(s.to)
	if s.to == 0 {
		to = r.Series.end()
	}
	around := max((to-from)/10, 2*r.Series.Step)
	return &span{max(from-around, r.Series.Time[0]), min(to+around, r.Series.end())}
}

// end is that of the last step.
func (s *Series) end() float64 {
	if len(s.Time) == 0 {
		return 0
	}
	return s.Time[len(s.Time)-1] + s.Step
}

func (r *Report) destinationSection() section {
	t := table{Caption: "Destinations, the fullest port range first", Omitted: omitted(r.Omitted.Destinations, "destinations"),
		Columns: slices.Concat(left("from -> to"), right("ports used", "of", "share", "at", "opened", "TW begun", "no port", "failed", "life p50"), left("opened mostly by"))}
	for _, d := range r.Destinations {
		used, of, full, at := text(""), text(""), text(""), text("")
		if d.Used > 0 {
			used, at = count(d.Used), text(r.when(d.UsedAt))
		}
		if d.Usable > 0 {
			of, full = count(d.Usable), text(share(d.share))
		}
		t.add(code(flow(d.Laddr, d.Raddr, d.Rport)), used, of, full, at, count(d.Opened), count(d.Begins), count(d.NoPort), count(d.Failed),
			life(d.LifeP50), code(process(d.Comm, d.PID)))
	}
	return section{ID: "destinations", Title: "Worst destinations", Tables: []table{t}, Empty: "No client connected anywhere.",
		Intro: "A port in TIME_WAIT is blocked for that source address, destination address and port, and for nothing else. Ports are " +
			"those in use at the most; no port is how often connect() failed with EADDRNOTAVAIL."}
}

func (r *Report) ownerSection() section {
	t := table{Caption: "Owners, those with most connections first", Omitted: omitted(r.Omitted.Owners, "owners"),
		Columns: slices.Concat(left("owner", "role", "runs in"), right("opened", "TW begun", "no TW", "closed first", "life p50", "life p99", "failed", "refused"))}
	for i := range r.Owners {
		o := &r.Owners[i]
		name := process(o.Name, o.PID)
		if o.Processes > 1 {
			name += " (" + output.Count(o.Processes) + " processes)"
		}
		t.add(code(name), text(o.Role), code(o.place()), count(o.Opened), count(o.Begins), count(o.Closed),
			percent(o.Local, o.Closers), life(o.LifeP50), life(o.LifeP99), count(o.Failed), count(o.Refused))
	}
	return section{ID: "owners", Title: "Top owners", Tables: []table{t}, Empty: "No connection was seen.",
		Intro: "Of a client the process that called connect(), of a server the one that accepted where that was seen, else the one " +
			"that closed, else the listener. Closed first is the share of connections whose first FIN came from this side: it gets the TIME_WAIT." +
			r.beforeText()}
}

// beforeText tells of those that have no owner here.
func (r *Report) beforeText() string {
	if r.Totals.Before == 0 {
		return ""
	}
	return " Of " + plural(r.Totals.Before, "socket that was", "sockets that were") + " in TIME_WAIT before the trace no owner can be known."
}

// place is what an owner runs in, the narrowest of it.
func (o *Owner) place() string {
	for _, p := range []string{o.Pod, o.Container, o.Unit, o.Exe} {
		if p != "" {
			return p
		}
	}
	return ""
}

func (r *Report) lifeSection() section {
	l := &r.Lifetimes
	t := table{Caption: "Connections by lifetime", Columns: slices.Concat(right("from", "below", "client", "server or other"), []column{{Name: "share", Bar: true}})}
	most := uint64(1)
	for _, b := range l.Bars {
		most = max(most, b.Client+b.Other)
	}
	for _, b := range l.Bars {
		below, n := text(""), b.Client+b.Other
		if b.To > 0 {
			below = text(output.Duration(b.To))
		}
		bar := percent(n, l.Known)
		bar.Bar = float64(n) / float64(most)
		t.add(text(output.Duration(b.From)), below, count(b.Client), count(b.Other), bar)
	}
	s := section{ID: "lifetimes", Title: "Lifetimes", Tables: []table{t}, Empty: "No connection was seen from its begin to its end."}
	if l.Known > 0 {
		s.Intro = fmt.Sprintf("Of %s connections whose begin and end were seen half lived no longer than %s, 90%% no longer than %s, 99%% no longer than %s. "+
			"A lifetime is from ESTABLISHED to the first step out of it.", output.Count(l.Known), life(l.P50).Text, life(l.P90).Text, life(l.P99).Text)
	}
	return s
}

func (r *Report) endSection() section {
	s := section{ID: "ends", Title: "How connections and TIME_WAIT ended", Empty: "None did."}
	for _, g := range []struct {
		caption string
		counts  []Count
	}{
		{"TIME_WAIT began", r.Begins},
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
	t := table{Caption: "Failed calls, the most frequent first", Omitted: omitted(r.Omitted.Failures, "failed calls"),
		Columns: slices.Concat(left("call", "errno"), right("count"), left("process", "to"), right("first", "last"))}
	for _, f := range r.Failures {
		t.add(text(f.Call), text(f.Errno), count(f.N), code(process(f.Comm, f.PID)), code(flow("", f.Raddr, f.Rport)),
			text(r.when(f.First)), text(r.when(f.Last)))
	}
	return section{ID: "failures", Title: "Failures", Tables: []table{t}, Empty: "No call was seen to fail."}
}

func (r *Report) lossSection() section {
	l := &r.Losses
	lost := table{Caption: "Events lost", Columns: slices.Concat(left("where"), right("count"))}
	for _, s := range l.Stages {
		lost.add(text(s.Stage), count(s.N))
	}
	drift := table{Caption: "The kernel's own counters less what was traced", Columns: right("netns", "births", "reused", "refused", "alive")}
	for _, d := range l.Drift {
		drift.add(text(fmt.Sprint(d.NetNS)), signed(d.Births), signed(d.Reused), signed(d.Refused), signed(d.Alive))
	}
	s := section{ID: "losses", Title: "How far to trust it", Tables: []table{lost, drift}}
	s.Tables = slices.DeleteFunc(s.Tables, func(t table) bool { return len(t.Rows) == 0 })
	s.Notes = r.lossNotes()
	return s
}

func (r *Report) lossNotes() []string {
	l := &r.Losses
	var notes []string
	if len(l.Stages) == 0 {
		notes = append(notes, "No event was lost.")
	}
	if len(l.Drift) == 0 && l.Alive != nil {
		notes = append(notes, "The kernel's own counters of TIME_WAIT agree with what was traced, in each network namespace.")
	}
	if l.Alive == nil {
		notes = append(notes, "The recording has no end record: what the kernel counted is not known.")
	} else if *l.Alive > 0 {
		notes = append(notes, plural(*l.Alive, "socket was", "sockets were")+" still in TIME_WAIT, or parked in FIN_WAIT2, when the trace ended.")
	}
	if l.Late > 0 {
		notes = append(notes, plural(l.Late, "begin of TIME_WAIT was", "begins of TIME_WAIT were")+" found at its end only, and told late.")
	}
	for _, u := range l.Unnamed {
		notes = append(notes, plural(u.N, "process lacks", "processes lack")+" details: "+unnamedWords(u.Reason)+".")
	}
	for _, d := range l.Damage {
		notes = append(notes, "Damaged: "+d+".")
	}
	if n := r.Omitted.Damage; n > 0 {
		notes = append(notes, omitted(n, "damages")+".")
	}
	for _, m := range r.Trace.Missing {
		notes = append(notes, "Not seen: "+m+".")
	}
	return notes
}

func unnamedWords(why string) string {
	switch why {
	case "gone":
		return "they had ended before they could be looked up"
	case "throttled":
		return "there were too many at a time to look them all up at once"
	}
	return why
}

func signed(n int64) cell { return text(fmt.Sprintf("%+d", n)) }

func (r *Report) hostSection() section {
	t := &r.Trace
	host := table{Caption: "The recording", Columns: left("what", "value")}
	for _, row := range [][2]string{{"host", t.Host}, {"kernel", t.Kernel}, {"boot id", t.BootID}, {"recorded by twtrace", t.Version},
		{"from", t.Begin}, {"to", t.End}, {"length", output.Duration(int64(t.Duration * float64(time.Second)))},
		{"ended by", t.Why}, {"filter", t.Filter}, {"hooks", strings.Join(t.Hooks, ", ")}} {
		host.add(text(row[0]), code(row[1]))
	}
	spaces := table{Caption: "TIME_WAIT sockets of network namespaces against tcp_max_tw_buckets", Omitted: omitted(r.Omitted.Namespaces, "namespaces"),
		Columns: right("netns", "most", "of", "share", "at", "refused")}
	for _, n := range r.Namespaces {
		of, full := text(""), text("")
		if n.Limit > 0 {
			of, full = count(n.Limit), text(share(n.share))
		}
		spaces.add(text(fmt.Sprint(n.NetNS)), count(n.Used), of, full, text(r.when(n.At)), count(n.Refused))
	}
	s := section{ID: "host", Title: "Host and limits", Tables: []table{host, spaces}}
	for i := range t.Limits {
		limits := table{Caption: t.Limits[i].whose(), Columns: left("sysctl", "value")}
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
		s.Notes = append(s.Notes, "The recording has no limits: how full anything was is not known.")
	}
	return s
}
