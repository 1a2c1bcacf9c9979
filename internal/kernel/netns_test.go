package kernel

import (
	"errors"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

func threadInum(t *testing.T) uint32 {
	t.Helper()
	inum, err := nsInum(threadNS)
	if err != nil {
		t.Fatal(err)
	}
	return inum
}

func TestCurrentNetNS(t *testing.T) {
	n, err := CurrentNetNS()
	if err != nil {
		t.Fatal(err)
	}
	link, err := os.Readlink(threadNS)
	if err != nil {
		t.Fatal(err)
	}
	if got := (NetNS{Inum: n.Inum}).String(); got != link {
		t.Errorf("current namespace is %s, readlink says %s", got, link)
	}
	if inum, err := nsInum(n.path); err != nil || inum != n.Inum {
		t.Errorf("Path %s opens net:[%d] (%v), not net:[%d]", n.path, inum, err, n.Inum)
	}
}

func TestDoInCurrentStaysOnItsThread(t *testing.T) {
	n, err := CurrentNetNS()
	if err != nil {
		t.Fatal(err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	outer, inner := unix.Gettid(), 0
	if err := n.Do(func() error { inner = unix.Gettid(); return nil }); err != nil {
		t.Fatal(err)
	}
	if inner != outer {
		t.Errorf("ran on thread %d, called on thread %d", inner, outer)
	}
}

func TestDoJoinsAndGivesTheThreadBack(t *testing.T) {
	n := newNetNS(t)
	home := threadInum(t)
	stop := errors.New("stop")
	for range 50 {
		err := n.Do(func() error {
			if got := threadInum(t); got != n.Inum {
				t.Errorf("ran in net:[%d], not net:[%d]", got, n.Inum)
			}
			return stop
		})
		if !errors.Is(err, stop) {
			t.Fatalf("Do returned %v, not the function's error", err)
		}
	}
	tasks, err := os.ReadDir("/proc/self/task")
	if err != nil {
		t.Fatal(err)
	}
	for _, task := range tasks {
		inum, err := nsInum("/proc/self/task/" + task.Name() + "/ns/net")
		if err == nil && inum != home {
			t.Errorf("thread %s was left in net:[%d]", task.Name(), inum)
		}
	}
}

func TestDoNested(t *testing.T) {
	a, b := newNetNS(t), newNetNS(t)
	var seen []uint32
	err := a.Do(func() error {
		err := b.Do(func() error { seen = append(seen, threadInum(t)); return nil })
		seen = append(seen, threadInum(t))
		return err
	})
	if want := []uint32{b.Inum, a.Inum}; err != nil || !slices.Equal(seen, want) {
		t.Errorf("ran in %v (%v), want %v", seen, err, want)
	}
}

func TestDoWhoseFunctionDoesNotReturn(t *testing.T) {
	n := newNetNS(t)
	err := n.Do(func() error { runtime.Goexit(); return nil })
	if !errors.Is(err, errNoReturn) {
		t.Errorf("Do returned %v, want %v", err, errNoReturn)
	}
}

func TestDoAfterTheNamespaceIsGone(t *testing.T) {
	kerneltest.RequireRoot(t)
	pid, stop := startCat(t, "unshare", "--net")
	home := threadInum(t)
	var n NetNS
	eventually(t, func() error {
		var err error
		if n, err = FindNetNS("pid:" + strconv.Itoa(pid)); err == nil && n.Inum == home {
			err = errors.New("unshare has not happened")
		}
		return err
	})
	stop()
	err := n.Do(func() error { return nil })
	if !errors.Is(err, os.ErrNotExist) {
		t.Errorf("Do in a namespace that is gone returned %v", err)
	}
	n.path = "/proc/self/ns/net"
	err = n.Do(func() error { return nil })
	if err == nil || !strings.Contains(err.Error(), "is gone") {
		t.Errorf("Do with another namespace at the path returned %v", err)
	}
}

// TestDoNowhere: without a path to the namespace, or with that of another one, Do
// does not run the function.
func TestDoNowhere(t *testing.T) {
	for n, want := range map[NetNS]string{
		{Inum: 12}: "no path",
		{Inum: 12, Name: "web", path: "/proc/self/ns/net"}: "network namespace web is gone",
		{Inum: 12, path: "/proc/self/ns/absent"}:           "open network namespace net:[12]",
	} {
		err := n.Do(func() error { t.Errorf("%+v: the function ran", n); return nil })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", n, err, want)
		}
	}
}

// TestJoin joins the namespace that the thread is in anyway: root may, and others get
// to know what they lack.
func TestJoin(t *testing.T) {
	fd, err := openFile(threadNS)
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(fd)
	ran := false
	err = joined(fd, NetNS{Inum: threadInum(t)}, func() error { ran = true; return nil })
	caps, capsErr := Capabilities()
	if capsErr != nil {
		t.Fatal(capsErr)
	}
	may := caps.Has(unix.CAP_SYS_ADMIN)
	if ran != may || may != (err == nil) {
		t.Errorf("with capabilities %x: ran %v, %v", uint64(caps), ran, err)
	}
	if err != nil && (!errors.Is(err, unix.EPERM) || !strings.Contains(err.Error(), "run as root, or with CAP_SYS_ADMIN")) {
		t.Errorf("not allowed: %v", err)
	}
}

func TestListNetNS(t *testing.T) {
	named := newNetNS(t)
	pid, _ := startCat(t, "unshare", "--net")
	home := threadInum(t)
	eventually(t, func() error {
		if inum, err := nsInum(procNS(pid)); err != nil || inum == home {
			return errors.New("unshare has not happened")
		}
		return nil
	})
	list, err := ListNetNS()
	if err != nil {
		t.Fatal(err)
	}
	if list[0].Inum != home {
		t.Errorf("first is %s, not the current namespace", list[0])
	}
	seen := map[uint32]int{}
	var foundNamed, foundProc bool
	for _, n := range list {
		seen[n.Inum]++
		foundNamed = foundNamed || n.Inum == named.Inum && n.Name == named.Name && n.PID == 0
		foundProc = foundProc || n.PID == pid && n.Name == ""
		if inum, err := nsInum(n.path); err != nil || inum != n.Inum {
			t.Errorf("%s: path %s opens net:[%d] (%v)", n, n.path, inum, err)
		}
	}
	if !foundNamed || !foundProc {
		t.Errorf("named found: %v, process's found: %v, in %+v", foundNamed, foundProc, list)
	}
	for inum, times := range seen {
		if times != 1 {
			t.Errorf("net:[%d] is listed %d times", inum, times)
		}
	}
}

func TestFindNetNS(t *testing.T) {
	n := newNetNS(t)
	inum := strconv.FormatUint(uint64(n.Inum), 10)
	for _, spec := range []string{n.Name, inum, "net:[" + inum + "]", "/run/netns/" + n.Name} {
		got, err := FindNetNS(spec)
		if err != nil || got.Inum != n.Inum || got.Name != n.Name {
			t.Errorf("FindNetNS(%q) = %+v, %v", spec, got, err)
		}
	}
	if _, err := FindNetNS("nonesuch"); err == nil || !strings.Contains(err.Error(), n.Name) {
		t.Errorf("no such name: %v, want it to list %s", err, n.Name)
	}
}

// TestFindNetNSAsAnyUser finds the namespace of this process, which takes no right.
func TestFindNetNSAsAnyUser(t *testing.T) {
	home := threadInum(t)
	inum := strconv.FormatUint(uint64(home), 10)
	for _, spec := range []string{inum, "net:[" + inum + "]", "/proc/self/ns/net"} {
		if got, err := FindNetNS(spec); err != nil || got.Inum != home {
			t.Errorf("FindNetNS(%q) = %+v, %v; want net:[%d]", spec, got, err, home)
		}
	}
	got, err := FindNetNS("pid:" + strconv.Itoa(os.Getpid()))
	if err != nil || got.Inum != home || got.PID != os.Getpid() {
		t.Errorf("pid of this process: %+v, %v; want net:[%d]", got, err, home)
	}
	for spec, want := range map[string]string{
		"nonesuch":      "there are ",                    // the alternatives
		"":              `no network namespace ""`,       // not the one without a name
		"/proc/version": "is not a network namespace",    // a file, but of another kind
		"/proc/1/fd/x/": "open network namespace",        // no file
		"pid:0":         "is not a process id",           //
		"pid:x":         "is not a process id",           //
		"pid:4194305":   "no such file",                  // above the largest pid
		"12":            `no network namespace "12"`,     // no inode number of one
		"net:[12]":      `no network namespace "net:[12`, //
	} {
		if _, err := FindNetNS(spec); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("FindNetNS(%q): %v, want it to say %q", spec, err, want)
		}
	}
	if _, err := FindNetNS("/proc/self/ns/pid"); err == nil {
		t.Error("a pid namespace passed for a network namespace")
	}
}

func TestParseNetNSMounts(t *testing.T) {
	f, err := os.Open("testdata/mountinfo")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	got, err := parseNetNSMounts(f)
	if err != nil {
		t.Fatal(err)
	}
	want := []NetNS{
		{Inum: 4026532281, Name: "web", path: "/run/netns/web"},
		{Inum: 4026532345, Name: "two words", path: "/run/netns/two words"},
		{Inum: 4026532412, path: "/run/docker/netns/1f0c2a"},
		{Inum: 4026532500, Name: "old", path: "/var/run/netns/old"},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got %+v\nwant %+v", got, want)
	}
}

func TestAlternativesAreFew(t *testing.T) {
	var many []NetNS
	for i := range 30 {
		many = append(many, NetNS{Inum: uint32(1000 + i)})
	}
	if got := alternatives(many); !strings.HasSuffix(got, "1007, and 22 more") {
		t.Errorf("alternatives of 30 namespaces: %s", got)
	}
}
