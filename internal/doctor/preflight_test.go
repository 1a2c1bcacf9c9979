package doctor

import (
	"errors"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/tracer"
)

// TestTraceFindings: what a trace needs is critical where no trace runs for want of it,
// and a note where one does.
func TestTraceFindings(t *testing.T) {
	no := errors.New("no")
	reqs := []tracer.Requirement{{ID: "TWD001", Name: "permission"}, {ID: "TWD004", Name: "hook set fentry", Err: no}, {ID: "TWD005", Name: "hook set timer"}}
	hooks := []tracer.Hook{
		{Name: "a", Target: "x", Set: tracer.Fentry, Without: "what a shows", Err: no}, // goes with its set
		{Name: "b", Target: "y", Set: tracer.Timer, Without: "what b shows", Err: no},
		{Name: "c", Target: "z", Set: tracer.Timer, Without: "", Err: no}, // something else shows the same
		{Name: "d", Target: "z", Set: tracer.Timer, Without: "what d shows"},
	}
	rights := tracer.Lacks()
	words := func(list []advice.Finding) (out []string) {
		for _, x := range list {
			if x.Group != "trace" {
				t.Errorf("group %q of %+v", x.Group, x)
			}
			if x.ID != rightMissing {
				out = append(out, x.ID+" "+x.Severity.String()+" "+x.Title)
			}
		}
		return out
	}
	runs := TraceFindings(reqs, hooks, nil)
	want := []string{"TWD001 ok permission", "TWD004 info hook set fentry: no", "TWD005 ok hook set timer", "TWD008 info b on y: no; not shown: what b shows"}
	if got := words(runs); !slices.Equal(got, want) {
		t.Errorf("of a trace that runs:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
	if got := len(runs) - len(want); got != len(rights) {
		t.Errorf("%d rights are missing, want %v", got, rights)
	}
	reqs[2].Err = no
	want = []string{"TWD001 ok permission", "TWD004 crit hook set fentry: no", "TWD005 crit hook set timer: no"}
	if got := words(TraceFindings(reqs, hooks, no)); !slices.Equal(got, want) {
		t.Errorf("of a trace that does not:\n%s\nwant\n%s", strings.Join(got, "\n"), strings.Join(want, "\n"))
	}
}

// TestPreflight: without the kernel's types nobody can trace, and an ordinary user cannot
// with them.
func TestPreflight(t *testing.T) {
	d := New(Options{})
	d.Preflight(filepath.Join(t.TempDir(), "no such file"))
	r := &d.Report
	if r.ExitCode() != 2 || r.Worst() != event.Crit || r.Time.IsZero() || len(r.Findings) == 0 {
		t.Fatalf("exit %d: %+v", r.ExitCode(), r)
	}
	last := r.Findings[len(r.Findings)-1]
	if last.Severity != event.Crit || last.ID != "TWD001" && last.ID != "TWD002" {
		t.Errorf("the last is %+v", last)
	}
}
