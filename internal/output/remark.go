package output

import (
	"strconv"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/clock"
	"github.com/twtrace/twtrace/internal/event"
)

// appendRemark appends a lost or end record as text has it; t is what was printed.
func appendRemark(dst []byte, e *event.Event, t *tally, o Options) []byte {
	if e.Kind == event.Lost {
		return appendLost(dst, e, o.Clock)
	}
	return appendEnd(dst, e, t, o.Width)
}

// appendStart appends a start record.
func appendStart(dst []byte, e *event.Event, c clock.Clock) []byte {
	s := e.Start
	if s == nil {
		s = &event.StartInfo{}
	}
	dst = appendNamed(append(dst, "# twtrace"...), " ", s.Version)
	dst = appendNamed(dst, " on ", s.Host)
	dst = appendNamed(dst, ", kernel ", s.Kernel)
	if e.Time != 0 {
		dst = append(append(dst, ", since "...), c.Date(time.Unix(0, e.Time))...)
	}
	dst = append(dst, '\n')
	dst = appendItems(dst, "hooks", s.Hooks)
	dst = appendItems(dst, "cannot see", s.Missing)
	limits := make([]string, 0, len(s.Limits))
	for _, k := range sortedKeys(s.Limits) {
		limits = append(limits, k+"="+s.Limits[k])
	}
	dst = appendItems(dst, "limits", limits)
	if s.Filter != "" {
		dst = appendItems(dst, "filter", []string{s.Filter})
	}
	return dst
}

// appendItems appends one remark with a list, nothing if that is empty.
func appendItems(dst []byte, what string, items []string) []byte {
	if len(items) == 0 {
		return dst
	}
	dst = append(append(append(dst, "# "...), what...), ": "...)
	for i, s := range items {
		if i > 0 {
			dst = append(dst, ", "...)
		}
		dst = Escape(dst, s)
	}
	return append(dst, '\n')
}

func appendLost(dst []byte, e *event.Event, c clock.Clock) []byte {
	dst = append(dst, "# lost "...)
	dst = strconv.AppendUint(dst, e.Count, 10)
	if e.Stage != event.StageNone {
		dst = append(append(append(dst, " ("...), e.Stage.String()...), ')')
	}
	if e.NetNS != 0 {
		dst = namedSpace(append(dst, " in netns "...), e, c)
	}
	if e.Time != 0 {
		t := time.Unix(0, e.Time)
		dst = append(append(c.AppendMillis(append(dst, " at "...), t), ' '), c.Zone(t)...)
	}
	return append(dst, '\n')
}

// appendEnd appends an end record: what was printed, and what this lacks. Of the host as a
// whole it says something where no filter asked for less.
func appendEnd(dst []byte, e *event.Event, t *tally, columns int) []byte {
	i := e.End
	if i == nil {
		i = &event.EndInfo{}
	}
	from := len(dst)
	dst = t.appendCounts(dst)
	if t.filter == "" && t.storms() == 0 {
		dst = appendNumber(append(dst, "; "...), i.Alive, " sockets in TIME_WAIT or FIN_WAIT2 now")
	}
	if lost := total(i.Lost); lost > 0 {
		dst = appendParts(append(dst, "; "...), i.Lost, " events lost")
	} else {
		dst = append(dst, "; no event lost"...)
	}
	if i.Why != "" && i.Why != "signal" { // the user knows of the signal
		dst = Escape(append(dst, "; stopped by "...), i.Why)
	}
	dst = wrapRemark(dst, from, columns)
	for _, d := range i.Drift {
		dst = strconv.AppendUint(append(dst, "# drift in netns "...), uint64(d.NetNS), 10)
		dst = appendSigned(append(dst, ": births "...), d.Births)
		dst = appendSigned(append(dst, ", reused "...), d.Reused)
		dst = appendSigned(append(dst, ", refused "...), d.Refused)
		dst = append(appendSigned(append(dst, ", alive "...), d.Alive), '\n')
	}
	if t.filter == "" {
		dst = appendUnnamed(dst, i)
	}
	if len(t.missing) == 0 {
		return dst
	}
	from = len(dst)
	dst = Escape(append(dst, "# not seen: "...), strings.Join(t.missing, "; "))
	return wrapRemark(dst, from, columns)
}

// appendPart appends the last line of a part of a recording, which has no end record.
func appendPart(dst []byte, t *tally, columns int) []byte {
	from := len(dst)
	return wrapRemark(t.appendCounts(dst), from, columns)
}

// appendUnnamed says of how many processes the details are not known.
func appendUnnamed(dst []byte, i *event.EndInfo) []byte {
	if n := i.Unnamed["gone"]; n > 0 {
		dst = appendNumber(append(dst, "# names: "...), n, " processes ended before twtrace read their executable\n")
	}
	if n := i.Unnamed["throttled"]; n > 0 {
		dst = appendNumber(append(dst, "# names: "...), n, " processes started too fast to read all their names in time\n")
	}
	return dst
}

// wrapRemark ends a remark that starts at dst[from:]; on a terminal of so many columns it
// goes on in lines of its own, which start with "#" too. 0 is no terminal.
func wrapRemark(dst []byte, from, columns int) []byte {
	words := strings.Split(string(dst[from:]), " ")
	dst = dst[:from]
	for i, word := range words {
		switch {
		case i == 0:
		case columns > 0 && width(dst[from:])+1+width([]byte(word)) > columns:
			dst = append(dst, '\n')
			from = len(dst)
			dst = append(dst, "#   "...)
		default:
			dst = append(dst, ' ')
		}
		dst = append(dst, word...)
	}
	return append(dst, '\n')
}

// appendNamed appends name and s, or nothing if s is not known.
func appendNamed(dst []byte, name, s string) []byte {
	if s == "" {
		return dst
	}
	return Escape(append(dst, name...), s)
}

func appendNumber(dst []byte, n uint64, what string) []byte {
	return append(strconv.AppendUint(dst, n, 10), what...)
}

func appendSigned(dst []byte, n int64) []byte {
	if n > 0 {
		dst = append(dst, '+')
	}
	return strconv.AppendInt(dst, n, 10)
}

// total is the sum of m.
func total(m map[string]uint64) (sum uint64) {
	for _, n := range m {
		sum += n
	}
	return sum
}

// appendParts appends the sum of m, and its parts in parentheses:
// "23 left it (20 expired, 3 reused)".
func appendParts(dst []byte, m map[string]uint64, what string) []byte {
	dst = appendNumber(dst, total(m), what)
	sep := " ("
	for _, k := range sortedKeys(m) {
		if m[k] == 0 {
			continue
		}
		dst = strconv.AppendUint(append(dst, sep...), m[k], 10)
		dst = Escape(append(dst, ' '), k)
		sep = ", "
	}
	return append(dst, ')')
}
