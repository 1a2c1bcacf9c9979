package advice

import (
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

var tw105Scenarios = []scenario{
	{name: "no descriptor left", facts: func() Facts {
		f := traced()
		f.Traffic.Descriptors = []Descriptors{{Process: checkout, Used: 1024, Limit: 1024, Failed: 12}}
		return f
	},
		want:  []string{"TW105 crit"},
		words: []string{"1,024 of 1,024 file descriptors", "12 calls failed with EMFILE (24)"}},
	{name: "the host has no descriptor left", facts: func() Facts {
		f := traced()
		f.Traffic.Descriptors = []Descriptors{{Used: 5000, Limit: 5000, Failed: 1}}
		return f
	},
		want:  []string{"TW105 crit"},
		words: []string{"the whole host", "ENFILE (23)"}},
	{name: "the host has no descriptor left, and its limit is not known", facts: func() Facts {
		f := traced()
		f.Traffic.Descriptors = []Descriptors{{Failed: 1}}
		return f
	},
		want:  []string{"TW105 crit"},
		words: []string{"the whole host has no file descriptor left"}},
	{name: "descriptors run low", facts: func() Facts {
		f := traced()
		f.Traffic.Descriptors = []Descriptors{{Process: checkout, Used: 900, Limit: 1024}, {Process: event.Proc{PID: 1, Comm: "x"}, Used: 500, Limit: 1024}}
		return f
	},
		want:  []string{"TW105 warn"},
		words: []string{"900 of 1,024"}},
	{name: "half of the descriptors", facts: func() Facts {
		f := traced()
		f.Traffic.Descriptors = []Descriptors{{Process: checkout, Used: 512, Limit: 1024}}
		return f
	},
		want: []string{"TW000 ok"}},
}

func TestTW105(t *testing.T) { play(t, "TW105") }

// TestLimitThatIsNotKnown: no command sets a limit to what may be less than it is.
func TestLimitThatIsNotKnown(t *testing.T) {
	for _, d := range []Descriptors{{Failed: 1}, {Process: checkout, Failed: 1}} {
		if r := moreDescriptors(d); r.Command() != "" || r.Text == "" {
			t.Errorf("%+v: %s: %s", d, r.Text, r.Command())
		}
	}
}
