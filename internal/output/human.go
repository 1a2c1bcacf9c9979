package output

import (
	"math"
	"strconv"
	"time"
)

// Duration words a duration of ns nanoseconds for people, in at most six
// characters below 100 days: 812ns, 3.1ms, 210ms, 61.2s, 2m30s, 1h05m, 3d04h.
func Duration(ns int64) string { return string(AppendDuration(nil, ns)) }

// Seconds words a duration that nobody wants in tenths: 41s, 2m30s.
func Seconds(d time.Duration) string {
	if d < time.Minute {
		return strconv.FormatFloat(d.Seconds(), 'f', 0, 64) + "s"
	}
	return Duration(int64(d))
}

// AppendDuration appends what [Duration] returns.
func AppendDuration(dst []byte, ns int64) []byte {
	if ns < 0 {
		return AppendDuration(append(dst, '-'), -max(ns, -math.MaxInt64))
	}
	d := time.Duration(ns)
	if d < time.Microsecond {
		return append(strconv.AppendInt(dst, ns, 10), "ns"...)
	}
	// The limits are where rounding would need one more digit.
	switch {
	case d < 999500*time.Nanosecond:
		return append(appendThree(dst, ns, int64(time.Microsecond)), "us"...)
	case d < 999500*time.Microsecond:
		return append(appendThree(dst, ns, int64(time.Millisecond)), "ms"...)
	case d < 99950*time.Millisecond:
		return append(appendThree(dst, ns, int64(time.Second)), 's')
	case d < time.Hour-time.Second/2:
		return appendPair(dst, d, time.Second, 60, "m", "s")
	case d < 24*time.Hour-time.Minute/2:
		return appendPair(dst, d, time.Minute, 60, "h", "m")
	default:
		return appendPair(dst, d, time.Hour, 24, "d", "h")
	}
}

// appendThree appends n in units with three digits, one of them behind the
// point if there is room.
func appendThree(dst []byte, n, unit int64) []byte {
	tenths := n / (unit / 10)
	if n%(unit/10) >= unit/20 {
		tenths++
	}
	if tenths >= 1000 {
		return strconv.AppendInt(dst, (n+unit/2)/unit, 10)
	}
	dst = strconv.AppendInt(dst, tenths/10, 10)
	return append(dst, '.', byte('0'+tenths%10))
}

// appendPair appends d as two units: of the large one, per of the small make one.
func appendPair(dst []byte, d, small time.Duration, per int64, largeName, smallName string) []byte {
	n := int64(d / small)
	if d%small >= small/2 {
		n++
	}
	dst = append(strconv.AppendInt(dst, n/per, 10), largeName...)
	rest := n % per
	dst = append(dst, byte('0'+rest/10), byte('0'+rest%10))
	return append(dst, smallName...)
}

// Count words n with separators of thousands: 26,911.
func Count(n uint64) string { return string(AppendCount(nil, n)) }

// AppendCount appends what [Count] returns.
func AppendCount(dst []byte, n uint64) []byte {
	from := len(dst)
	dst = strconv.AppendUint(dst, n, 10)
	for i := len(dst) - 3; i > from; i -= 3 {
		dst = append(dst, 0)
		copy(dst[i+1:], dst[i:])
		dst[i] = ','
	}
	return dst
}

// Rate words a rate per second: 812/s, 26,911/s, and 3.2/s below ten. A rate
// that is no number is "-".
func Rate(perSecond float64) string {
	if math.IsNaN(perSecond) || math.IsInf(perSecond, 0) {
		return "-"
	}
	var dst []byte
	if perSecond < 0 {
		dst = append(dst, '-')
		perSecond = -perSecond
	}
	switch {
	case perSecond == 0:
		dst = append(dst[:0], '0')
	case perSecond < 0.05:
		dst = append(dst, "0.1"...) // there is some: never round it to none
	case perSecond < 9.95:
		dst = strconv.AppendFloat(dst, perSecond, 'f', 1, 64)
	default:
		dst = AppendCount(dst, uint64(math.Round(perSecond)))
	}
	return string(append(dst, "/s"...))
}

// Trend is [Rate] with a sign: +33/s, -4.1/s, +0/s.
func Trend(perSecond float64) string {
	if perSecond >= 0 && !math.IsInf(perSecond, 1) {
		return "+" + Rate(perSecond)
	}
	return Rate(perSecond)
}

// Percent words how much of whole part is: 95%. It rounds down, so that 100%
// is all of it, and says <1% for little; of nothing it is "-".
func Percent(part, whole uint64) string {
	if whole == 0 {
		return "-"
	}
	p := float64(part) / float64(whole) * 100
	if part > 0 && p < 1 {
		return "<1%"
	}
	if part < whole && p >= 100 { // a float cannot tell them apart
		p = 99
	}
	return strconv.FormatUint(uint64(p), 10) + "%"
}

// Bytes words a size in powers of 1024: 412B, 1.5K, 31M, 2.0G.
func Bytes(n uint64) string {
	if n < 1024 {
		return strconv.FormatUint(n, 10) + "B"
	}
	f := float64(n)
	for _, unit := range "KMGTPE" {
		f /= 1024
		if f < 9.95 {
			return strconv.FormatFloat(f, 'f', 1, 64) + string(unit)
		}
		if f < 1023.5 || unit == 'E' {
			return strconv.FormatFloat(f, 'f', 0, 64) + string(unit)
		}
	}
	panic("unreachable")
}
