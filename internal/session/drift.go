package session

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// LossError says what the trace lost, or where the kernel counted something else.
type LossError struct{ words string }

func (e *LossError) Error() string { return e.words }

// Verdict is how a trace ended that was read to its end: the damage of its source,
// and, if strict, a *LossError where something was lost.
func (s *Session) Verdict(ctx context.Context, strict bool) error {
	if err := s.Damage(); err != nil {
		return err
	}
	if !strict {
		return nil
	}
	if err := s.Drain(ctx); err != nil {
		return err
	}
	return judge(s.lost, s.TracedDrift(), s.NetNSName)
}

// TracedDrift is Drift without the network namespaces that are not traced.
func (s *Session) TracedDrift() []event.Drift {
	return slices.DeleteFunc(slices.Clone(s.Drift()), func(d event.Drift) bool { return !s.Traces(d.NetNS) })
}

func judge(lost map[event.Stage]uint64, drift []event.Drift, name func(netns uint32) string) error {
	var parts []string
	if len(lost) > 0 {
		words := "events were lost:"
		for _, stage := range slices.Sorted(maps.Keys(lost)) {
			words += fmt.Sprintf(" %d (%v)", lost[stage], stage)
		}
		parts = append(parts, words+"; try a larger --buffer or --max-conns")
	}
	if len(drift) > 0 {
		parts = append(parts, DriftWords(drift, name))
	}
	if len(parts) == 0 {
		return nil
	}
	return &LossError{strings.Join(parts, "; ")}
}

// DriftWords says what the kernel counts otherwise, and where: "in web the kernel counts 3 more
// TIME_WAIT starts".
func DriftWords(drift []event.Drift, name func(netns uint32) string) string {
	var words []string
	for _, d := range drift {
		words = append(words, "in "+cmp.Or(name(d.NetNS), fmt.Sprintf("netns %d", d.NetNS))+" the kernel counts "+driftWords(d))
	}
	return strings.Join(words, "; ")
}

// driftWords is, for example, "3 more TIME_WAIT starts, 1 TIME_WAIT socket less".
func driftWords(d event.Drift) string {
	var parts []string
	for _, n := range []struct {
		what string
		by   int64
	}{{"TIME_WAIT start", d.Births}, {"reuse", d.Reused}, {"refused TIME_WAIT", d.Refused}, {"TIME_WAIT socket", d.Alive}} {
		what, by := n.what, max(n.by, -n.by)
		if by != 1 {
			what += "s"
		}
		switch {
		case n.by > 0:
			parts = append(parts, fmt.Sprintf("%d more %s", by, what))
		case n.by < 0:
			parts = append(parts, fmt.Sprintf("%d fewer %s", by, what))
		}
	}
	return strings.Join(parts, ", ")
}

// driftFor is how long a screen says that the counts differ, from when that was found on:
// the counts of the whole trace never agree again.
const driftFor = time.Minute

// driftRemark is what a screen says of drift at now, "" if that is nothing.
func (s *Session) driftRemark(now time.Time) string {
	words := DriftWords(s.TracedDrift(), s.NetNSName)
	if words != s.drifted {
		s.drifted, s.driftedAt = words, now
	}
	if now.Sub(s.driftedAt) >= driftFor {
		return ""
	}
	return words
}
