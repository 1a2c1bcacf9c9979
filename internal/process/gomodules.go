package process

import (
	"debug/buildinfo"
	"fmt"
)

// GoModules returns the paths of the modules that the executable of a process is built
// from; ok is false if it is no Go program, or cannot be read.
func GoModules(pid uint32) (paths []string, ok bool) {
	info, err := buildinfo.ReadFile(fmt.Sprintf("/proc/%d/exe", pid))
	if err != nil {
		return nil, false
	}
	for _, m := range info.Deps {
		paths = append(paths, m.Path)
	}
	return paths, true
}
