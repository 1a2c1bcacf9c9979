package advice

import (
	"fmt"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw201 = rule{id: "TW201", title: "connections are not kept", find: noPool}

// What a client must do to be reported.
const (
	churnRate  = 20  // connections per second to one destination, failed ones included
	fewOpens   = 5   // that did not fail: fewer do not show what they are like
	shortShare = 0.5 // of them that are short-lived

	// busyLife is up to which median a client is reported that always has some connections,
	// as long as no limit is near: one that keeps its connections looks the same, if its
	// server or itself ends each after some hundred requests.
	busyLife = 100 * time.Millisecond
)

// noPool is TW201: for each program and destination, by the program's own rate.
func noPool(f Facts) []Finding {
	var found []Finding
	for i := range f.Destinations {
		d := &f.Destinations[i]
		for j := range d.Openers.List {
			o := &d.Openers.List[j]
			if !f.churns(d, o) || len(found) == maxFindings {
				continue
			}
			x := f.pooled(d, o)
			if o.Pool.size() == poolBusy && o.Flow.LifeP50 > busyLife && x.Severity < event.Warn {
				continue
			}
			found = append(found, x)
		}
	}
	return found
}

// churns reports whether a program opens many connections to d, and most are short.
func (f *Facts) churns(d *Destination, o *Contributor) bool {
	if f.perSecond(o.N+d.Failers.Part(o.Process)) < churnRate || o.N < fewOpens || o.brief() < shortShare {
		return false
	}
	all, ok := f.ownerOf(o.Process, event.Client)
	return !ok || !all.swarms()
}

// pooled is about the program of o, which opens many connections to d.
func (f *Facts) pooled(d *Destination, o *Contributor) Finding {
	p, name := &o.Pool, o.name()
	x := Finding{
		Severity: event.Info,
		When:     "no limit is near",
		Why:      f.flowInWords(&o.Flow),
		Fix:      d.reuseConnections(*o),
		Scope:    d.scope(),
		Evidence: f.flowEvidence(&o.Flow),
	}
	x.by(f.opened(one(*o)))
	rate := connectionRate(f.perSecond(o.N))
	switch p.size() {
	case poolNone:
		x.Title = "no connection is kept"
		x.Short = fmt.Sprintf("%s to %s and keeps none", o.Process.Comm+" opens "+rate, d.Remote)
		x.What = fmt.Sprintf("%s to %s and %s none of them: %s, and at most %s at once and at times none", o.opens(rate), d.Remote, o.does("keeps", "keep"), p.lived(), o.open())
	case poolSmall:
		x.Title = "the connection pool is too small"
		x.Short = fmt.Sprintf("the pool of %s to %s is too small: it keeps %d, and a burst needs %d", o.Process.Comm, d.Remote, p.Kept, p.needs())
		x.What = fmt.Sprintf(o.each("%s keeps %s to %s, has %d at once in a burst and %d at most, and opens %s beside those: %s"),
			name, plural(uint64(p.Kept), "connection"), d.Remote, p.needs(), p.Most, rate, p.lived())
	case poolBusy:
		x.Title = "many short connections"
		x.Short = fmt.Sprintf("%s to %s, and most live for less than %s", o.Process.Comm+" opens "+rate, d.Remote, output.Seconds(ShortLived))
		x.What = fmt.Sprintf("%s to %s: %s, and at most %s at once", o.opens(rate), d.Remote, p.lived(), o.open())
	default:
		x.Title = "many short connections"
		x.Short = fmt.Sprintf("%s to %s", o.Process.Comm+" opens "+rate, d.Remote)
		x.What = fmt.Sprintf("%s to %s", o.opens(rate), d.Remote)
	}
	if n, of, most := o.Flow.closedThere(); most {
		x.Why += fmt.Sprintf(": the server closed %s of %s first", output.Count(n), output.Count(of))
	}
	if p.Over > 0 {
		x.Evidence = append(x.Evidence,
			Evidence{Name: "kept", Value: float64(p.Kept), Limit: float64(p.Most), Unit: "connections", Source: "trace"},
			Evidence{Name: "open_in_a_burst", Value: float64(p.needs()), Unit: "connections", Source: "trace"},
			Evidence{Name: "open_at_least", Value: float64(p.Least), Unit: "connections", Source: "trace"},
			Evidence{Name: "closed_within_1s", Value: float64(p.Brief), Limit: float64(p.Closed), Unit: "connections", Source: "trace"})
	}
	if u := f.use(d); d.mostlyTimeWait() && (u.severity() >= event.Warn || d.Failed > 0) {
		x.Severity = event.Warn
		x.When = "it uses up the ports to that destination: " + u.when("connect() fails with "+errnoName(unix.EADDRNOTAVAIL))
		x.Now = []Remedy{{Text: "TW101 says how to get more ports for the moment; only reuse ends the problem"}}
	}
	return x
}

// opens is who opens connections, and how fast.
func (o *Contributor) opens(rate string) string {
	return o.name() + " " + o.does("opens", "open") + " " + rate
}

// each is a sentence about one client, for as many as there are.
func (o *Contributor) each(sentence string) string {
	switch {
	case o.PIDs <= 1:
		return sentence
	case o.Pool.Together:
		return strings.NewReplacer(" keeps ", " together keep ", " has ", " have ", " opens ", " open ").Replace(sentence)
	}
	return strings.NewReplacer(" keeps ", " keep ", ", has ", " in each process, which has ", " opens ", " together they open ").Replace(sentence)
}

// lived is how long the connections lived that it closed.
func (p *Pool) lived() string {
	words := fmt.Sprintf("of the %s that ended in the last %s, %s had lived for less than %s", output.Count(p.Closed), output.Seconds(p.Over),
		output.Percent(p.Brief, p.Closed), output.Seconds(ShortLived))
	if p.Brief == p.Closed {
		words = fmt.Sprintf("all %s that ended in the last %s had lived for less than %s", output.Count(p.Closed), output.Seconds(p.Over), output.Seconds(ShortLived))
	}
	return words
}

// open is how many it has open at once.
func (o *Contributor) open() string {
	words := plural(uint64(o.Pool.Most), "connection") + " are open"
	if o.Pool.Most == 1 {
		words = "1 connection is open"
	}
	if o.PIDs > 1 && !o.Pool.Together {
		words += " in each process"
	}
	return words
}
