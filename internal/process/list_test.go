package process

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"testing"
)

func TestListAll(t *testing.T) {
	p := proc{t, t.TempDir()}
	p.process(7, "nginx", 100)
	p.process(12, "a) (b", 200)
	if err := os.MkdirAll(filepath.Join(p.root, "13"), 0o755); err != nil { // as one that is ending
		t.Fatal(err)
	}
	if err := os.Mkdir(filepath.Join(p.root, "sys"), 0o755); err != nil {
		t.Fatal(err)
	}
	got, err := listAll(p.root)
	if err != nil {
		t.Fatal(err)
	}
	slices.SortFunc(got, func(a, b Info) int { return int(a.PID) - int(b.PID) })
	want := []Info{{PID: 7, PPID: 1, Start: 100, Comm: "nginx"}, {PID: 12, PPID: 1, Start: 200, Comm: "a) (b"}}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	p.write(7, "stat", "7 (nginx) S")
	if _, err := listAll(p.root); err == nil {
		t.Error("a stat that is cut passed")
	}
	if _, err := listAll(filepath.Join(p.root, "absent")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no /proc: %v", err)
	}
}

// TestAll finds this process among all, as StartOf does.
func TestAll(t *testing.T) {
	all, err := All()
	if err != nil {
		t.Fatal(err)
	}
	pid := uint32(os.Getpid())
	i := slices.IndexFunc(all, func(p Info) bool { return p.PID == pid })
	if i < 0 {
		t.Fatalf("%d is not among %d processes", pid, len(all))
	}
	start, err := StartOf(pid)
	if err != nil || start != HostTicks(all[i].Start) || start == 0 || all[i].PPID != uint32(os.Getppid()) {
		t.Errorf("it is %+v; it started at %d, %v", all[i], start, err)
	}
	if _, err := StartOf(1 << 30); !errors.Is(err, ErrGone) {
		t.Errorf("no process: %v", err)
	}
}
