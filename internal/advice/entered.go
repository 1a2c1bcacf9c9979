package advice

import (
	"fmt"
	"time"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// entered says when sockets entered TIME_WAIT, as their timers have it: how fast they do
// now, or when the burst was, where that is over. "" if there are none.
func (f *Facts) entered(e *pressure.Expiry) string {
	total := e.Total()
	if total == 0 {
		return ""
	}
	if b := e.Burst(); b.Over || e.Since(recentSeconds) == 0 {
		return f.burst(b, total)
	}
	seconds := recentSeconds
	if e.Since(len(e)-2) == e.Since(seconds) { // none is older
		for seconds > 1 && e.Since(seconds-1) == e.Since(seconds) {
			seconds--
		}
	}
	n := e.Since(seconds)
	return fmt.Sprintf("%s entered TIME_WAIT in the last %d s, %s on average", output.Count(uint64(n)), seconds, output.Rate(float64(n)/float64(seconds)))
}

// recentSeconds is over how many seconds a rate in words averages.
const recentSeconds = int(pressure.Recent / time.Second)

// burst says when a burst was, what came after it, and when the last one is over.
func (f *Facts) burst(b pressure.Burst, total int) string {
	words := output.Count(uint64(b.N))
	if b.N < total {
		words += " of " + output.Count(uint64(total))
	}
	words += " entered TIME_WAIT "
	from, to := f.Time.Add(-b.From), f.Time.Add(-b.To)
	switch {
	case b.From == 0:
		words += "by " + f.Clock.TimeZone(to)
	case f.Time.IsZero():
		words += fmt.Sprintf("between %s and %s ago", output.Seconds(b.From), output.Seconds(b.To))
	case b.From-b.To <= time.Second:
		words += "at " + f.Clock.TimeZone(to)
	default:
		words += fmt.Sprintf("between %s and %s, about %s", f.Clock.Time(from), f.Clock.TimeZone(to), output.Rate(b.Rate))
	}
	if b.After == 0 {
		return words + "; none for " + output.Seconds(b.To)
	}
	return words + fmt.Sprintf("; %s since, %s", output.Count(uint64(b.After)), output.Rate(float64(b.After)/b.To.Seconds()))
}

// freeBy says when the last of the ports in TIME_WAIT is free, if no more come.
func (f *Facts) freeBy(e *pressure.Expiry) string {
	_, last := e.Free()
	words := "the last of these ports is free in about " + output.Seconds(last)
	if !f.Time.IsZero() {
		words += ", by " + f.Clock.TimeZone(f.Time.Add(last))
	}
	return words
}

// drains is how long nothing has entered, and until all are over; ok is false while some
// still enter.
func drains(e *pressure.Expiry) (quiet, last time.Duration, ok bool) {
	b := e.Burst()
	if b.N == 0 || b.After > 0 {
		return 0, 0, false
	}
	_, last = e.Free()
	return b.To, last, b.To >= quietAfter
}

// quietAfter is how long nothing must have entered for it to be over.
const quietAfter = 3 * time.Second
