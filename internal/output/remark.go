package output

import (
	"strconv"

	"github.com/twtrace/twtrace/internal/event"
)

// appendRemark appends a start, lost or end record as text has it.
func appendRemark(dst []byte, e *event.Event) []byte {
	switch e.Kind {
	case event.Start:
		return appendStart(dst, e)
	case event.Lost:
		return appendLost(dst, e)
	default:
		return appendEnd(dst, e)
	}
}

func appendStart(dst []byte, e *event.Event) []byte {
	s := e.Start
	if s == nil {
		s = &event.StartInfo{}
	}
	dst = appendNamed(append(dst, "# twtrace"...), " ", s.Version)
	dst = appendNamed(dst, " on ", s.Host)
	dst = appendNamed(dst, ", kernel ", s.Kernel)
	if e.Time != 0 {
		dst = appendTime(append(dst, ", since "...), e.Time)
	}
	dst = append(dst, '\n')
	dst = appendItems(dst, "hooks", s.Hooks)
	dst = appendItems(dst, "not seen", s.Missing)
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

func appendLost(dst []byte, e *event.Event) []byte {
	dst = append(dst, "# lost "...)
	dst = strconv.AppendUint(dst, e.Count, 10)
	if e.Stage != event.StageNone {
		dst = append(append(append(dst, " ("...), e.Stage.String()...), ')')
	}
	if e.NetNS != 0 {
		dst = strconv.AppendUint(append(dst, " in netns "...), uint64(e.NetNS), 10)
	}
	if e.Time != 0 {
		dst = shortTime(append(dst, " at "...), e)
	}
	return append(dst, '\n')
}

func appendEnd(dst []byte, e *event.Event) []byte {
	i := e.End
	if i == nil {
		i = &event.EndInfo{}
	}
	dst = append(dst, "# end: "...)
	dst = appendNumber(dst, i.Begins, " begins, ")
	dst = appendTotal(dst, i.Ends, " ends")
	dst = append(dst, ", "...)
	dst = appendNumber(dst, i.Refused, " refused, ")
	dst = appendNumber(dst, i.Alive, " alive, ")
	dst = appendTotal(dst, i.Lost, " lost")
	if len(i.Drift) == 0 {
		dst = append(dst, ", drift 0"...)
	}
	dst = append(dst, "\n# births: "...)
	dst = appendNumber(dst, i.Births, ", of those ")
	dst = appendNumber(dst, i.Parked, " parked, ")
	dst = appendNumber(dst, i.Promoted, " of them promoted, ")
	dst = appendNumber(dst, i.Late, " of these told late\n")
	for _, d := range i.Drift {
		dst = strconv.AppendUint(append(dst, "# drift in netns "...), uint64(d.NetNS), 10)
		dst = appendSigned(append(dst, ": births "...), d.Births)
		dst = appendSigned(append(dst, ", reused "...), d.Reused)
		dst = appendSigned(append(dst, ", refused "...), d.Refused)
		dst = append(appendSigned(append(dst, ", alive "...), d.Alive), '\n')
	}
	if n := i.Unnamed["gone"]; n > 0 {
		dst = appendNumber(append(dst, "# names: "...), n, " processes had ended before their executable could be looked up\n")
	}
	if n := i.Unnamed["throttled"]; n > 0 {
		dst = appendNumber(append(dst, "# names: "...), n, " processes were too many at a time to be looked up at once\n")
	}
	if i.Why != "" {
		dst = append(Escape(append(dst, "# stopped by: "...), i.Why), '\n')
	}
	return dst
}

// appendNamed appends s behind its name, neither if s is not known.
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

// appendTotal appends the sum of m, and in parentheses what it is made of:
// "28 ends (23 expired, 5 reused)".
func appendTotal(dst []byte, m map[string]uint64, what string) []byte {
	var sum uint64
	for _, n := range m {
		sum += n
	}
	dst = appendNumber(dst, sum, what)
	if sum == 0 {
		return dst
	}
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
