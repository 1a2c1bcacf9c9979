package clock

import (
	"testing"
	"time"
)

var at = time.Date(2026, 11, 22, 22, 14, 7, 912_345_678, time.UTC)

// TestForms pins each form in UTC, a zone with a name, and zones without one.
func TestForms(t *testing.T) {
	for _, tt := range []struct {
		clock                                                Clock
		time, millis, timeZone, date, zone, heading, rfc3339 string
	}{
		{UTC, "22:14:07", "22:14:07.912", "22:14:07 UTC", "2026-11-22 22:14:07 UTC", "UTC", "TIME(UTC)", "2026-11-22T22:14:07.912345678Z"},
		{In(time.FixedZone("CET", 3600)), "23:14:07", "23:14:07.912", "23:14:07 CET", "2026-11-22 23:14:07 CET", "CET", "TIME(CET)", "2026-11-22T23:14:07.912345678+01:00"},
		{In(time.FixedZone("+0530", 19800)), "03:44:07", "03:44:07.912", "03:44:07 +05:30", "2026-11-23 03:44:07 +05:30", "+05:30", "TIME(+05:30)", "2026-11-23T03:44:07.912345678+05:30"},
		{In(time.FixedZone("UTC", -3600)), "21:14:07", "21:14:07.912", "21:14:07 -01", "2026-11-22 21:14:07 -01", "-01", "TIME(-01)", "2026-11-22T21:14:07.912345678-01:00"},
		{In(time.FixedZone("\x1b[2J", 0)), "22:14:07", "22:14:07.912", "22:14:07 +00", "2026-11-22 22:14:07 +00", "+00", "TIME(+00)", "2026-11-22T22:14:07.912345678Z"},
	} {
		c := tt.clock
		for _, x := range []struct{ what, got, want string }{
			{"Time", c.Time(at), tt.time},
			{"Millis", c.Millis(at), tt.millis},
			{"TimeZone", c.TimeZone(at), tt.timeZone},
			{"Date", c.Date(at), tt.date},
			{"Zone", c.Zone(at), tt.zone},
			{"Heading", c.Heading("TIME", at), tt.heading},
			{"AppendFull", string(c.AppendFull(nil, at)), tt.rfc3339},
		} {
			if x.got != x.want {
				t.Errorf("%s in %s: %q, want %q", x.what, tt.zone, x.got, x.want)
			}
		}
	}
}

// TestZoneOfTheMoment: a zone is called what it is called at that time.
func TestZoneOfTheMoment(t *testing.T) {
	berlin, err := time.LoadLocation("Europe/Berlin")
	if err != nil {
		t.Skip("no time zones on this host")
	}
	c := In(berlin)
	if w, s := c.Zone(at), c.Zone(at.AddDate(0, -5, 0)); w != "CET" || s != "CEST" {
		t.Errorf("%s in winter, %s in summer", w, s)
	}
}

// TestLocal: the zone of the process, and UTC as such.
func TestLocal(t *testing.T) {
	if Local().Location() != time.Local || UTC.Location() != time.UTC || In(nil) != UTC {
		t.Error("the clocks of the process and of UTC are not theirs")
	}
}
