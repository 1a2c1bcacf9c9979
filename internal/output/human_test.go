package output

import (
	"math"
	"testing"
	"time"
)

func TestDuration(t *testing.T) {
	for ns, want := range map[int64]string{
		0: "0ns", 1: "1ns", 999: "999ns", 1000: "1.0us", 99_949: "99.9us", 99_950: "100us", 812_000: "812us",
		999_499: "999us", 999_500: "1.0ms", 3_100_000: "3.1ms", 18_349_999: "18.3ms", 210_000_000: "210ms",
		999_499_999: "999ms", 999_500_000: "1.0s", 60_000_000_000: "60.0s", 61_200_000_000: "61.2s",
		99_949_999_999: "99.9s", 99_950_000_000: "1m40s", 150_000_000_000: "2m30s",
		int64(time.Hour) - int64(time.Second)/2 - 1: "59m59s", int64(time.Hour) - int64(time.Second)/2: "1h00m",
		int64(65 * time.Minute): "1h05m", int64(24*time.Hour) - int64(30*time.Second): "1d00h",
		int64(76 * time.Hour): "3d04h", -3_100_000: "-3.1ms", math.MinInt64: "-106752d00h", math.MaxInt64: "106752d00h",
	} {
		if got := Duration(ns); got != want {
			t.Errorf("Duration(%d) = %q, want %q", ns, got, want)
		}
	}
}

func TestSeconds(t *testing.T) {
	for d, want := range map[time.Duration]string{
		0: "0s", 400 * time.Millisecond: "0s", 600 * time.Millisecond: "1s", 41300 * time.Millisecond: "41s", 150 * time.Second: "2m30s",
	} {
		if got := Seconds(d); got != want {
			t.Errorf("Seconds(%v) = %q, want %q", d, got, want)
		}
	}
}

// TestDurationWidth checks the promise of six characters, around every power
// of ten and every unit.
func TestDurationWidth(t *testing.T) {
	for base := int64(1); base < int64(90*24*time.Hour); base += 1 + base/97 {
		for ns := base - 1; ns <= base+1; ns++ {
			if s := Duration(ns); len(s) > 6 {
				t.Fatalf("Duration(%d) = %q is wider than 6", ns, s)
			}
		}
	}
}

func TestHuman(t *testing.T) {
	for _, tt := range []struct{ got, want string }{
		{Count(0), "0"}, {Count(999), "999"}, {Count(1000), "1,000"}, {Count(26911), "26,911"},
		{Count(1234567), "1,234,567"}, {Count(math.MaxUint64), "18,446,744,073,709,551,615"},
		{Rate(0), "0/s"}, {Rate(0.001), "0.1/s"}, {Rate(3.24), "3.2/s"}, {Rate(9.95), "10/s"}, {Rate(812.4), "812/s"},
		{Rate(26911), "26,911/s"}, {Rate(-4.1), "-4.1/s"}, {Rate(math.NaN()), "-"}, {Rate(math.Inf(1)), "-"},
		{Trend(33), "+33/s"}, {Trend(-33), "-33/s"}, {Trend(0), "+0/s"}, {Trend(math.Inf(1)), "-"}, {Trend(math.NaN()), "-"},
		{Percent(26911, 28232), "95%"}, {Percent(0, 10), "0%"}, {Percent(1, 1000), "<1%"}, {Percent(999, 1000), "99%"},
		{Percent(7, 7), "100%"}, {Percent(1, 0), "-"}, {Percent(math.MaxUint64-1, math.MaxUint64), "99%"},
		{Percent(3, 2), "150%"},
		{Bytes(0), "0B"}, {Bytes(412), "412B"}, {Bytes(1536), "1.5K"}, {Bytes(31 << 20), "31M"}, {Bytes(1<<20 - 1), "1.0M"},
		{Bytes(2 << 30), "2.0G"}, {Bytes(math.MaxUint64), "16E"},
	} {
		if tt.got != tt.want {
			t.Errorf("got %q, want %q", tt.got, tt.want)
		}
	}
	if got := string(AppendCount([]byte("1,"), 1234)); got != "1,1,234" {
		t.Errorf("AppendCount behind another number: %q", got)
	}
}
