package advice

import (
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

var tw900Scenarios = []scenario{
	{name: "a little lost", facts: func() Facts {
		f := traced().owned(client(churning(50000)))
		f.Traffic.Lost, f.Traffic.OwnersIn, f.Traffic.Missing = 3, 52*time.Second, []string{"accepters"}
		return f
	},
		want:  []string{"TW900 info", "TW000 ok"},
		words: []string{"3 events lost", "all owners will be known in 52s", "not visible on this kernel: accepters"}},
	{name: "much lost", facts: func() Facts {
		f := traced().owned(client(churning(50)))
		f.Traffic.Lost = 3
		return f
	},
		want:  []string{"TW900 warn"},
		words: []string{"3 events lost"}},
	{name: "a trace that saw everything", facts: traced, want: []string{"TW000 ok"}},
	{name: "ports full of sockets from before the trace, whose owner is not known", facts: func() Facts {
		d := storming(27900, 0)
		d.Openers.List, d.Holders.List, d.Gauge.Severity = nil, nil, event.Warn
		f := traced().with(d)
		f.Traffic.OwnersIn = 30 * time.Second
		return f
	},
		want: []string{"TW101 warn", "TW900 warn"}, words: []string{"sockets older than the trace have no owner", "known in 30s"}},
}

func TestTW900(t *testing.T) { play(t, "TW900") }
