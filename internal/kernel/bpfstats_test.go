package kernel

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// loadProgram loads a BPF program that is never attached, and returns its ID.
func loadProgram(t *testing.T, name string) (*ebpf.Program, uint32) {
	t.Helper()
	p, err := ebpf.NewProgram(&ebpf.ProgramSpec{
		Name: name, Type: ebpf.SocketFilter, License: "GPL",
		Instructions: asm.Instructions{asm.Mov.Imm(asm.R0, 0), asm.Return()},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	info, err := p.Info()
	if err != nil {
		t.Fatal(err)
	}
	id, ok := info.ID()
	if !ok {
		t.Fatal("the program has no ID")
	}
	return p, uint32(id)
}

// findProgram returns the loaded program with this ID.
func findProgram(t *testing.T, id uint32) (BPFProgram, bool) {
	t.Helper()
	all, err := BPFPrograms()
	if err != nil {
		t.Fatal(err)
	}
	var found BPFProgram
	for i, p := range all {
		if i > 0 && p.ID <= all[i-1].ID {
			t.Errorf("program %d comes after %d", p.ID, all[i-1].ID)
		}
		if p.ID == id {
			found = p
		}
	}
	return found, found.ID != 0
}

func TestBPFPrograms(t *testing.T) {
	kerneltest.RequireRoot(t)
	const runs = 17
	p, id := loadProgram(t, "twtrace_stats")
	stats, err := EnableBPFStats()
	if err != nil {
		t.Fatal(err)
	}
	for range runs {
		if _, _, err := p.Test(make([]byte, 64)); err != nil {
			t.Fatal(err)
		}
	}
	if err := stats.Close(); err != nil {
		t.Error(err)
	}
	got, ok := findProgram(t, id)
	if !ok {
		t.Fatalf("program %d was not found", id)
	}
	if got.RunTime <= 0 {
		t.Errorf("%d runs took %v", runs, got.RunTime)
	}
	got.RunTime = 0
	want := BPFProgram{ID: id, Name: "twtrace_stats", Type: "SocketFilter", Runs: runs}
	if got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// A program may be unloaded after its ID was read; BPFPrograms leaves it out.
func TestReadBPFProgramUnloaded(t *testing.T) {
	kerneltest.RequireRoot(t)
	// IDs ascend from 1, so no program has this one.
	if _, err := readBPFProgram(1 << 31); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a program that is not there: %v, want fs.ErrNotExist", err)
	}
}

func TestEnableStatsSysctl(t *testing.T) {
	for _, before := range []string{"0\n", "1\n"} {
		path := filepath.Join(t.TempDir(), "bpf_stats_enabled")
		if err := os.WriteFile(path, []byte(before), 0o600); err != nil {
			t.Fatal(err)
		}
		stats, err := enableStatsSysctl(path)
		if err != nil {
			t.Fatal(err)
		}
		if got, _ := os.ReadFile(path); string(got)[0] != '1' {
			t.Errorf("from %q: %q while statistics are enabled", before, got)
		}
		if err := stats.Close(); err != nil {
			t.Error(err)
		}
		if got, _ := os.ReadFile(path); got[0] != before[0] {
			t.Errorf("from %q: %q afterwards", before, got)
		}
	}
	if _, err := enableStatsSysctl(filepath.Join(t.TempDir(), "none")); err == nil {
		t.Error("no error without the sysctl")
	}
}

// TestBPFStatsAsUser: both need rights, and say what failed without.
func TestBPFStatsAsUser(t *testing.T) {
	caps, err := Capabilities()
	if err != nil {
		t.Fatal(err)
	}
	if caps.Has(unix.CAP_SYS_ADMIN) {
		t.Skip("is about users without CAP_SYS_ADMIN")
	}
	if all, err := BPFPrograms(); !errors.Is(err, unix.EPERM) || all != nil {
		t.Errorf("programs %v, %v", all, err)
	}
	if _, err := EnableBPFStats(); !errors.Is(err, fs.ErrPermission) || !strings.Contains(err.Error(), "enable BPF statistics") {
		t.Errorf("statistics: %v", err)
	}
}
