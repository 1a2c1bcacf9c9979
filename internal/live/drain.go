package live

import (
	"fmt"
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/tracer"
)

// The last comparison with the kernel's counters is repeated while it shows drift:
// what is undecided passes, what is missing does not.
const (
	finishTries = 4
	finishPause = 30 * time.Millisecond
)

// finish is how far the end of the trace is.
type finish struct {
	wanted bool
	tries  int
	due    time.Time
}

// Finish ends the trace: the counters are compared for the last time, and the hooks
// detached. What is in the ring can be read on.
func (t *Trace) Finish() { t.finish.wanted = true }

// finishWell compares the counters for the last time, and then stops the tracer. The
// stream is read on meanwhile.
func (t *Trace) finishWell() {
	f := &t.finish
	now := time.Now()
	if f.tries >= finishTries || now.Before(f.due) {
		return
	}
	if f.tries++; !t.lastSurvey() && f.tries < finishTries {
		f.due = now.Add(finishPause)
		return
	}
	f.tries = finishTries
	t.tracer.Stop()
}

// lastSurvey reports whether there is no drift, or none can be known.
func (t *Trace) lastSurvey() bool {
	list, err := t.namespaces()
	if err != nil {
		return true
	}
	drift, err := t.Compare(list)
	if err == nil {
		t.drift = t.tracer.Drift()
	}
	return len(drift) == 0
}

// Compare compares what was counted with the kernel's counters of network namespaces,
// now. What is still on its way is drift, too.
func (t *Trace) Compare(list []kernel.NetNS) ([]event.Drift, error) {
	return t.tracer.Compare(t.tracer.Survey(list))
}

// Account is what was counted so far.
func (t *Trace) Account() (tracer.Account, error) { return t.tracer.Account() }

// corrected says what a comparison with the kernel repaired.
func corrected(added, removed int) string {
	var parts []string
	if removed > 0 {
		parts = append(parts, sockets(removed)+" already gone")
	}
	if added > 0 {
		parts = append(parts, sockets(added)+" missing")
	}
	return "corrected: " + strings.Join(parts, ", ")
}

// sockets counts them, with their verb.
func sockets(n int) string {
	if n == 1 {
		return "1 socket was"
	}
	return fmt.Sprintf("%d sockets were", n)
}

// Remarks are what the screen says of the trace itself.
func (t *Trace) Remarks(now time.Time) []string {
	var out []string
	if t.late > 0 {
		out = append(out, fmt.Sprintf("%d TIME_WAIT starts detected late", t.late))
	}
	if process.Usable() != nil {
		out = append(out, "processes by kernel names only: /proc has no host pids")
	}
	if n := t.stream.who.Names().Throttled; n > 0 {
		out = append(out, fmt.Sprintf("%d processes looked up late", n))
	}
	if r := &t.reconcile; now.Sub(r.repairedAt) < reconcileEvery {
		out = append(out, corrected(r.added, r.removed))
	}
	if w := &t.sweeper; now.Sub(w.at) < sweepEvery {
		out = append(out, fmt.Sprintf("%d connections forgotten whose end was not seen", w.forgotten))
	}
	return out
}
