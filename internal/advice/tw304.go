package advice

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

var tw304 = rule{id: "TW304", title: "namespaces come and go", find: namespacesGone, whole: true}

// namespacesGone is TW304.
func namespacesGone(f Facts) []Finding {
	t := &f.Traffic
	if t.NetnsExits == 0 {
		return nil
	}
	return []Finding{{
		Severity: event.Info,
		What: fmt.Sprintf("%s ended together with %s", plural(t.NetnsExits, "TIME_WAIT socket"),
			plural(uint64(t.NetnsGone), "network namespace")),
		Who:      "usually a container runtime: it deletes the namespace of a container that stops",
		When:     "in the last " + output.Seconds(f.watched()),
		Why:      "when a network namespace ends, the kernel destroys its sockets; this is normal",
		Evidence: []Evidence{{Name: "netns_exit", Value: float64(t.NetnsExits), Unit: "sockets", Source: "trace"}},
	}}
}
