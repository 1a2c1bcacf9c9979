package kernel

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// BPFProgram is a loaded BPF program, of twtrace or of any other process.
type BPFProgram struct {
	ID   uint32 // ascending; the kernel does not use it again soon
	Name string // at most 15 bytes
	Type string // "Tracing", "TracePoint", "Kprobe", ...
	// Runs and RunTime grow only while statistics are enabled (EnableBPFStats).
	Runs    uint64
	RunTime time.Duration
	// Misses counts the runs skipped because the program was running on that CPU
	// already. It grows with and without statistics; 0 before 5.12.
	Misses uint64
}

// BPFPrograms returns all loaded BPF programs, by ascending ID. It needs
// CAP_SYS_ADMIN.
func BPFPrograms() ([]BPFProgram, error) {
	var all []BPFProgram
	for id := ebpf.ProgramID(0); ; {
		next, err := ebpf.ProgramGetNextID(id)
		if errors.Is(err, fs.ErrNotExist) {
			return all, nil
		}
		if err != nil {
			return nil, fmt.Errorf("find the BPF program after %d: %w", id, err)
		}
		id = next
		p, err := readBPFProgram(id)
		if errors.Is(err, fs.ErrNotExist) { // unloaded in the meantime
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("read BPF program %d: %w", id, err)
		}
		all = append(all, p)
	}
}

func readBPFProgram(id ebpf.ProgramID) (BPFProgram, error) {
	p, err := ebpf.NewProgramFromID(id)
	if err != nil {
		return BPFProgram{}, err
	}
	defer p.Close()
	info, err := p.Info()
	if err != nil {
		return BPFProgram{}, err
	}
	stats, err := p.Stats()
	if err != nil {
		return BPFProgram{}, err
	}
	return BPFProgram{
		ID: uint32(id), Name: info.Name, Type: info.Type.String(),
		Runs: stats.RunCount, RunTime: stats.Runtime, Misses: stats.RecursionMisses,
	}, nil
}

// statsSysctl switches the statistics of all programs on and off.
const statsSysctl = "/proc/sys/kernel/bpf_stats_enabled"

// EnableBPFStats has the kernel count the runs of all BPF programs, and their
// time, until the Closer is closed; each run then reads the clock twice more.
// Before 5.8 this sets the sysctl kernel.bpf_stats_enabled, which
// outlives a process that is killed. It needs CAP_SYS_ADMIN.
func EnableBPFStats() (io.Closer, error) {
	c, err := ebpf.EnableStats(unix.BPF_STATS_RUN_TIME)
	if errors.Is(err, unix.EINVAL) { // no such bpf() command
		c, err = enableStatsSysctl(statsSysctl)
	}
	if err != nil {
		return nil, fmt.Errorf("enable BPF statistics: %w", err)
	}
	return c, nil
}

// sysctlStats is the file of the switch, and its content before.
type sysctlStats struct{ path, before string }

func enableStatsSysctl(path string) (io.Closer, error) {
	b, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	s := sysctlStats{path, strings.TrimSpace(string(b))}
	return s, os.WriteFile(path, []byte("1"), 0)
}

// Close restores the switch.
func (s sysctlStats) Close() error {
	if err := os.WriteFile(s.path, []byte(s.before), 0); err != nil {
		return fmt.Errorf("restore BPF statistics: %w", err)
	}
	return nil
}
