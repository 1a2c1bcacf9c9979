package sandbox

import (
	"bufio"
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// checkConfined reads what the kernel says of every thread of a speaker, and reports the
// first thing that is not as it has to be.
func checkConfined(pid int, u User) error {
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", pid))
	if err != nil || len(files) == 0 {
		return fmt.Errorf("check that it is confined: /proc/%d/task lists no thread", pid)
	}
	for _, name := range files {
		status, err := os.ReadFile(name)
		if os.IsNotExist(err) {
			continue // a thread that has ended
		}
		if err != nil {
			return fmt.Errorf("check that it is confined: %w", err)
		}
		if err := checkStatus(status, u); err != nil {
			return fmt.Errorf("it is not confined: %s: %w", name, err)
		}
	}
	return nil
}

// checkStatus checks a status file of proc(5).
func checkStatus(status []byte, u User) error {
	four := func(id uint32) string { return strings.Repeat(strconv.FormatUint(uint64(id), 10)+" ", 4) }
	groups := ""
	for _, g := range slices.Sorted(slices.Values(u.Groups)) { // the kernel sorts them
		groups += strconv.FormatUint(uint64(g), 10) + " "
	}
	const noCaps = "0000000000000000 "
	want := map[string]string{
		"CapInh": noCaps, "CapPrm": noCaps, "CapEff": noCaps, "CapBnd": noCaps, "CapAmb": noCaps,
		"NoNewPrivs": "1 ", "Seccomp": "2 ", "Uid": four(u.UID), "Gid": four(u.GID), "Groups": groups,
	}
	for lines := bufio.NewScanner(bytes.NewReader(status)); lines.Scan(); {
		name, value, _ := strings.Cut(lines.Text(), ":")
		w, ok := want[name]
		if !ok {
			continue
		}
		got := ""
		for _, field := range strings.Fields(value) {
			got += field + " "
		}
		if got != w {
			return fmt.Errorf("%s is %q, not %q", name, strings.TrimSpace(got), strings.TrimSpace(w))
		}
		delete(want, name)
	}
	for name := range want {
		return fmt.Errorf("it has no line %s", name)
	}
	return nil
}
