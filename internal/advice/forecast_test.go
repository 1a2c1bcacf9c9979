package advice

import (
	"testing"
	"time"
)

// TestForecast: the present sockets leave, new ones come, and the sum settles.
func TestForecast(t *testing.T) {
	const usable = 28232
	for _, tt := range []struct {
		name     string
		live     int
		rate     int // TIME_WAIT a second, for as many of the last twelve steps of 5 s
		steps    int
		full     bool
		min, max time.Duration
	}{
		{"400/s settle at 86 % and never fail", 0, 400, 12, false, 0, 0},
		{"400/s that began ten seconds ago", 0, 400, 2, false, 0, 0},
		{"500/s that began ten seconds ago", 0, 500, 2, true, 45 * time.Second, 48 * time.Second},
		{"2,000/s that began ten seconds ago", 0, 2000, 2, true, 4 * time.Second, 5 * time.Second},
		{"400/s beside 5,000 live connections", 5000, 400, 2, true, 46 * time.Second, 50 * time.Second},
		{"full already", usable, 0, 0, true, 0, 0},
		{"nothing", 0, 0, 0, false, 0, 0},
	} {
		var e Expiry
		for i := 12 - tt.steps; i < 12; i++ {
			e[i] = uint32(tt.rate * 5)
		}
		u := project(tt.live, e, usable)
		if u.full != tt.full || u.in < tt.min || u.in > tt.max {
			t.Errorf("%s: full %v in %v, want %v in %v to %v", tt.name, u.full, u.in, tt.full, tt.min, tt.max)
		}
		if tt.steps > 1 && u.rate != float64(tt.rate) {
			t.Errorf("%s: rate %v", tt.name, u.rate)
		}
		if want := float64(tt.live) + float64(tt.rate)*61; tt.steps > 1 && u.steady != want {
			t.Errorf("%s: settles at %v, want %v", tt.name, u.steady, want)
		}
	}
}

func TestExpiry(t *testing.T) {
	var e Expiry
	for _, left := range []time.Duration{-time.Second, 0, 4999 * time.Millisecond, 5 * time.Second, 50 * time.Second,
		59999 * time.Millisecond, time.Minute, 2 * time.Hour} {
		e.add(left)
	}
	want := Expiry{0: 3, 1: 1, 10: 1, 11: 1, 12: 2}
	if e != want {
		t.Errorf("got %v, want %v", e, want)
	}
	if e.Rate() != 0.4 {
		t.Errorf("four began in ten seconds, rate %v", e.Rate())
	}
	for _, tt := range []struct{ after, gone float64 }{{0, 0}, {2.5, 1.5}, {5, 3}, {7.5, 3.5}, {1000, 8}} {
		if got := e.gone(tt.after); got != tt.gone {
			t.Errorf("%v gone after %v s, want %v", got, tt.after, tt.gone)
		}
	}
}
