package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/tracer"
)

// The last comparison with the kernel's counters is repeated while it shows drift:
// what is undecided passes, what is missing does not.
const (
	finishTries = 4
	finishPause = 30 * time.Millisecond
)

type ending struct {
	tries int
	due   time.Time
}

// endWell compares the counters for the last time, and then stops the tracer.
// It goes on being read meanwhile.
func (s *session) endWell() {
	f := &s.ending
	now := time.Now()
	if f.tries >= finishTries || now.Before(f.due) {
		return
	}
	if f.tries++; !s.lastSurvey() && f.tries < finishTries {
		f.due = now.Add(finishPause)
		return
	}
	f.tries = finishTries
	s.tracer.Stop()
}

// lastSurvey reports whether there is no drift, or none can be told.
func (s *session) lastSurvey() bool {
	list, err := s.namespaces()
	if err != nil {
		return true
	}
	drift, err := s.tracer.Compare(s.tracer.Survey(list))
	if err == nil {
		s.drift = drift
	}
	return len(drift) == 0
}

// drain reads the stream to its end, for nothing but the account.
func (s *session) drain() error {
	s.stop("done")
	var e event.Event
	for {
		switch err := s.next(&e); {
		case errors.Is(err, io.EOF):
			s.lossDue = time.Time{}
			return s.reportLosses(ignore)
		case err != nil && !errors.Is(err, tracer.ErrIdle):
			return err
		}
	}
}

// verdict is the exit of a trace that ended well: 0, unless with --strict something
// was lost, or the kernel counted otherwise.
func (s *session) verdict(c *cli.Context) error {
	if s.tape != nil {
		if err := s.tape.verdict(s.talk); err != nil {
			return err
		}
	}
	if !c.Bool("strict") {
		return nil
	}
	if err := s.drain(); err != nil {
		return err
	}
	return judge(s.lost, s.tracedDrift(), s.names)
}

// tracedDrift leaves out the namespaces that are not traced.
func (s *session) tracedDrift() []event.Drift {
	return slices.DeleteFunc(slices.Clone(s.drift), func(d event.Drift) bool { return !s.tracedNetNS(d.NetNS) })
}

func judge(lost map[event.Stage]uint64, drift []event.Drift, names map[uint32]string) error {
	var parts []string
	if len(lost) > 0 {
		words := "events were lost:"
		for _, stage := range slices.Sorted(maps.Keys(lost)) {
			words += fmt.Sprintf(" %d (%v)", lost[stage], stage)
		}
		parts = append(parts, words+"; try a larger --buffer or --max-conns")
	}
	if len(drift) > 0 {
		parts = append(parts, "the kernel counted otherwise: "+wordDrifts(drift, names))
	}
	if len(parts) == 0 {
		return nil
	}
	return exitError{exitLossy, strings.Join(parts, "; ")}
}

func wordDrifts(drift []event.Drift, names map[uint32]string) string {
	var words []string
	for _, d := range drift {
		words = append(words, wordDrift(d, names[d.NetNS]))
	}
	return strings.Join(words, "; ")
}

// wordDrift says by how much and where: "births +3, alive -1 in netns 4026531840".
// A name is printed with it.
func wordDrift(d event.Drift, name string) string {
	var parts []string
	for _, n := range []struct {
		what string
		by   int64
	}{{"births", d.Births}, {"reused", d.Reused}, {"refused", d.Refused}, {"alive", d.Alive}} {
		if n.by != 0 {
			parts = append(parts, fmt.Sprintf("%s %+d", n.what, n.by))
		}
	}
	words := fmt.Sprintf("%s in netns %d", strings.Join(parts, ", "), d.NetNS)
	if name != "" {
		words += " (" + name + ")"
	}
	return words
}

// remarks are what the screen says of the trace itself.
func (s *session) remarks(now time.Time) []string {
	var out []string
	if left := s.ownersKnown.Sub(now); left > 0 {
		out = append(out, fmt.Sprintf("owners known in %ds", int((left+time.Second-1)/time.Second)))
	}
	if drift := s.tracedDrift(); len(drift) > 0 {
		out = append(out, "drift: "+wordDrifts(drift, s.names))
	}
	if s.tape != nil {
		if s.tape.limits == nil {
			out = append(out, "limits of one network namespace, for all")
		}
		return out
	}
	if s.late > 0 {
		out = append(out, fmt.Sprintf("%d begins told late", s.late))
	}
	if process.Usable() != nil {
		out = append(out, "processes by kernel names only: no host pids in /proc")
	}
	if n := s.stream.who.Names().Throttled; n > 0 {
		out = append(out, fmt.Sprintf("%d processes looked up late", n))
	}
	if r := &s.reconcile; now.Sub(r.repairedAt) < reconcileEvery {
		out = append(out, fmt.Sprintf("reconciled: %d added, %d removed", r.added, r.removed))
	}
	return out
}
