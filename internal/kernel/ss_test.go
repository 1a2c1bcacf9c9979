package kernel

import (
	"net/netip"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// ssLine is a line of `ss -tane`; unit is the last digit that it shows of Expires.
type ssLine struct {
	Socket
	unit time.Duration
}

var ssStates = map[string]event.State{
	"ESTAB": event.Established, "SYN-SENT": event.SynSent, "SYN-RECV": event.SynRecv,
	"FIN-WAIT-1": event.FinWait1, "FIN-WAIT-2": event.FinWait2, "TIME-WAIT": event.TimeWait,
	"CLOSE-WAIT": event.CloseWait, "LAST-ACK": event.LastAck, "LISTEN": event.Listening, "CLOSING": event.Closing,
}

// parseSS reads lines like
//
//	TIME-WAIT 0 0 127.0.0.1:48920 127.0.0.1:37223 timer:(timewait,59sec,0) ino:0 sk:1007
func parseSS(t *testing.T, out string) []ssLine {
	t.Helper()
	var all []ssLine
	for line := range strings.Lines(out) {
		f := strings.Fields(line)
		s := ssLine{unit: time.Millisecond}
		s.State = ssStates[f[0]]
		s.RQueue, s.WQueue = uint32(number(t, f[1], 10)), uint32(number(t, f[2], 10))
		s.Local, s.Remote = ssAddr(t, f[3]), ssAddr(t, f[4])
		for _, word := range f[5:] {
			key, value, _ := strings.Cut(word, ":")
			switch key {
			case "timer":
				p := strings.Split(strings.Trim(value, "()"), ",")
				s.Timer = map[string]uint8{"on": 1, "keepalive": 2, "timewait": 3, "persist": 4}[p[0]]
				s.Expires, s.unit = ssTime(t, p[1])
				s.Retrans = uint8(number(t, p[2], 10))
			case "uid":
				s.UID = uint32(number(t, value, 10))
			case "ino":
				s.Inode = uint32(number(t, value, 10))
			case "sk":
				s.Cookie = number(t, value, 16)
			}
		}
		all = append(all, s)
	}
	return all
}

func ssAddr(t *testing.T, s string) netip.AddrPort {
	t.Helper()
	host, port, ok := cutLast(s, ":")
	if !ok {
		t.Fatalf("ss address %q", s)
	}
	if host == "*" {
		host = "::" // how ss prints a dual-stack listener
	}
	if port == "*" {
		port = "0"
	}
	a, err := netip.ParseAddr(strings.Trim(host, "[]"))
	if err != nil {
		t.Fatal(err)
	}
	return netip.AddrPortFrom(a.Unmap(), uint16(number(t, port, 10)))
}

func cutLast(s, sep string) (before, after string, found bool) {
	i := strings.LastIndex(s, sep)
	if i < 0 {
		return s, "", false
	}
	return s[:i], s[i+len(sep):], true
}

// ssTime reads the times of ss: "1min2sec", "59sec", "2.123ms" (2.123 s), "200ms".
func ssTime(t *testing.T, s string) (left, unit time.Duration) {
	t.Helper()
	unit = time.Second
	if minutes, rest, ok := strings.Cut(s, "min"); ok {
		left, s = time.Duration(number(t, minutes, 10))*time.Minute, rest
		if left > 9*time.Minute {
			unit = time.Minute
		}
	}
	if ms, ok := strings.CutSuffix(s, "ms"); ok {
		unit = time.Millisecond
		sec, frac, ok := strings.Cut(ms, ".")
		if !ok {
			sec, frac = "0", ms
		}
		return left + time.Duration(number(t, sec, 10))*time.Second + time.Duration(number(t, frac, 10))*time.Millisecond, unit
	}
	if sec, ok := strings.CutSuffix(s, "sec"); ok {
		left += time.Duration(number(t, sec, 10)) * time.Second
	}
	return left, unit
}

func number(t *testing.T, s string, base int) uint64 {
	t.Helper()
	v, err := strconv.ParseUint(s, base, 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
