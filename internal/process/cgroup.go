package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// hierarchies are the paths of one process's cgroups that may name its unit or
// container, "" where the hierarchy is not mounted.
type hierarchies struct {
	unified string // cgroup v2
	systemd string // the named hierarchy of systemd, without controllers
	pids    string
	memory  string
}

// parseCgroup parses a /proc/PID/cgroup (cgroups(7)). A path may have colons. The
// kernel appends " (deleted)" to a cgroup v2 that was removed before its last process
// ended.
func parseCgroup(r io.Reader) (hierarchies, error) {
	var h hierarchies
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		id, rest, ok := strings.Cut(lines.Text(), ":")
		controllers, path, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 {
			return hierarchies{}, fmt.Errorf("line %q does not have three fields", lines.Text())
		}
		switch list := strings.Split(controllers, ","); {
		case id == "0" && controllers == "":
			h.unified = strings.TrimSuffix(path, " (deleted)")
		case controllers == "name=systemd":
			h.systemd = path
		case slices.Contains(list, "pids"):
			h.pids = path
		case slices.Contains(list, "memory"):
			h.memory = path
		}
	}
	if err := lines.Err(); err != nil {
		return hierarchies{}, err
	}
	if h == (hierarchies{}) {
		return hierarchies{}, errors.New("no hierarchy that shows where a process runs")
	}
	return h, nil
}

// best returns the most specific path. That is cgroup v2's, unless only another
// hierarchy has a container: where v1 and v2 are mounted side by side, runtimes leave
// their containers in the v2 cgroup of the daemon. A process that is at the root of
// one hierarchy (/) may be in a cgroup of the next.
func (h hierarchies) best() string {
	best := ""
	for _, path := range []string{h.unified, h.systemd, h.pids, h.memory} {
		if identify(path).Container != "" {
			return path
		}
		if len(best) < 2 && path != "" {
			best = path
		}
	}
	return best
}
