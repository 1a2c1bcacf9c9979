package process

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// realHost is a Resolver of this host's /proc and cgroups, and the cgroup v2
// mount. It starts with nothing known.
func realHost(t *testing.T) (*fixture, string) {
	t.Helper()
	kerneltest.RequireRoot(t)
	f := &fixture{answers: make(chan Key, 1<<10), proc: proc{t, "/proc"}}
	f.Resolver = newResolver(0)
	f.Resolver.onAnswer = func(k Key) { f.answers <- k }
	if f.reader.fs.fd < 0 {
		t.Fatalf("cgroup v2 is not mounted on any of %q", cgroupMounts)
	}
	f.start()
	return f, f.reader.fs.mount
}

// makeCgroup makes a cgroup and returns its path below the mount and its id.
func makeCgroup(t *testing.T, mount string, names ...string) (path string, id uint64) {
	t.Helper()
	path = "/twtrace-" + fmt.Sprint(os.Getpid()) + ".slice/" + filepath.Join(names...)
	for i, c := range path + "/" {
		if c != '/' || i == 0 {
			continue
		}
		dir := mount + path[:i]
		if err := os.Mkdir(dir, 0o755); err != nil && !errors.Is(err, os.ErrExist) {
			t.Fatal(err)
		}
		t.Cleanup(func() { os.Remove(dir) })
	}
	var st unix.Stat_t
	if err := unix.Stat(mount+path, &st); err != nil {
		t.Fatal(err)
	}
	return path, st.Ino
}

// removeCgroup waits until the kernel has let go of its last process.
func removeCgroup(t *testing.T, dir string) {
	t.Helper()
	kerneltest.Eventually(t, 10*time.Second, func() (bool, string) {
		err := os.Remove(dir)
		return err == nil, fmt.Sprint(err)
	})
}

// startIn runs cat in a cgroup from its first moment on, and returns who it is
// and how to end it.
func startIn(t *testing.T, dir string) (Key, func()) {
	t.Helper()
	fd, err := os.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer fd.Close()
	cmd := exec.Command("cat")
	cmd.SysProcAttr = &syscall.SysProcAttr{UseCgroupFD: true, CgroupFD: int(fd.Fd())}
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	end := func() {
		in.Close()
		cmd.Wait()
	}
	t.Cleanup(end)
	var reads uint64
	info, err := readStat("/proc", uint32(cmd.Process.Pid), &reads)
	if err != nil {
		t.Fatal(err)
	}
	return Key{PID: info.PID, Start: info.Start}, end
}

// TestRealCgroup: the cgroup of a process is right also when both have gone.
func TestRealCgroup(t *testing.T) {
	for _, walk := range []bool{false, true} {
		t.Run(map[bool]string{false: "by handle", true: "by walk"}[walk], func(t *testing.T) {
			f, mount := realHost(t)
			if !f.reader.fs.handle {
				t.Error("the kernel opens no cgroup by its id")
			}
			f.reader.fs.handle = !walk
			path, id := makeCgroup(t, mount, "docker-"+idA+".scope")
			k, end := startIn(t, mount+path)
			k.Cgroup = id

			exe, err := filepath.EvalSymlinks("/proc/" + fmt.Sprint(k.PID) + "/exe")
			if err != nil {
				t.Fatal(err)
			}
			want := Info{
				PID: k.PID, PPID: uint32(os.Getpid()), Start: k.Start, Comm: "cat", PComm: "process.test", Exe: exe, HasUID: true,
				Place: Place{Cgroup: path, Unit: filepath.Base(path), Container: idA, Runtime: docker},
			}
			if got := f.know(k); got != want {
				t.Errorf("got  %+v\nwant %+v", got, want)
			}

			end()
			removeCgroup(t, mount+path)
			if got := f.know(k); got != want {
				t.Errorf("after its end %+v", got)
			}
			// One that nobody had asked for before it ended, in the same cgroup.
			short := Key{PID: k.PID, Start: k.Start - 1, Comm: "curl", Cgroup: id}
			if got := f.know(short); got != (Info{PID: k.PID, Start: k.Start - 1, Comm: "curl", Gone: true, Place: want.Place}) {
				t.Errorf("the short-lived one is %+v", got)
			}
			if s := f.Stats(); s.FailedCgroups != 0 || s.Gone != 1 || s.Failed != 0 {
				t.Errorf("stats %+v", s)
			}

			late, _ := realHost(t)
			late.reader.fs.handle = !walk
			if got := late.know(short); got != (Info{PID: k.PID, Start: k.Start - 1, Comm: "curl", Gone: true}) {
				t.Errorf("asked for the first time after its end: %+v", got)
			}
			if s := late.Stats(); s.FailedCgroups != 1 {
				t.Errorf("stats %+v", s)
			}
		})
	}
}

