package output

import (
	"strconv"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/event"
)

// textOnly are columns of text that say in fewer characters what other fields say.
var textOnly = []*Field{
	{Name: "dir", instead: "role", Type: TypeWord, Column: Column{Width: 3},
		Doc:   "`>`: this host connected; `<`: it was connected to",
		value: func(e *event.Event) Value { return Word(direction(e.Role)) }},
	{Name: "port", instead: "lport and rport", Type: TypeWord, Column: Column{Width: 6}, text: appendPort,
		Doc:   "the service: `>8080` is out to port 8080 of `raddr`, `<80` is in to port 80 of this host",
		value: servicePort},
	{Name: "clock", instead: "time", short: "TIME", Type: TypeTime, Column: Column{Width: 8}, text: wholeSecond,
		Doc:   "the time of day without milliseconds",
		value: func(e *event.Event) Value { return Time(e.Time) }},
}

// direction is an arrow out of this host, or into it; "" if that is not known.
func direction(r event.Role) string {
	switch r {
	case event.Client:
		return ">"
	case event.Server:
		return "<"
	}
	return ""
}

// servicePort is the port that a server listens on, behind the direction.
func servicePort(e *event.Event) Value {
	if s := string(appendPort(nil, e, clock.UTC)); s != "-" {
		return Word(s)
	}
	return Value{}
}

// appendPort is servicePort as a cell.
func appendPort(dst []byte, e *event.Event, _ clock.Clock) []byte {
	port := e.Remote.Port()
	if e.Role == event.Server {
		port = e.Local.Port()
	}
	if port == 0 {
		return append(dst, '-')
	}
	return strconv.AppendUint(append(dst, direction(e.Role)...), uint64(port), 10)
}

// shortTime is the time of day; the heading has the zone.
func shortTime(dst []byte, e *event.Event, c clock.Clock) []byte {
	if e.Time == 0 {
		return append(dst, '-')
	}
	return c.AppendMillis(dst, time.Unix(0, e.Time))
}

// wholeSecond is the time of day without milliseconds.
func wholeSecond(dst []byte, e *event.Event, c clock.Clock) []byte {
	if e.Time == 0 {
		return append(dst, '-')
	}
	return append(dst, c.Time(time.Unix(0, e.Time))...)
}

// shortEvent shortens time_wait_enter to tw_enter, and so on; --event takes both.
func shortEvent(dst []byte, e *event.Event, _ clock.Clock) []byte {
	s := e.Kind.String()
	if rest, ok := strings.CutPrefix(s, "time_wait_"); ok {
		return append(append(dst, "tw_"...), rest...)
	}
	return append(dst, s...)
}

// namedSpace is the name of the network namespace, or its inode number if it has none.
func namedSpace(dst []byte, e *event.Event, c clock.Clock) []byte {
	if e.NetNSName != "" {
		return String(e.NetNSName).appendText(dst, c)
	}
	return uintOf(e.NetNS).appendText(dst, c)
}

// whyText is the reason, or on fail, which has none, the errno. On storms the
// severity and the share of ports in use follow, and that the outage is over.
func whyText(dst []byte, e *event.Event, c clock.Clock) []byte {
	if s := e.Storm; s != nil {
		dst = append(append(dst, e.Reason.String()...), ',')
		dst = append(dst, s.Severity.String()...)
		if s.Usable > 0 {
			dst = append(append(dst, ','), Percent(s.Used, s.Usable)...)
		}
		if s.Resolved {
			dst = append(dst, ",resolved"...)
		}
		return dst
	}
	if e.Kind == event.Fail && e.Reason == event.ReasonNone {
		if e.Errno == 0 && e.Cause != event.CauseNone {
			return Word(e.Cause.String()).appendText(dst, c)
		}
		return errnoOf(e.Errno).appendText(dst, c)
	}
	return Word(e.Reason.String()).appendText(dst, c)
}
