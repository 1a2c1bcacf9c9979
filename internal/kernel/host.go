package kernel

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// Host identifies the machine and the kernel it runs.
type Host struct {
	Hostname string
	Release  string // uname -r
	Version  string // uname -v
	Machine  string // uname -m
	BootID   string // new at every boot
	PageSize int    // bytes
	CPUs     int    // online, even if this process may use only some
	HZ       int    // timer ticks a second: 100, 250, 300 or 1000
}

// ThisHost reads the identity of the machine. In a container the host name is
// the container's.
func ThisHost() (Host, error) {
	var u unix.Utsname
	if err := unix.Uname(&u); err != nil {
		return Host{}, fmt.Errorf("uname: %w", err)
	}
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	if err != nil {
		return Host{}, fmt.Errorf("read boot id: %w", err)
	}
	online, err := os.ReadFile("/sys/devices/system/cpu/online")
	if err != nil {
		return Host{}, fmt.Errorf("read online CPUs: %w", err)
	}
	cpus, err := parseCPUList(string(online))
	if err != nil {
		return Host{}, fmt.Errorf("read online CPUs: %w", err)
	}
	tick, err := Tick()
	if err != nil {
		return Host{}, err
	}
	return Host{
		Hostname: unix.ByteSliceToString(u.Nodename[:]),
		Release:  unix.ByteSliceToString(u.Release[:]),
		Version:  unix.ByteSliceToString(u.Version[:]),
		Machine:  unix.ByteSliceToString(u.Machine[:]),
		BootID:   strings.TrimSpace(string(boot)),
		PageSize: os.Getpagesize(),
		CPUs:     cpus,
		HZ:       int(math.Round(float64(time.Second) / float64(tick))),
	}, nil
}

// Tick is the time between two ticks of the kernel's timer: what jiffies count.
// sysconf(_SC_CLK_TCK) is USER_HZ, always 100; but the coarse clocks advance once a
// tick, so their resolution is a tick.
func Tick() (time.Duration, error) {
	var res unix.Timespec
	if err := unix.ClockGetres(unix.CLOCK_MONOTONIC_COARSE, &res); err != nil {
		return 0, fmt.Errorf("read the resolution of the coarse clock: %w", err)
	}
	if res.Nano() <= 0 {
		return 0, fmt.Errorf("the coarse clock has a resolution of %d ns", res.Nano())
	}
	return time.Duration(res.Nano()), nil
}

// parseCPUList counts the CPUs of a list like "0-3,8-11\n".
func parseCPUList(s string) (int, error) {
	n := 0
	for part := range strings.SplitSeq(strings.TrimSpace(s), ",") {
		from, to, isRange := strings.Cut(part, "-")
		if !isRange {
			to = from
		}
		a, err := strconv.Atoi(from)
		if err != nil {
			return 0, err
		}
		b, err := strconv.Atoi(to)
		if err != nil {
			return 0, err
		}
		n += b - a + 1
	}
	return n, nil
}

// MemAvailable returns how many bytes of memory programs could use without swapping.
func MemAvailable() (uint64, error) {
	f, err := os.Open("/proc/meminfo")
	if err != nil {
		return 0, fmt.Errorf("read available memory: %w", err)
	}
	defer f.Close()
	n, err := parseMemAvailable(f)
	if err != nil {
		return 0, fmt.Errorf("read available memory: %w", err)
	}
	return n, nil
}

// parseMemAvailable finds the line "MemAvailable:   12345 kB" of meminfo.
func parseMemAvailable(r io.Reader) (uint64, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if rest, ok := strings.CutPrefix(lines.Text(), "MemAvailable:"); ok {
			kb, err := strconv.ParseUint(strings.TrimSpace(strings.TrimSuffix(rest, "kB")), 10, 64)
			return kb << 10, err
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, errors.New("no MemAvailable line")
}

// ClockOffset returns the nanoseconds to add to CLOCK_MONOTONIC, the clock of the
// events of BPF programs, to get CLOCK_REALTIME. It is right until the clock is set.
func ClockOffset() int64 {
	const tries = 16
	best, offset := int64(math.MaxInt64), int64(0)
	for range tries {
		before, wall, after := monotonic(), time.Now().UnixNano(), monotonic()
		if d := after - before; d < best { // the less time it took, the less it can be off
			best, offset = d, wall-(before+d/2)
		}
	}
	return offset
}

func monotonic() int64 {
	var ts unix.Timespec
	// Cannot fail: the clock exists and the pointer is good.
	_ = unix.ClockGettime(unix.CLOCK_MONOTONIC, &ts)
	return ts.Nano()
}