// TestMoved: the cgroup is the one that the hook saw, not the present one.
func TestMoved(t *testing.T) {
	f, mount := realHost(t)
	from, id := makeCgroup(t, mount, "a.service")
	to, toID := makeCgroup(t, mount, "b.service")
	k, _ := startIn(t, mount+from)
	if err := os.WriteFile(mount+to+"/cgroup.procs", fmt.Append(nil, k.PID), 0); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.WriteFile(mount+"/cgroup.procs", fmt.Append(nil, k.PID), 0) })
	for _, tt := range []struct {
		id   uint64
		want string
	}{{id, "a.service"}, {0, "a.service"}, {toID, "b.service"}, {id, "a.service"}} {
		k.Cgroup = tt.id
		if got := f.know(k); got.Unit != tt.want || got.Comm != "cat" {
			t.Errorf("cgroup %d: %+v, want %s", tt.id, got, tt.want)
		}
	}
	if s := f.Stats(); s.Asked != 2 {
		t.Errorf("stats %+v", s)
	}
}

// TestRealCgroupV1 is for hosts that have both hierarchies: cgroup v2 says
// nothing of the container there.
func TestRealCgroupV1(t *testing.T) {
	f, _ := realHost(t)
	const mount = "/sys/fs/cgroup/pids"
	var st unix.Statfs_t
	if err := unix.Statfs(mount, &st); err != nil || st.Type != unix.CGROUP_SUPER_MAGIC {
		t.Skip("cgroup v1 is not mounted; its paths are in TestParseCgroup")
	}
	path, _ := makeCgroup(t, mount, "docker", idA)
	k, end := startIn(t, f.reader.fs.mount)
	k.Cgroup = uint64(inode(t, f.reader.fs.mount))
	if err := os.WriteFile(mount+path+"/cgroup.procs", fmt.Append(nil, k.PID), 0); err != nil {
		t.Fatal(err)
	}
	if got := f.know(k); got.Place != (Place{Cgroup: path, Unit: strings.Split(path, "/")[1], Container: idA, Runtime: docker}) {
		t.Errorf("%+v", got)
	}
	end()
	removeCgroup(t, mount+path)
}

