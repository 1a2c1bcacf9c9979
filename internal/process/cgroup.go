package process

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// hierarchies are the paths of one process's cgroups that may tell where it runs,
// "" where the hierarchy is not mounted.
type hierarchies struct {
	unified string // cgroup v2
	systemd string // the named hierarchy of systemd, without controllers
	pids    string
	memory  string
}

// parseCgroup reads a /proc/PID/cgroup (cgroups(7)). A path may hold colons. A
// cgroup v2 that was removed under its last process has " (deleted)" behind it.
func parseCgroup(r io.Reader) (hierarchies, error) {
	var h hierarchies
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		id, rest, ok := strings.Cut(lines.Text(), ":")
		controllers, path, ok2 := strings.Cut(rest, ":")
		if !ok || !ok2 {
			return hierarchies{}, fmt.Errorf("line %q has not three fields", lines.Text())
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
		return hierarchies{}, errors.New("none of the hierarchies that tell where a process runs")
	}
	return h, nil
}

// best returns the path that tells most. That is cgroup v2's, unless another
// hierarchy knows of a container and it does not: where v1 and v2 are mounted
// side by side, runtimes leave the v2 cgroup at that of their daemon. A process
// that nobody put anywhere in one hierarchy (/) may have a place in the next.
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
