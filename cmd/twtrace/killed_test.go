package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"unsafe"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// kernelObject is something that BPF has in the kernel.
type kernelObject struct {
	kind string // as /proc/PID/fdinfo has it, without _id
	id   uint32
}

var getFD = map[string]uintptr{
	"prog": unix.BPF_PROG_GET_FD_BY_ID, "map": unix.BPF_MAP_GET_FD_BY_ID,
	"btf": unix.BPF_BTF_GET_FD_BY_ID, "link": unix.BPF_LINK_GET_FD_BY_ID,
}

// kernelObjects returns what the process holds. Others on this host come and go.
func kernelObjects(t *testing.T, pid int) map[kernelObject]bool {
	t.Helper()
	files, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", pid))
	must(t, err)
	all := make(map[kernelObject]bool)
	for _, file := range files {
		data, err := os.ReadFile(file)
		if errors.Is(err, os.ErrNotExist) { // closed since
			continue
		}
		must(t, err)
		for line := range strings.Lines(string(data)) {
			key, value, _ := strings.Cut(line, ":")
			kind, ok := strings.CutSuffix(key, "_id")
			if _, known := getFD[kind]; !ok || !known {
				continue
			}
			id, err := strconv.ParseUint(strings.TrimSpace(value), 10, 32)
			must(t, err)
			all[kernelObject{kind, uint32(id)}] = true
		}
	}
	return all
}

// alive asks the kernel for o, whose id it does not give to others soon.
func (o kernelObject) alive(t *testing.T) bool {
	t.Helper()
	attr := [3]uint32{o.id}
	fd, _, errno := unix.Syscall(unix.SYS_BPF, getFD[o.kind], uintptr(unsafe.Pointer(&attr)), unsafe.Sizeof(attr))
	switch errno {
	case 0:
		must(t, unix.Close(int(fd)))
		return true
	case unix.ENOENT:
		return false
	}
	t.Fatalf("get %s %d: %v", o.kind, o.id, errno)
	return false
}

// nothingLeft waits until the kernel has none of all.
func nothingLeft(t *testing.T, all map[kernelObject]bool) {
	t.Helper()
	kinds := make(map[string]int)
	for o := range all {
		kinds[o.kind]++
	}
	if kinds["prog"] < 5 || kinds["link"] < 5 || kinds["map"] < 3 {
		t.Errorf("it held only %v", kinds)
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		var left []kernelObject
		for o := range all {
			if o.alive(t) {
				left = append(left, o)
			}
		}
		return len(left) == 0, fmt.Sprintf("left of %v: %v", kinds, left)
	})
}

// TestKilled kills a trace while connections come and go.
func TestKilled(t *testing.T) {
	t.Parallel()
	t.Attr("row", "`kill -9` leaves nothing behind")
	ns := churning(t)
	tr := startTrace(t, "-N", ns.Path())
	kerneltest.Eventually(t, patience, func() (bool, string) {
		n := len(tr.all())
		return n > 100, fmt.Sprintf("%d records", n)
	})
	held := kernelObjects(t, tr.cmd.Process.Pid)
	must(t, tr.cmd.Process.Kill())
	_ = tr.cmd.Wait() // it was killed
	nothingLeft(t, held)
}

// TestDemoLeavesNothing ends the demo in both ways and looks for its processes,
// its namespace and its programs.
func TestDemoLeavesNothing(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	for _, signal := range []unix.Signal{unix.SIGKILL, unix.SIGINT} {
		t.Run(signal.String(), func(t *testing.T) {
			t.Parallel()
			cmd := command("demo", "-b", "-i", "200ms")
			stdout, err := cmd.StdoutPipe()
			must(t, err)
			var stderr bytes.Buffer
			cmd.Stderr = &stderr
			must(t, cmd.Start())
			defer expire(cmd)()
			if _, err := stdout.Read(make([]byte, 1)); err != nil {
				t.Fatal(err)
			}
			inum := netNSOfChildren(t, cmd.Process.Pid)
			if n := len(inside(t, inum)); n < 5 { // four processes, and the demo's descriptor
				t.Fatalf("only %d things in the namespace of the demo", n)
			}
			held := kernelObjects(t, cmd.Process.Pid)
			must(t, cmd.Process.Signal(signal))
			go func() { _, _ = bufio.NewReader(stdout).WriteTo(bytes.NewBuffer(nil)) }()
			if err := cmd.Wait(); signal == unix.SIGINT && (err != nil || stderr.Len() != 0) {
				t.Errorf("%v; stderr: %s", err, stderr.String())
			}
			nothingLeft(t, held)
			kerneltest.Eventually(t, patience, func() (bool, string) {
				left := inside(t, inum)
				return len(left) == 0, fmt.Sprintf("still there: %v", left)
			})
		})
	}
}

// netNSOfChildren returns the link of the one namespace that the children of the
// process are in.
func netNSOfChildren(t *testing.T, pid int) string {
	t.Helper()
	var children []byte
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", pid))
	must(t, err)
	for _, task := range tasks {
		data, err := os.ReadFile(task)
		must(t, err)
		children = append(children, data...)
	}
	found := make(map[string]int)
	for _, child := range strings.Fields(string(children)) {
		link, err := os.Readlink("/proc/" + child + "/ns/net")
		must(t, err)
		found[link]++
	}
	own, err := os.Readlink("/proc/thread-self/ns/net")
	must(t, err)
	for link, n := range found {
		if len(found) == 1 && n == 4 && link != own {
			return link
		}
	}
	t.Fatalf("the children are in %v, this process in %s", found, own)
	return ""
}

// inside returns the processes, descriptors and mounts that keep a namespace.
func inside(t *testing.T, link string) []string {
	t.Helper()
	var all []string
	for _, pattern := range []string{"/proc/[0-9]*/ns/net", "/proc/[0-9]*/fd/*"} {
		files, err := filepath.Glob(pattern)
		must(t, err)
		for _, file := range files {
			if to, err := os.Readlink(file); err == nil && to == link {
				all = append(all, file)
			}
		}
	}
	mounts, err := os.ReadFile("/proc/self/mountinfo")
	must(t, err)
	if strings.Contains(string(mounts), " "+link+" ") {
		all = append(all, "a mount")
	}
	return all
}
