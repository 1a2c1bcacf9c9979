package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/netns"
)

// process is a tool that runs. Its output goes to a pipe, which all tools pay
// for alike, and is thrown away but for its first and last line.
type process struct {
	cmd    *exec.Cmd
	began  time.Time
	output *output
	stderr bytes.Buffer  // to be read once done is closed
	done   chan struct{} // closed when the process has ended and its output is read
	err    error         // what it ended with; set before done is closed
}

// start starts a tool. It gets 10 s to end after ctx has, which interrupts it.
func start(ctx context.Context, t tool, ns *netns.NS) (*process, error) {
	path, err := t.find()
	if err != nil {
		return nil, err
	}
	args := t.command[1:]
	if t.within {
		args = append([]string{"--net=" + ns.Path(), path}, args...)
		path = "nsenter"
	}
	r, w, err := os.Pipe()
	if err != nil {
		return nil, err
	}
	defer w.Close()
	if _, err := unix.FcntlInt(r.Fd(), unix.F_SETPIPE_SZ, pipeSize); err != nil {
		r.Close()
		return nil, fmt.Errorf("size a pipe: %w", err)
	}
	p := &process{
		cmd: exec.CommandContext(ctx, path, args...), output: newOutput(), done: make(chan struct{}),
	}
	p.cmd.Stdout, p.cmd.Stderr = w, &p.stderr
	// In a group of its own, a Ctrl-C reaches it through ctx alone.
	p.cmd.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(os.Interrupt) }
	p.cmd.WaitDelay = 10 * time.Second
	if err := withTracefs(func() error { p.began = time.Now(); return p.cmd.Start() }); err != nil {
		r.Close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	go func() {
		readErr := p.output.read(r)
		r.Close()
		p.err = errors.Join(p.cmd.Wait(), readErr)
		close(p.done)
	}()
	return p, nil
}

// stop interrupts the tool, as its user would, and waits for its end.
func (p *process) stop() error {
	if err := p.cmd.Process.Signal(os.Interrupt); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("interrupt: %w", err)
	}
	select {
	case <-p.done:
		return p.failure()
	case <-time.After(30 * time.Second):
		p.cmd.Process.Kill()
		<-p.done
		return errors.New("it did not end within 30 s of SIGINT")
	}
}

// failure returns why the tool ended, if not as it should, and what it had to
// say. It must have ended.
func (p *process) failure() error {
	if p.err == nil {
		return nil
	}
	// The last line has the cause; the ones before, of libbpf, what led to it.
	text := bytes.TrimSpace(p.stderr.Bytes())
	if len(text) == 0 {
		return p.err
	}
	return fmt.Errorf("%w: %s", p.err, text[bytes.LastIndexByte(text, '\n')+1:])
}

// family returns the process and its children: an agent is two processes.
func (p *process) family() []int {
	all := []int{p.cmd.Process.Pid}
	tasks, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", all[0])) // a child is that of the thread that started it
	for _, name := range tasks {
		text, _ := os.ReadFile(name)
		for _, child := range strings.Fields(string(text)) {
			if pid, err := strconv.Atoi(child); err == nil {
				all = append(all, pid)
			}
		}
	}
	return all
}

// cpu returns the CPU time that the process and its children have used so far, user and
// system.
func (p *process) cpu() (sum time.Duration, err error) {
	// The CPU clock of a process, as clock_getcpuclockid(3) names it.
	const scheduler = 2
	for _, pid := range p.family() {
		var ts unix.Timespec
		if err := unix.ClockGettime(int32(^pid)<<3|scheduler, &ts); err != nil {
			return 0, fmt.Errorf("read the CPU clock of %d: %w", pid, err)
		}
		sum += time.Duration(ts.Nano())
	}
	return sum, nil
}

