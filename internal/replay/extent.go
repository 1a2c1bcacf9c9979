package replay

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/record"
)

// Extent is the time that a recording covers.
type Extent struct {
	Start, End time.Time      // End is zero as long as it is not known
	Zone       *time.Location // of times of day, read and printed
	Clamp      bool           // a time before the start means the start: more is not known
}

// Extent returns the time that the files cover. It reads them to their end, but for stdin.
// A stream covers what is in the past.
func (f *Files) Extent(zone *time.Location) (Extent, error) {
	if f.stream {
		return Extent{Start: f.Began(), End: f.opt.Now, Zone: zone, Clamp: true}, nil
	}
	end, err := record.LastTime(f.opt.Files)
	return Extent{Start: f.Began(), End: end, Zone: zone}, err
}

// Part sets the part that is shown, by two times as users write them; "" is the start or
// the end. The errors name flags. Where the end of the recording is not known, Next
// returns the error of a time behind it.
func (f *Files) Part(from, to string, zone *time.Location) error {
	if from == "" && to == "" {
		return nil
	}
	x, err := f.Extent(zone)
	if err != nil {
		return err
	}
	a, err := x.parse("--from", from)
	if err != nil {
		return err
	}
	b, err := x.parse("--to", to)
	if err != nil {
		return err
	}
	if b != 0 && b < a {
		return fmt.Errorf("--to %s is before --from %s", to, from)
	}
	if x.End.IsZero() {
		f.covers = &x
	}
	f.Between(a, b)
	return nil
}

// layouts are forms of times, with what their last digit stands for: 19:07 is a minute.
var layouts = []struct {
	layout string
	day    bool // it has one
	unit   time.Duration
}{
	{"15:04", false, time.Minute},
	{"15:04:05", false, time.Second}, // and with a fraction
	{"2006-01-02 15:04", true, time.Minute},
	{"2006-01-02 15:04:05", true, time.Second},
	{"2006-01-02T15:04", true, time.Minute},
	{"2006-01-02T15:04:05", true, time.Second},
	{"2006-01-02T15:04Z07:00", true, time.Minute},
	{time.RFC3339, true, time.Second},
}

// parse returns a time in ns since the epoch, 0 for "". What stands for a longer time,
// such as a minute, is within the recording if a part of it is.
func (x *Extent) parse(flag, s string) (int64, error) {
	if s == "" {
		return 0, nil
	}
	if d, err := time.ParseDuration(s); err == nil {
		at := x.Start.Add(d)
		if d < 0 || strings.HasPrefix(s, "-") {
			if x.End.IsZero() {
				return 0, fmt.Errorf("%s %s counts from the end of the recording, which is not known before it is read: name a file with -r, or count from the start: +30s", flag, s)
			}
			at = x.End.Add(d)
		}
		return x.inside(flag, s, at, 0)
	}
	for _, l := range layouts {
		t, err := time.ParseInLocation(l.layout, s, x.Zone)
		if err != nil {
			continue
		}
		unit := l.unit
		if strings.Contains(s, ".") {
			unit = 0
		}
		if !l.day {
			t = x.onDay(t, unit)
		}
		return x.inside(flag, s, t, unit)
	}
	return 0, fmt.Errorf("%s: bad time %q: use a time of day (22:14 or 22:14:07, %s), 2026-11-22T22:14:07Z, +30s after the start of the recording, or -1m before its end", flag, s, x.Start.In(x.Zone).Format("MST"))
}

// onDay puts a time of day on the day of the recording where the recording covers it, else
// on its first one; on the second one where nobody knows yet whether there is one.
func (x *Extent) onDay(t time.Time, unit time.Duration) time.Time {
	first := x.Start.In(x.Zone)
	at := func(day int) time.Time {
		return time.Date(first.Year(), first.Month(), first.Day()+day, t.Hour(), t.Minute(), t.Second(), t.Nanosecond(), x.Zone)
	}
	for day := 0; ; day++ {
		v := at(day)
		switch {
		case !x.End.IsZero() && v.Add(-unit).After(x.End):
			return at(0)
		case v.Add(unit).After(x.Start) || v.Equal(x.Start):
			return v
		}
	}
}

// inside returns t, or the error that it is outside of the recording.
func (x *Extent) inside(flag, s string, t time.Time, unit time.Duration) (int64, error) {
	early, late := t.Add(unit), t
	if flag == "--to" {
		late = t.Add(-unit)
	}
	switch {
	case x.Clamp && early.Before(x.Start):
		return x.Start.UnixNano(), nil
	case early.Before(x.Start), unit > 0 && early.Equal(x.Start):
		return 0, fmt.Errorf("%s %s is before the recording, which %s", flag, s, x)
	case !x.End.IsZero() && late.After(x.End):
		return 0, fmt.Errorf("%s %s is after the recording, which %s", flag, s, x)
	}
	return t.UnixNano(), nil
}

// check returns an error if a time is after the recording, whose end is known now.
func (x *Extent) check(at int64, flag string) error {
	end := x.End
	if flag == "--to" { // which may stand for a minute
		end = end.Add(time.Minute)
	}
	if at <= end.UnixNano() {
		return nil
	}
	return errors.New(flag + " is after the recording, which " + x.String())
}

// String says what the recording covers.
func (x *Extent) String() string {
	const clock = "15:04:05"
	start := x.Start.In(x.Zone)
	if x.End.IsZero() {
		return "starts at " + start.Format(time.DateTime+" MST")
	}
	end := x.End.In(x.Zone)
	layout := clock
	if start.Format(time.DateOnly) != end.Format(time.DateOnly) {
		layout = time.DateTime
	}
	return "covers " + start.Format(time.DateTime) + " to " + end.Format(layout+" MST")
}
