package view

import (
	"cmp"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// words says what e is, in a line.
func words(e *event.Event) (event.Severity, string) {
	who := ""
	if e.Process.Known() {
		who = "  " + processWords(e)
	}
	to := ""
	switch where, remote := eventEnd(e); {
	case where != "" && remote:
		to = " to " + where
	case where != "":
		to = " at " + where
	}
	severity := eventSeverity(e)
	switch e.Kind {
	case event.Fail:
		return severity, e.Call.String() + to + " failed: " + errnoName(e) + who
	case event.TimeWaitRefused:
		return severity, "TIME_WAIT refused (" + e.Reason.String() + ")" + to + who
	case event.Lost:
		return severity, eventWhat(e)
	case event.StormStart, event.StormUpdate, event.StormEnd:
		text := eventWhat(e) + to + who
		if more := stormMore(e.Storm); more != "" {
			text += "  " + more
		}
		return severity, text
	case event.TimeWaitExit:
		return severity, "TIME_WAIT ended (" + e.Reason.String() + ")" + to + who
	}
	return severity, "connection ended (" + e.Reason.String() + ")" + to + who
}

// eventWhat says what happened, without who and where.
func eventWhat(e *event.Event) string {
	switch e.Kind {
	case event.Fail:
		return e.Call.String() + ": " + errnoName(e)
	case event.TimeWaitRefused:
		return "TIME_WAIT refused: " + e.Reason.String()
	case event.Lost:
		return "events lost: " + cmp.Or(e.Stage.String(), "other")
	case event.StormStart:
		return "storm started: " + e.Reason.String()
	case event.StormUpdate:
		return "storm continues: " + e.Reason.String()
	case event.StormEnd:
		return "storm ended: " + e.Reason.String()
	case event.TimeWaitExit:
		return "TIME_WAIT ended: " + e.Reason.String()
	}
	return "connection ended: " + e.Reason.String()
}

// eventSeverity is how bad it is.
func eventSeverity(e *event.Event) event.Severity {
	switch e.Kind {
	case event.Fail:
		switch unix.Errno(e.Errno) {
		case unix.EADDRNOTAVAIL, unix.EADDRINUSE, unix.EMFILE, unix.ENFILE:
			return event.Crit
		}
	case event.TimeWaitRefused, event.Lost:
		return event.Crit
	case event.StormStart, event.StormUpdate:
		if e.Storm != nil {
			return e.Storm.Severity
		}
	}
	return event.SeverityNone
}

// eventEnd is the end that says where it happened: the remote one, but of a server its
// own; "" if neither is known.
func eventEnd(e *event.Event) (where string, remote bool) {
	switch {
	case e.Role != event.Server && e.Remote.IsValid():
		return e.Remote.String(), true
	case e.Local.IsValid():
		return e.Local.String(), false
	case e.Remote.IsValid():
		return e.Remote.String(), true
	}
	return "", false
}

func processWords(e *event.Event) string {
	return e.Process.Comm + "[" + strconv.FormatUint(uint64(e.Process.PID), 10) + "]"
}

// spaceWord is the network namespace of an event: its name, or its number if it has none.
func spaceWord(e *event.Event) string {
	if e.NetNS == 0 {
		return unknown
	}
	return cmp.Or(e.NetNSName, strconv.FormatUint(uint64(e.NetNS), 10))
}

func errnoName(e *event.Event) string {
	return cmp.Or(unix.ErrnoName(unix.Errno(e.Errno)), "errno "+strconv.Itoa(int(e.Errno)))
}

// stormMore is how fast a storm is, and whether its outage is over; "" if neither is
// known.
func stormMore(s *event.StormInfo) string {
	if s == nil {
		return ""
	}
	text := ""
	if v := max(s.Rate, s.Demand); v > 0 {
		text = output.Rate(v)
	}
	if s.Resolved {
		if text != "" {
			text += "  "
		}
		text += "resolved, lasted " + output.Seconds(max(time.Duration(s.Outage*float64(time.Second)), time.Second))
	}
	return text
}