// peakRSS returns the sum of VmHWM in bytes. The maxrss of rusage would not do: a child
// inherits it from the process that started it.
func (p *process) peakRSS() (sum uint64, err error) {
	for _, pid := range p.family() {
		n, err := peakRSS(pid)
		if err != nil {
			return 0, err
		}
		sum += n
	}
	return sum, nil
}

func peakRSS(pid int) (uint64, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return 0, fmt.Errorf("read peak memory: %w", err)
	}
	value, err := field(text, "VmHWM:")
	if err != nil {
		return 0, fmt.Errorf("read peak memory: %w", err)
	}
	kib, err := strconv.ParseUint(strings.TrimSuffix(value, " kB"), 10, 64)
	return kib << 10, err
}

// programs returns the IDs of the BPF programs that the process holds, itself or
// through a link. Those that appeared since it was started may be another's.
func (p *process) programs() (map[uint32]bool, error) {
	dir := fmt.Sprintf("/proc/%d/fdinfo/", p.cmd.Process.Pid)
	names, err := filepath.Glob(dir + "*")
	if err != nil {
		return nil, err
	}
	ids := make(map[uint32]bool)
	for _, name := range names {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) { // closed since
			continue
		}
		if err != nil {
			return nil, fmt.Errorf("find its BPF programs: %w", err)
		}
		value, err := field(text, "prog_id:")
		if err != nil {
			continue // some other descriptor
		}
		id, err := strconv.ParseUint(value, 10, 32)
		if err != nil {
			return nil, fmt.Errorf("find its BPF programs: %w", err)
		}
		ids[uint32(id)] = true
	}
	return ids, nil
}

// locked returns the kernel memory that the BPF maps of the process take, in bytes.
func (p *process) locked() (uint64, error) {
	names, err := filepath.Glob(fmt.Sprintf("/proc/%d/fdinfo/*", p.cmd.Process.Pid))
	if err != nil {
		return 0, err
	}
	maps := make(map[string]uint64) // by id: one map may have several descriptors
	for _, name := range names {
		text, err := os.ReadFile(name)
		if errors.Is(err, fs.ErrNotExist) { // closed since
			continue
		}
		if err != nil {
			return 0, fmt.Errorf("find its BPF maps: %w", err)
		}
		id, err := field(text, "map_id:")
		if err != nil {
			continue // some other descriptor
		}
		value, err := field(text, "memlock:")
		if err == nil {
			maps[id], err = strconv.ParseUint(value, 10, 64)
		}
		if err != nil {
			return 0, fmt.Errorf("read the size of a BPF map: %w", err)
		}
	}
	var sum uint64
	for _, n := range maps {
		sum += n
	}
	return sum, nil
}

// field returns what follows name, at the start of a line of a /proc file.
func field(text []byte, name string) (string, error) {
	lines := bufio.NewScanner(bytes.NewReader(text))
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name); ok {
			return strings.TrimSpace(value), nil
		}
	}
	return "", fmt.Errorf("no line %s", name)
}

// withTracefs runs f where libbpf finds the tracepoints. A host that has tracefs
// mounted nowhere gets it in a mount namespace that f's child alone sees.
func withTracefs(f func() error) error {
	const dir = "/sys/kernel/tracing"
	for _, d := range []string{dir, "/sys/kernel/debug/tracing"} {
		if _, err := os.Stat(d + "/events"); err == nil {
			return f()
		}
	}
	result := make(chan error)
	go func() {
		// Never unlocked: the thread, and with it the namespace, ends here.
		runtime.LockOSThread()
		err := unix.Unshare(unix.CLONE_NEWNS)
		if err == nil {
			err = unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, "")
		}
		if err == nil {
			err = unix.Mount("tracefs", dir, "tracefs", 0, "")
		}
		if err != nil && !errors.Is(err, unix.ENODEV) && !errors.Is(err, unix.ENOENT) { // a kernel without
			result <- fmt.Errorf("mount tracefs: %w", err)
			return
		}
		result <- f()
	}()
	return <-result
}
