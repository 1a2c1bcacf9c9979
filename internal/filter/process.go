package filter

import (
	"fmt"
	"strings"

	"github.com/twtrace/twtrace/internal/event"
)

// Path is a pattern for a path, as a Glob is for a name.
type Path struct {
	Glob
	base bool // it has no slash, and matches the last name of a path
}

// matchFile reports whether the pattern matches the whole path or, without a slash,
// the name of the file. It ignores the suffix that the kernel gives a deleted file.
func (p Path) matchFile(path string) bool {
	path = strings.TrimSuffix(path, " (deleted)")
	if p.base {
		path = path[strings.LastIndexByte(path, '/')+1:]
	}
	return p.Match(path)
}

// matchTree reports whether the pattern matches the path, or a directory above it.
func (p Path) matchTree(path string) bool {
	for i := len(path); i > 0; i = strings.LastIndexByte(path[:i], '/') {
		if p.Match(path[:i]) {
			return true
		}
	}
	return p.pattern == "/" && path != ""
}

// Parent is the pid of a parent, or a pattern for its comm.
type Parent struct {
	pid  uint32
	comm Glob
}

// String returns what was parsed.
func (p Parent) String() string {
	if p.pid != 0 {
		return decimal(p.pid)
	}
	return p.comm.String()
}

func (p Parent) match(w *event.Who) bool {
	if p.pid != 0 {
		return w.PPID == p.pid
	}
	return p.comm.Match(w.PComm)
}

// ID is the id of a container or a pod, the first digits of one, or a pattern for its
// name.
type ID struct{ Glob }

func (i ID) match(id, name string) bool {
	return i.Match(id) || i.Match(name) || id != "" && strings.HasPrefix(id, i.pattern)
}

// ParseUIDs parses a list of user ids: "0,1000".
func ParseUIDs(value string) (Set[uint32], error) {
	return each(value, "uid", "0,1000", func(item string) (uint32, error) {
		n, ok := digits(item)
		if !ok || n > 1<<32-2 {
			return 0, fmt.Errorf("bad uid %q: not a number from 0 to %d; example: 0,1000", item, uint32(1<<32-2))
		}
		return uint32(n), nil
	})
}

// ParseExes parses a list of executables, by path or by name: "/usr/bin/*,curl".
func ParseExes(value string) (Set[Path], error) {
	return each(value, "exe", "/usr/bin/*,curl", func(item string) (Path, error) {
		g, err := parseGlob(item, "exe", 0)
		return Path{g, !strings.Contains(item, "/")}, err
	})
}

// ParseCgroups parses a list of cgroups, with or without the mount in front:
// "/system.slice", "/sys/fs/cgroup/system.slice".
func ParseCgroups(value string) (Set[Path], error) {
	return each(value, "cgroup", "/system.slice,/kubepods*", func(item string) (Path, error) {
		for _, mount := range []string{"/sys/fs/cgroup/unified/", "/sys/fs/cgroup/"} {
			if rest, ok := strings.CutPrefix(item, mount); ok {
				item = "/" + rest
			}
		}
		if !strings.HasPrefix(item, "/") && !strings.HasPrefix(item, "*") {
			return Path{}, fmt.Errorf("bad cgroup %q: a cgroup starts with /; example: /system.slice,/kubepods*", item)
		}
		if len(item) > 1 {
			item = strings.TrimSuffix(item, "/")
		}
		g, err := parseGlob(item, "cgroup", 0)
		return Path{Glob: g}, err
	})
}

// ParseParents parses a list of pids or comms of parents: "4242,cron*".
func ParseParents(value string) (Set[Parent], error) {
	return each(value, "parent", "4242,cron*", func(item string) (Parent, error) {
		if n, ok := digits(item); ok {
			if n < 1 || n > maxPID {
				return Parent{}, fmt.Errorf("bad parent %q: pids go from 1 to %d", item, maxPID)
			}
			return Parent{pid: uint32(n)}, nil
		}
		g, err := parseGlob(item, "parent", commBytes)
		return Parent{comm: g}, err
	})
}

// ParseUnits parses a list of systemd units: "nginx,session-*.scope". One without a
// type is a service, as for systemctl.
func ParseUnits(value string) (Set[Glob], error) {
	return each(value, "unit", "nginx.service,session-*.scope", func(item string) (Glob, error) {
		if !strings.Contains(item, ".") && !strings.HasSuffix(item, "*") {
			item += ".service"
		}
		return parseGlob(item, "unit", 0)
	})
}

// ParseIDs parses a list of ids of containers or pods, or of their names: "8f3e2a,web-*".
func ParseIDs(value string) (Set[ID], error) {
	return each(value, "id", "8f3e2a,web-*", func(item string) (ID, error) {
		g, err := parseGlob(item, "id", 0)
		return ID{g}, err
	})
}
