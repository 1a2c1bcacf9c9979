package process

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

func TestUsable(t *testing.T) {
	tests := []struct {
		name  string
		spoil func(p proc)
		fails string
	}{
		{"host", func(proc) {}, ""},
		{"no self", func(p proc) { os.Remove(filepath.Join(p.root, "self")) }, "find this process"},
		{"self is another process", func(p proc) { p.self("77") }, "this process is 77 there and 10 here"},
		{"namespace of its own", func(p proc) { p.link(10, "ns/pid", "pid:[4026532201]") }, "pid namespace 4026532201"},
		{"namespace not known", func(p proc) { os.Remove(filepath.Join(p.root, "10/ns/pid")) }, "pid namespace 0"},
		{"ids in two namespaces", func(p proc) { p.write(10, "status", "Name:\tx\nNSpid:\t10\t1\n") }, "2 ids"},
		{"ended", func(p proc) { p.end(10) }, "no such process"},
		{"no status", func(p proc) { os.Remove(filepath.Join(p.root, "10/status")) }, "no such process"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			p := proc{t, t.TempDir()}
			p.process(10, "twtrace", 100)
			p.write(10, "status", "Name:\ttwtrace\nNSpid:\t10\n")
			p.self("10")
			tt.spoil(p)
			err := usable(p.root, 10)
			if tt.fails == "" {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, ErrForeign) || !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), tt.fails) {
				t.Errorf("error %v, want ErrForeign for %q", err, tt.fails)
			}
		})
	}
}

func (p proc) self(target string) {
	p.t.Helper()
	name := filepath.Join(p.root, "self")
	os.Remove(name)
	if err := os.Symlink(target, name); err != nil {
		p.t.Fatal(err)
	}
}

// asHelper is the environment variable that has the test binary do something else.
const asHelper = "TWTRACE_PROCESS_TEST"

func TestMain(m *testing.M) {
	switch os.Getenv(asHelper) {
	case "":
		os.Exit(m.Run())
	case "foreign":
		printForeign(false)
	case "foreign, own /proc":
		printForeign(true)
	}
}

// printForeign prints what the package says in a pid namespace.
func printForeign(mount bool) {
	if mount {
		if err := syscall.Mount("proc", "/proc", "proc", 0, ""); err != nil {
			fmt.Println("mount:", err)
			return
		}
	}
	r := NewResolver(Options{})
	defer r.Stop()
	info, ok := r.lookUp(Key{PID: 1, Start: 5, Comm: "host's"}) // 1 is this process in there
	_, ownersErr := SocketOwners()
	fmt.Printf("pid %d usable %v lookup %v %v exe=%q reads=%d owners=%v\n", os.Getpid(), errors.Is(Usable(), ErrForeign),
		info.Comm, ok, info.Exe, r.Stats().Reads, errors.Is(ownersErr, ErrForeign))
}

// TestInPIDNamespace runs in a pid namespace, with the host's /proc and with one
// of its own.
func TestInPIDNamespace(t *testing.T) {
	kerneltest.RequireRoot(t)
	if err := Usable(); err != nil {
		t.Fatalf("the test itself is in a pid namespace: %v", err)
	}
	for _, mode := range []string{"foreign", "foreign, own /proc"} {
		cmd := exec.Command("/proc/self/exe")
		cmd.Env = append(os.Environ(), asHelper+"="+mode)
		cmd.SysProcAttr = &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID, Unshareflags: syscall.CLONE_NEWNS}
		out, err := cmd.CombinedOutput()
		const want = "pid 1 usable true lookup host's true exe=\"\" reads=0 owners=true\n"
		if err != nil || string(out) != want {
			t.Errorf("%s: %v\n got %swant %s", mode, err, out, want)
		}
	}
}
