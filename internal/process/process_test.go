package process

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"net"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func stat(pid, ppid int, comm string, start uint64) string {
	return fmt.Sprintf("%d (%s) S %d %d %d 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 %d 10000 200 18446744073709551615 1 1\n", pid, comm, ppid, pid, pid, start)
}

func TestParseStat(t *testing.T) {
	tests := []struct {
		name, in string
		want     Info
		fails    string
	}{
		{"plain", stat(10, 1, "nginx", 77), Info{PPID: 1, Comm: "nginx", Start: 77}, ""},
		{"parentheses and spaces", stat(10, 1, "a) S 9 (b", 77), Info{PPID: 1, Comm: "a) S 9 (b", Start: 77}, ""},
		{"newline and escape", stat(10, 0, "\x1b[2J\n", 1<<40), Info{Comm: "\x1b[2J\n", Start: 1 << 40}, ""},
		{"no name at all", stat(10, 1, "", 77), Info{PPID: 1, Start: 77}, ""},
		{"empty", "", Info{}, "no command name"},
		{"one parenthesis", "10 ) S", Info{}, "no command name"},
		{"cut off", "10 (sh) S 1 2", Info{}, "3 fields"},
		{"no number", strings.Replace(stat(10, 1, "sh", 77), " 77 ", " x ", 1), Info{}, "start time"},
		{"negative parent", strings.Replace(stat(10, 5, "sh", 77), "S 5", "S -5", 1), Info{}, "parent"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, err := parseStat([]byte(tt.in))
			switch {
			case tt.fails == "" && err != nil:
				t.Errorf("error %v", err)
			case tt.fails != "" && (err == nil || !strings.Contains(err.Error(), tt.fails)):
				t.Errorf("error %v, want one of %q", err, tt.fails)
			case tt.fails == "" && got != tt.want:
				t.Errorf("got %+v, want %+v", got, tt.want)
			}
		})
	}
}

func FuzzParseStat(f *testing.F) {
	f.Add([]byte(stat(10, 1, "a) (b", 77)))
	f.Fuzz(func(t *testing.T, b []byte) {
		if info, err := parseStat(b); err == nil && !strings.Contains(string(b), "("+info.Comm+")") {
			t.Errorf("%q has no comm %q", b, info.Comm)
		}
	})
}

// proc is a made-up /proc.
type proc struct {
	t    *testing.T
	root string
}

func (p proc) process(pid int, comm string, start uint64, links ...string) {
	p.t.Helper()
	dir := filepath.Join(p.root, fmt.Sprint(pid))
	if err := os.MkdirAll(filepath.Join(dir, "fd"), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "stat"), []byte(stat(pid, 1, comm, start)), 0o644); err != nil {
		p.t.Fatal(err)
	}
	p.write(pid, "status", fmt.Sprintf("Name:\t%s\nPid:\t%d\nUid:\t1000\t0\t0\t0\n", comm, pid))
	p.write(pid, "cgroup", "0::/system.slice/"+comm+".service\n")
	p.write(pid, "cmdline", "/usr/bin/"+comm+"\x00-x\x00\x00")
	p.link(pid, "exe", "/usr/bin/"+comm)
	p.link(pid, "ns/net", "net:[4026531833]")
	p.link(pid, "ns/pid", "pid:[4026531836]")
	for i, l := range links {
		if err := os.Symlink(l, filepath.Join(dir, "fd", fmt.Sprint(i))); err != nil {
			p.t.Fatal(err)
		}
	}
}

func (p proc) write(pid int, file, content string) {
	p.t.Helper()
	if err := os.WriteFile(filepath.Join(p.root, fmt.Sprint(pid), file), []byte(content), 0o644); err != nil {
		p.t.Fatal(err)
	}
}

func (p proc) link(pid int, file, target string) {
	p.t.Helper()
	name := filepath.Join(p.root, fmt.Sprint(pid), file)
	os.Remove(name)
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		p.t.Fatal(err)
	}
	if err := os.Symlink(target, name); err != nil {
		p.t.Fatal(err)
	}
}

func (p proc) end(pid int) { os.RemoveAll(filepath.Join(p.root, fmt.Sprint(pid))) }

func TestSocketOwnersOfMadeUpProc(t *testing.T) {
	p := proc{t, t.TempDir()}
	p.process(900, "master", 100, "socket:[5]", "socket:[6]", "/dev/null", "pipe:[5]")
	p.process(300, "worker", 200, "socket:[5]", "socket:[7]") // a smaller pid, started later
	p.process(400, "none", 50, "anon_inode:[eventpoll]", "socket:[x]", "socket:[8")
	p.process(500, "twin", 100, "socket:[6]")
	if err := os.Mkdir(filepath.Join(p.root, "self"), 0o755); err != nil {
		t.Fatal(err)
	}
	p.end(501)
	if err := os.Mkdir(filepath.Join(p.root, "501"), 0o755); err != nil { // as one that is ending
		t.Fatal(err)
	}
	got, err := socketOwners(p.root)
	if err != nil {
		t.Fatal(err)
	}
	for ino, p := range got {
		if p.Start() == 0 {
			t.Errorf("the start of %+v, owner of %d, is not known", p, ino)
		}
		got[ino] = event.Proc{PID: p.PID, Comm: p.Comm}
	}
	want := map[uint64]event.Proc{5: {PID: 900, Comm: "master"}, 6: {PID: 500, Comm: "twin"}, 7: {PID: 300, Comm: "worker"}}
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if _, err := socketOwners(filepath.Join(p.root, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no /proc: %v", err)
	}
}

func TestSocketOwners(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	owners, err := SocketOwners()
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		t.Fatal(err)
	}
	raw, err := l.(*net.TCPListener).SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	var st syscall.Stat_t
	if err := raw.Control(func(fd uintptr) { err = syscall.Fstat(int(fd), &st) }); err != nil {
		t.Fatal(err)
	}
	if p := owners[st.Ino]; p.PID != uint32(os.Getpid()) || p.Comm == "" {
		t.Errorf("the listener's owner is %+v of %d sockets", p, len(owners))
	}
}

func BenchmarkSocketOwners(b *testing.B) {
	for b.Loop() {
		if _, err := SocketOwners(); err != nil && !errors.Is(err, fs.ErrPermission) {
			b.Fatal(err)
		}
	}
}
