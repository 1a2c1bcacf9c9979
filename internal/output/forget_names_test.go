package output

import (
	"reflect"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/event/eventtest"
)

// software are the strings that say nothing of whose host it is.
var software = []string{"Start.Version", "Start.Kernel", "Start.HookSet", "Start.Hooks", "Start.Missing", "Start.Limits", "End.Why", "End.Ends", "End.Lost", "End.Unnamed"}

// TestForgetNames: no string from outside is in any record afterwards, a field that is
// new included; and what other events share is as it was.
func TestForgetNames(t *testing.T) {
	for _, l := range eventtest.Leaves() {
		e := l.Event()
		l.Set(&e)
		who := e.Process.Who
		var before event.Who
		if who != nil {
			before = *who
		}
		start := e.Start
		ForgetNames(&e)
		if text := string(AppendJSON(nil, &e)); strings.Contains(text, "me ") && !isSoftware(l.Path) {
			t.Errorf("%s is still there: %s", l.Path, text)
		}
		if isSoftware(l.Path) && reflect.ValueOf(l.Get(&e)).IsZero() {
			t.Errorf("%s is gone", l.Path)
		}
		if who != nil && *who != before || l.Path == "Start.Host" && start.Host == "" {
			t.Errorf("%s: what other events share was changed", l.Path)
		}
	}
}

func isSoftware(path string) bool {
	for _, s := range software {
		if path == s {
			return true
		}
	}
	return false
}
