package sandbox

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"unsafe"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

// condition is about one half of an argument of a call: masked, it is one of the values.
type condition struct {
	offset uint32 // in struct seccomp_data
	mask   uint32
	values []uint32
}

// conditions hold if all of them do.
type conditions []condition

// Offsets in struct seccomp_data of include/uapi/linux/seccomp.h.
const (
	offsetNumber = 0
	offsetArch   = 4
	offsetArgs   = 16
)

// low is about the lower 32 bits of an argument, counted from 0: all that the kernel reads
// of an int.
func low(arg int, values ...uint32) condition {
	return condition{offsetArgs + 8*uint32(arg), ^uint32(0), values}
}

// high is about the upper 32 bits, which pointers have.
func high(arg int, values ...uint32) condition {
	c := low(arg, values...)
	c.offset += 4 // amd64 and arm64 are little-endian
	return c
}

// masked is about some of the lower 32 bits.
func masked(arg int, mask, value uint32) condition {
	c := low(arg, value)
	c.mask = mask
	return c
}

func fail(errno unix.Errno) bpf.Instruction {
	return bpf.RetConstant{Val: unix.SECCOMP_RET_ERRNO | uint32(errno)}
}

var (
	allow = bpf.RetConstant{Val: unix.SECCOMP_RET_ALLOW}
	kill  = bpf.RetConstant{Val: unix.SECCOMP_RET_KILL_PROCESS}
)

// filter is the program that decides on each system call of a process.
func filter(g grants, pid int) ([]bpf.Instruction, error) {
	prog := []bpf.Instruction{
		bpf.LoadAbsolute{Off: offsetArch, Size: 4},
		bpf.JumpIf{Cond: bpf.JumpEqual, Val: auditArch, SkipTrue: 1},
		kill, // a 32-bit call, whose numbers mean others
		bpf.LoadAbsolute{Off: offsetNumber, Size: 4},
	}
	if otherABI != 0 {
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpLessThan, Val: otherABI, SkipTrue: 1}, kill)
	}
	seen := make(map[uint32]bool)
	add := func(number uint32, body ...bpf.Instruction) error {
		if seen[number] {
			return fmt.Errorf("system call %d is in two lists", number)
		}
		if len(body) > 255 {
			return fmt.Errorf("the conditions of system call %d are too long", number)
		}
		seen[number] = true
		prog = append(prog, bpf.JumpIf{Cond: bpf.JumpEqual, Val: number, SkipFalse: uint8(len(body))})
		prog = append(prog, body...)
		return nil
	}
	var errs []error
	for _, number := range allowed {
		errs = append(errs, add(number, allow))
	}
	calls := conditional(g, pid)
	for _, number := range slices.Sorted(maps.Keys(calls)) {
		errs = append(errs, add(number, cases(calls[number])...))
	}
	for _, number := range killed {
		errs = append(errs, add(number, kill))
	}
	for _, number := range slices.Sorted(maps.Keys(refused)) {
		errs = append(errs, add(number, fail(refused[number])))
	}
	return append(prog, fail(unix.ENOSYS)), errors.Join(errs...)
}

// cases allow a call if the conditions of one of them hold.
func cases(of []conditions) []bpf.Instruction {
	var body []bpf.Instruction
	for _, all := range of {
		one := []bpf.Instruction{allow}
		for _, c := range slices.Backward(all) {
			one = append(c.test(len(one)), one...)
		}
		body = append(body, one...)
	}
	return append(body, fail(unix.EPERM))
}

// test goes on behind itself if the condition holds, else skips the rest of its case, too.
func (c condition) test(rest int) []bpf.Instruction {
	test := []bpf.Instruction{
		bpf.LoadAbsolute{Off: c.offset, Size: 4},
		bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: c.mask},
	}
	for i, v := range c.values {
		jump := bpf.JumpIf{Cond: bpf.JumpEqual, Val: v, SkipTrue: uint8(len(c.values) - 1 - i)}
		if i == len(c.values)-1 {
			jump.SkipFalse = uint8(rest)
		}
		test = append(test, jump)
	}
	return test
}

// confineCalls installs the filter on all threads of this process, for good, and returns its
// length. It needs no_new_privs, and fails where the kernel has no seccomp.
func confineCalls(g grants) (int, error) {
	prog, err := filter(g, unix.Getpid())
	if err != nil {
		return 0, err
	}
	if err := install(prog); err != nil {
		return 0, fmt.Errorf("install the seccomp filter: %w", err)
	}
	return len(prog), nil
}

// install adds a filter to those of all threads.
func install(prog []bpf.Instruction) error {
	raw, err := bpf.Assemble(prog)
	if err != nil {
		return err
	}
	code := make([]unix.SockFilter, len(raw))
	for i, r := range raw {
		code[i] = unix.SockFilter{Code: r.Op, Jt: r.Jt, Jf: r.Jf, K: r.K}
	}
	fprog := unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}
	thread, _, errno := unix.Syscall(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER,
		unix.SECCOMP_FILTER_FLAG_TSYNC, uintptr(unsafe.Pointer(&fprog)))
	switch {
	case errno != 0:
		return errno
	case thread != 0:
		return fmt.Errorf("thread %d has another one", thread)
	}
	return nil
}
