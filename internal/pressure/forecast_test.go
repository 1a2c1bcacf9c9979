package pressure

import (
	"math"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// TestForecast: the present sockets leave, new ones come, and the sum settles.
func TestForecast(t *testing.T) {
	const usable = 28232
	for _, tt := range []struct {
		name     string
		live     int
		growth   float64
		rate     int // TIME_WAIT a second, for as many of the last sixty seconds
		seconds  int
		min, max time.Duration // 0: it does not get full
		severity event.Severity
	}{
		{"400/s settle at 86 % and never fail", 0, 0, 400, 60, 0, 0, event.Warn},
		{"400/s that started ten seconds ago", 0, 0, 400, 10, 0, 0, event.Warn},
		{"300/s that started ten seconds ago", 0, 0, 300, 10, 0, 0, event.SeverityNone},
		{"500/s that started ten seconds ago", 0, 0, 500, 10, 46 * time.Second, 47 * time.Second, event.Crit},
		{"2,000/s that started ten seconds ago", 0, 0, 2000, 10, 4 * time.Second, 5 * time.Second, event.Crit},
		{"400/s beside 5,000 live connections", 5000, 0, 400, 10, 48 * time.Second, 49 * time.Second, event.Crit},
		{"a leak of 50/s", 14232, 50, 0, 0, 279 * time.Second, 281 * time.Second, event.Crit},
		{"a leak of 20/s", 14232, 20, 0, 0, 699 * time.Second, 701 * time.Second, event.Warn},
		{"full already", usable, 0, 0, 0, 0, 1, event.Crit},
		{"nothing", 0, 0, 0, 0, 0, 0, event.SeverityNone},
	} {
		var e Expiry
		for i := 60 - tt.seconds; i < 60; i++ {
			e[i] = uint32(tt.rate)
		}
		o := Forecast(Load{Limit: usable, Live: float64(tt.live), Growth: tt.growth, TimeWait: e, Rate: float64(tt.rate)})
		if full := tt.max > 0; o.Full != full || o.In < tt.min || o.In > tt.max {
			t.Errorf("%s: full %v in %v, want %v in %v to %v", tt.name, o.Full, o.In, full, tt.min, tt.max)
		}
		if s := o.Severity(); s != tt.severity {
			t.Errorf("%s: severity %v, want %v", tt.name, s, tt.severity)
		}
		if want := float64(tt.live) + float64(tt.rate)*61; tt.growth == 0 && o.Steady != want {
			t.Errorf("%s: settles at %v, want %v", tt.name, o.Steady, want)
		}
	}
}

// A rate that has stopped lets everything expire.
func TestForecastFalling(t *testing.T) {
	var e Expiry
	e.Add(20000, 30*time.Second)
	o := Forecast(Load{Limit: 28232, Live: 100, TimeWait: e})
	if !o.Falling() || o.Steady != 100 || o.Severity() != event.SeverityNone {
		t.Errorf("%+v, falling %v, severity %v", o, o.Falling(), o.Severity())
	}
}

func TestExpiry(t *testing.T) {
	var e Expiry
	for _, left := range []time.Duration{-time.Second, 0, 999 * time.Millisecond, time.Second, 50 * time.Second,
		59999 * time.Millisecond, time.Minute, 2 * time.Hour} {
		e.Add(1, left)
	}
	want := Expiry{0: 3, 1: 1, 50: 1, 59: 1, 60: 1, 61: 1}
	if e != want {
		t.Errorf("got %v, want %v", e, want)
	}
	if e.Rate() != 0.4 || e.Total() != 8 {
		t.Errorf("four of eight started in ten seconds, rate %v of %d", e.Rate(), e.Total())
	}
	c := e.course()
	for _, tt := range []struct{ after, gone float64 }{{-5, 0}, {0, 0}, {0.5, 0}, {1, 3}, {1.5, 3}, {2, 4}, {51, 5}, {1000, 8}} {
		if got := c.at(tt.after); got != tt.gone {
			t.Errorf("%v gone after %v s, want %v", got, tt.after, tt.gone)
		}
	}
}

// TestCourse compares with a sum over all sockets.
func TestCourse(t *testing.T) {
	var e Expiry
	for i := range e {
		e[i] = uint32(i * i)
	}
	c := e.course()
	for s := -5; s < 400; s++ {
		want := 0.0
		for left, n := range e {
			if left < s {
				want += float64(n)
			}
		}
		if got := c.at(float64(s)); got != want {
			t.Errorf("%v are gone after %v s, want %v", got, s, want)
		}
	}
}

// What is left out of a forecast, because nothing changes any more, would not have
// changed it.
func TestForecastLeavesNothingOut(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	full := 0
	for range 500 {
		l := Load{Limit: 1000, Live: float64(r.IntN(500)), Rate: float64(r.IntN(15)), Hold: time.Duration(r.IntN(90)) * time.Second,
			Growth: float64(r.IntN(2) * r.IntN(4))}
		for range r.IntN(9) {
			l.TimeWait.Add(r.IntN(60), time.Duration(r.IntN(70))*time.Second)
		}
		hold := l.Hold
		if hold == 0 {
			hold = Hold
		}
		steady, used, in, gone := 0.0, l.Live+float64(l.TimeWait.Total()), -1, l.TimeWait.course()
		for s := range int(farthest/time.Second) + 1 {
			n := l.Live + l.Growth*float64(s) + float64(l.TimeWait.Total()) - gone.at(float64(s-slack)) + l.Rate*min(float64(s), hold.Seconds())
			if s <= int(Horizon/time.Second) {
				steady = max(steady, n)
			}
			if s == int(Horizon/time.Second) && n < used {
				steady = n
			}
			if n >= l.Limit && in < 0 {
				in = s
			}
		}
		o := Forecast(l)
		if o.Full != (in >= 0) || o.Full && math.Ceil(o.In.Seconds()) != float64(in) || o.Steady != steady {
			t.Fatalf("%+v: %+v, want %v, and full in %d s", l, o, steady, in)
		}
		if o.Full {
			full++
		}
	}
	if full < 50 || full > 450 {
		t.Errorf("%d of 500 get full", full)
	}
}
