package report

import (
	"fmt"
	"time"

	"github.com/twtrace/twtrace/internal/clock"
)

// zoneAt is the time zone of a report: of the whole of it, as it is at its start.
func zoneAt(start int64, zone *time.Location) *time.Location {
	if zone == nil || zone == time.UTC {
		return time.UTC
	}
	name, offset := time.Unix(0, start).In(zone).Zone()
	return time.FixedZone(name, offset)
}

// offset is what is added to UTC, in seconds.
func (r *Report) offset() int {
	_, offset := time.Unix(0, 0).In(r.zone).Zone()
	return offset
}

// zoneName is the zone in short, for headings: CET, or UTC+05:30 where it has no name.
func (r *Report) zoneName() string {
	name := clock.In(r.zone).Zone(time.Unix(0, 0))
	if name[0] == '+' || name[0] == '-' {
		return "UTC" + name
	}
	return name
}

// zoneWords are the zone with its difference to UTC, for readers elsewhere: CET, UTC+01:00.
func (r *Report) zoneWords() string {
	name := r.zoneName()
	if r.zone == time.UTC || name == "UTC"+r.offsetText() {
		return name
	}
	return name + ", UTC" + r.offsetText()
}

func (r *Report) offsetText() string {
	minutes := r.offset() / 60
	sign := '+'
	if minutes < 0 {
		sign, minutes = '-', -minutes
	}
	return fmt.Sprintf("%c%02d:%02d", sign, minutes/60, minutes%60)
}

// zoned is a heading of times.
func (r *Report) zoned(heading string) string { return heading + " (" + r.zoneName() + ")" }

// local is a time of the report in its zone.
func (r *Report) local(stamp string) time.Time {
	t, err := time.Parse(time.RFC3339Nano, stamp)
	if err != nil {
		return time.Time{}
	}
	return t.In(r.zone)
}

// clock is the time of day of a time of the report, to the second.
func (r *Report) clock(stamp string) string {
	if stamp == "" {
		return "-"
	}
	return r.local(stamp).Format(time.TimeOnly)
}

// when is a time in words: with its day if the report has several.
func (r *Report) when(stamp string) string {
	switch {
	case stamp == "":
		return "-"
	case r.oneDay():
		return r.clock(stamp)
	}
	return r.local(stamp).Format(time.DateTime)
}

func (r *Report) oneDay() bool {
	return r.local(r.Trace.Begin).Format(time.DateOnly) == r.local(r.Trace.End).Format(time.DateOnly)
}
