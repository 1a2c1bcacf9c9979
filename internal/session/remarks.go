package session

import (
	"fmt"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/output"
)

// refusals says what a table had no room for, in a few words each: the records have it,
// and the rows do not. No flag sets these limits.
func refusals(t *conn.Totals) (out []string) {
	if t.Untracked > 0 { // one connection may count twice, as it starts and in TIME_WAIT
		out = append(out, fmt.Sprintf("more than %s connections: up to %s not shown", output.Count(conn.DefaultMaxSockets), output.Count(t.Untracked)))
	}
	if t.GroupsRefused > 0 { // of one connection, every event counts
		out = append(out, fmt.Sprintf("more than %s rows: the rest are in (other)", output.Count(conn.DefaultMaxGroups)))
	}
	if t.ListenersRefused > 0 {
		out = append(out, fmt.Sprintf("%s listeners not remembered: servers may lack their owner", output.Count(t.ListenersRefused)))
	}
	return out
}
