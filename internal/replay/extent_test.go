package replay

import (
	"strings"
	"testing"
	"time"
)

// TestExtent: times of a recording from 19:07:06.4 to 19:09:56.
func TestExtent(t *testing.T) {
	day := time.Date(2026, 11, 30, 0, 0, 0, 0, time.UTC)
	at := func(h, m, s int) time.Time {
		return day.Add(time.Duration(h)*time.Hour + time.Duration(m)*time.Minute + time.Duration(s)*time.Second)
	}
	x := Extent{Start: at(19, 7, 6).Add(400 * time.Millisecond), End: at(19, 9, 56), Zone: time.UTC}
	night := Extent{Start: at(23, 59, 30), End: at(24, 2, 0), Zone: time.UTC}
	open := Extent{Start: at(23, 59, 30), Zone: time.UTC}
	york := Extent{Start: x.Start, End: x.End, Zone: time.FixedZone("EST", -5*3600)}
	const outside = ", which covers 2026-11-30 19:07:06 to 19:09:56 UTC"
	for _, tt := range []struct {
		x       Extent
		flag, s string
		want    time.Time
		err     string
	}{
		{x, "--from", "19:07", at(19, 7, 0), ""},
		{x, "--from", "19:07:06", at(19, 7, 6), ""},
		{x, "--from", "19:07:05", at(0, 0, 0), "--from 19:07:05 is before the recording" + outside},
		{x, "--from", "19:06", at(0, 0, 0), "--from 19:06 is before the recording" + outside},
		{x, "--from", "20:00", at(0, 0, 0), "--from 20:00 is after the recording" + outside},
		{x, "--to", "19:08", at(19, 8, 0), ""},
		{x, "--to", "19:10", at(19, 10, 0), ""},
		{x, "--to", "19:11", at(0, 0, 0), "--to 19:11 is after the recording" + outside},
		{x, "--to", "18:00", at(0, 0, 0), "--to 18:00 is before the recording" + outside},
		{x, "--from", "+30s", x.Start.Add(30 * time.Second), ""},
		{x, "--from", "30s", x.Start.Add(30 * time.Second), ""},
		{x, "--from", "-1m", at(19, 8, 56), ""},
		{x, "--from", "-10m", at(0, 0, 0), "--from -10m is before the recording" + outside},
		{x, "--to", "+1h", at(0, 0, 0), "--to +1h is after the recording" + outside},
		{x, "--from", "2026-11-30T19:08:00Z", at(19, 8, 0), ""},
		{x, "--from", "2026-11-30T14:08-05:00", at(19, 8, 0), ""},
		{x, "--from", "2026-11-30 19:08", at(19, 8, 0), ""},
		{x, "--from", "2026-12-01 19:08", at(0, 0, 0), "after the recording"},
		{x, "--from", "noon", at(0, 0, 0), "bad time"},
		{x, "--from", "25:00", at(0, 0, 0), "bad time"},
		{york, "--from", "14:08", at(19, 8, 0), ""},
		{york, "--from", "19:08", at(0, 0, 0), "--from 19:08 is after the recording, which covers 2026-11-30 14:07:06 to 14:09:56 EST"},
		{night, "--from", "23:59:40", at(23, 59, 40), ""},
		{night, "--from", "00:01", at(24, 1, 0), ""},
		{night, "--from", "12:00", at(0, 0, 0), "is before the recording, which covers 2026-11-30 23:59:30 to 2026-12-01 00:02:00 UTC"},
		{open, "--from", "00:01", at(24, 1, 0), ""},
		{open, "--from", "-1m", at(0, 0, 0), "not known before it is read"},
		{open, "--from", "2026-11-30T12:00:00Z", at(0, 0, 0), "before the recording, which starts at 2026-11-30 23:59:30 UTC"},
	} {
		got, err := tt.x.parse(tt.flag, tt.s)
		switch {
		case tt.err == "" && (err != nil || got != tt.want.UnixNano()):
			t.Errorf("%s %s: %v, %v; want %v", tt.flag, tt.s, time.Unix(0, got).UTC(), err, tt.want)
		case tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)):
			t.Errorf("%s %s: %v, want %s", tt.flag, tt.s, err, tt.err)
		}
	}
}