func TestWalkOnceASecond(t *testing.T) {
	kerneltest.RequireRoot(t)
	now := time.Unix(1e9, 0)
	c := newCgroupFS(cgroupMounts, func() time.Time { return now })
	defer c.close()
	c.handle = false
	first, firstID := makeCgroup(t, c.mount, "first.service")
	if got, err := c.path(firstID); got != first || err != nil {
		t.Errorf("%q, %v, want %q", got, err, first)
	}
	second, secondID := makeCgroup(t, c.mount, "second.service")
	if got, err := c.path(secondID); err == nil || errors.Is(err, errNoCgroup) {
		t.Errorf("%q, %v, want an error that says to ask later", got, err)
	}
	if err := os.Remove(c.mount + first); err != nil {
		t.Fatal(err)
	}
	now = now.Add(walkEvery)
	for id, want := range map[uint64]string{firstID: first, secondID: second, uint64(inode(t, c.mount)): "/"} {
		if got, err := c.path(id); got != want || err != nil {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	now = now.Add(walkEvery)
	if _, err := c.path(1 << 60); !errors.Is(err, errNoCgroup) {
		t.Errorf("no such id: %v", err)
	}
}

// TestWalk walks directories that are no cgroups, which any user may.
func TestWalk(t *testing.T) {
	mount := t.TempDir()
	fd, err := openat(unix.AT_FDCWD, mount, unix.O_RDONLY|unix.O_DIRECTORY)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	f := newFixture(t, 0)
	f.reader.fs = &cgroupFS{mount: mount, fd: fd, now: func() time.Time { return now }, paths: newLRU[uint64, string](walkMax)}
	makeDir := func(path string) uint64 {
		t.Helper()
		if err := os.MkdirAll(mount+path, 0o755); err != nil {
			t.Fatal(err)
		}
		var st unix.Stat_t
		if err := unix.Stat(mount+path, &st); err != nil {
			t.Fatal(err)
		}
		return st.Ino
	}
	const slice, service = "/system.slice", "/system.slice/nginx.service"
	sliceID, serviceID := makeDir(slice), makeDir(service)
	if err := os.WriteFile(mount+slice+"/cgroup.procs", nil, 0o644); err != nil {
		t.Fatal(err)
	}
	f.start()
	if got := f.know(Key{Cgroup: serviceID}); got.Unit != "nginx.service" || got.Cgroup != service {
		t.Errorf("%+v, want nginx.service", got)
	}
	late := makeDir("/late.service")
	for id, want := range map[uint64]string{sliceID: slice, serviceID: service, makeDir(""): "/"} {
		if got, err := f.reader.fs.path(id); got != want || err != nil {
			t.Errorf("%q, %v, want %q", got, err, want)
		}
	}
	if got, err := f.reader.fs.path(late); err == nil || errors.Is(err, errNoCgroup) {
		t.Errorf("one that was made after the walk is %q, %v", got, err)
	}
	now = now.Add(walkEvery)
	if got, err := f.reader.fs.path(late); got != "/late.service" || err != nil {
		t.Errorf("a second later it is %q, %v", got, err)
	}
	now = now.Add(walkEvery)
	if got, err := f.reader.fs.path(1 << 60); !errors.Is(err, errNoCgroup) {
		t.Errorf("no such id: %q, %v", got, err)
	}
	if got, err := f.reader.fs.below(1, "/elsewhere"); err == nil {
		t.Errorf("a directory outside the mount is %q", got)
	}
}

// TestHandles: the kernel's answer is that of stat, and of directories only.
func TestHandles(t *testing.T) {
	kerneltest.RequireRoot(t)
	c := newCgroupFS(cgroupMounts, time.Now)
	defer c.close()
	for _, name := range []string{"x.service", "x (deleted)", `a\x2db c`, "ü:1"} {
		path, id := makeCgroup(t, c.mount, name)
		if got, err := c.open(id); got != path || err != nil {
			t.Errorf("%q, %v, want %q", got, err, path)
		}
		if err := os.Remove(c.mount + path); err != nil {
			t.Fatal(err)
		}
		if got, err := c.open(id); !errors.Is(err, errNoCgroup) {
			t.Errorf("removed: %q, %v", got, err)
		}
	}
	if got, err := c.open(uint64(inode(t, c.mount+"/cgroup.procs"))); !errors.Is(err, errNoCgroup) {
		t.Errorf("a file: %q, %v", got, err)
	}
	if got, err := c.open(1 << 60); !errors.Is(err, errNoCgroup) {
		t.Errorf("no such id: %q, %v", got, err)
	}
}

// TestNoCapability drops what handles need, as twtrace may once it has attached.
func TestNoCapability(t *testing.T) {
	kerneltest.RequireRoot(t)
	c := newCgroupFS(cgroupMounts, time.Now)
	defer c.close()
	want, id := makeCgroup(t, c.mount, "x.service")
	result := make(chan string)
	go func() {
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
		var none [2]unix.CapUserData
		if err := unix.Capset(&header, &none[0]); err != nil {
			result <- err.Error()
			return
		}
		got, err := c.path(id)
		result <- fmt.Sprint(got, " ", err)
	}()
	if got := <-result; got != want+" <nil>" || c.handle {
		t.Errorf("%s, want %s by a walk", got, want)
	}
}

func TestNoCgroupV2(t *testing.T) {
	c := newCgroupFS([]string{t.TempDir(), "/proc", "/absent"}, time.Now)
	if got, err := c.path(1); !errors.Is(err, errNoCgroup) || c.fd != -1 {
		t.Errorf("%q, %v", got, err)
	}
	c.close()
}

func inode(t *testing.T, name string) uint32 {
	t.Helper()
	var st unix.Stat_t
	if err := unix.Stat(name, &st); err != nil {
		t.Fatal(err)
	}
	return uint32(st.Ino)
}

func BenchmarkCgroupByHandle(b *testing.B) {
	c := newCgroupFS(cgroupMounts, time.Now)
	defer c.close()
	if !c.handle {
		b.Fatal("needs root and cgroup v2")
	}
	for b.Loop() {
		if _, err := c.open(1); err != nil {
			b.Fatal(err)
		}
	}
}

func TestUndeleted(t *testing.T) {
	dir := t.TempDir()
	odd := dir + "/x" + deleted
	if err := os.Mkdir(odd, 0o755); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]string{dir + "/y" + deleted: dir + "/y", odd: odd, odd + deleted: odd, dir: dir} {
		if got := undeleted(path); got != want {
			t.Errorf("%s is %s, want %s", path, got, want)
		}
	}
}

func TestOver(t *testing.T) {
	const daemon, container = "/system.slice/containerd.service", "/docker/" + idA
	hybrid := sighting{identify(container), daemon} // v1 knows the container, v2 does not
	for _, tt := range []struct {
		hook string
		seen sighting
		want string
	}{
		{daemon, hybrid, container},
		{"", hybrid, container},
		{"/", hybrid, container},
		{"/a.service", hybrid, "/a.service"},
		{"/a.service", sighting{}, "/a.service"},
		{"/", sighting{}, "/"},
		{"", sighting{}, ""},
	} {
		p := identify(tt.hook)
		if got := p.over(tt.seen); got != identify(tt.want) {
			t.Errorf("%q over %+v is %+v, want %q", tt.hook, tt.seen, got, tt.want)
		}
	}
}
