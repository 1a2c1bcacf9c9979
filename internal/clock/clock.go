// Package clock prints times for people: in the zone of the reader, which it always
// names, or in UTC. What programs read (JSON, CSV, Parquet, names of files) is UTC in
// RFC 3339 and does not come through here.
//
// The commands choose a [Clock] once, by --utc, and hand it on. The zero Clock is UTC,
// so that tests print the same everywhere.
package clock

import (
	"strings"
	"time"
)

// Clock prints times in one zone. The zero Clock is [UTC].
type Clock struct{ zone *time.Location }

// UTC prints times in UTC.
var UTC = Clock{}

// Local returns the clock of this process's zone: that of TZ, or of /etc/localtime.
func Local() Clock { return In(time.Local) }

// In returns the clock of a zone; nil is UTC.
func In(zone *time.Location) Clock { return Clock{zone} }

// Location returns the zone, for times that people type.
func (c Clock) Location() *time.Location {
	if c.zone == nil {
		return time.UTC
	}
	return c.zone
}

// Of returns t in the zone.
func (c Clock) Of(t time.Time) time.Time { return t.In(c.Location()) }

// Zone returns what the zone is called at t: UTC, CET, or where it has no name of letters
// its offset from UTC, -03 or +05:45. Many zones change it twice a year.
func (c Clock) Zone(t time.Time) string {
	t = c.Of(t)
	name, offset := t.Zone()
	if !named(name) || name == "UTC" && offset != 0 {
		return strings.TrimSuffix(t.Format("-07:00"), ":00")
	}
	return name
}

// named reports whether a zone's name is one: others are numbers, and TZ may have any byte.
func named(zone string) bool {
	for i := range len(zone) {
		if c := zone[i] | 0x20; c < 'a' || c > 'z' {
			return false
		}
	}
	return len(zone) >= 3 && len(zone) <= 5
}

// Time returns the time of day, 22:14:07, for a place that names the zone itself.
func (c Clock) Time(t time.Time) string { return c.Of(t).Format(time.TimeOnly) }

// Millis returns the time of day with milliseconds, 22:14:07.912, for a place that names
// the zone itself.
func (c Clock) Millis(t time.Time) string { return string(c.AppendMillis(nil, t)) }

// AppendMillis appends what [Clock.Millis] returns.
func (c Clock) AppendMillis(dst []byte, t time.Time) []byte {
	return c.Of(t).AppendFormat(dst, "15:04:05.000")
}

// TimeZone returns the time of day with the zone: 22:14:07 CET.
func (c Clock) TimeZone(t time.Time) string { return c.Time(t) + " " + c.Zone(t) }

// Date returns the date and time of day with the zone: 2026-11-22 22:14:07 CET.
func (c Clock) Date(t time.Time) string { return c.Of(t).Format(time.DateTime) + " " + c.Zone(t) }

// AppendFull appends all of t, RFC 3339 with nanoseconds and the offset from UTC:
// 2026-11-22T23:14:07.912345678+01:00, or with Z for UTC.
func (c Clock) AppendFull(dst []byte, t time.Time) []byte {
	return c.Of(t).AppendFormat(dst, "2006-01-02T15:04:05.000000000Z07:00")
}

// Heading returns the heading of a column of times of day, whose rows do not name the
// zone: TIME(CET), TIME(-03).
func (c Clock) Heading(name string, t time.Time) string { return name + "(" + c.Zone(t) + ")" }
