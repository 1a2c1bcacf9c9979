package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"

	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/output"
)

// noProcess says in words which of the processes that --pid names do not exist, "" if all
// do. That is no error: the sockets that a process left in TIME_WAIT outlive it.
func noProcess(f *filter.Filter) string {
	if !f.PIDs.Active() || f.PIDs.Not {
		return ""
	}
	var gone []string
	for _, pid := range f.PIDs.Items {
		if _, err := os.Stat(fmt.Sprintf("/proc/%d", pid)); errors.Is(err, fs.ErrNotExist) {
			gone = append(gone, fmt.Sprint(pid))
		}
	}
	const shown = 5
	switch n := len(gone); {
	case n == 0:
		return ""
	case n == 1:
		return "no process " + gone[0] + " exists; only sockets that it left in TIME_WAIT can be shown"
	case n > shown:
		gone = append(gone[:shown], "and "+output.Count(uint64(n-shown))+" more")
	}
	return "no processes " + strings.Join(gone, ", ") + " exist; only sockets that they left in TIME_WAIT can be shown"
}
