package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// kernelArgs is the command line of every guest.
var kernelArgs = []string{
	"console=ttyS0",
	"quiet",
	"panic=-1",   // restart at once, which qemu turns into an exit
	"oops=panic", // a test that survives an oops has proved nothing
	"nowatchdog", // an emulated CPU may well be stuck for seconds
	"no_timer_check",
	"rcupdate.rcu_cpu_stall_suppress=1",
	"mitigations=off", // nobody attacks it, and emulating them is slow
	"random.trust_cpu=on",
	"audit=0",
	"apparmor=0",
}

// emulated is a machine whose time is the number of its instructions, a nanosecond each,
// which its CPUs execute by turns; with nothing to do it goes straight to its next timer.
// So waiting takes no time, and a guest that gets little of a busy host does not notice.
// One that ran its CPUs at the same time would now and then run into its own int3 while
// it patches its code.
var emulated = []string{
	"-accel", "tcg,thread=single",
	"-icount", "shift=0,sleep=off",
	"-cpu", "max,-cx16", // with cx16, 6.12 panics under load on an emulated CPU
}

// qemuArgs returns the arguments for qemu-system-x86_64.
func qemuArgs(k *kernel, initramfs string, o *runOptions) []string {
	machine := emulated
	if o.accel == "kvm" {
		machine = []string{"-accel", "kvm", "-cpu", "host"}
	}
	cmdline := strings.Join(kernelArgs, " ")
	if o.append != "" {
		cmdline += " " + o.append
	}
	return append(slices.Clone(machine),
		"-smp", strconv.Itoa(o.cpus),
		"-m", strconv.Itoa(o.memory),
		// The ELF file boots by its PVH note; it saves the guest the unpacking.
		"-kernel", k.vmlinux(),
		"-initrd", initramfs,
		"-append", cmdline,
		"-nodefaults", "-no-user-config", "-no-reboot",
		"-display", "none",
		"-serial", "stdio",
	)
}

// boot runs the guest until it is off, and returns the code its init reported.
func boot(ctx context.Context, k *kernel, initramfs string, o *runOptions) (int, error) {
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	args := qemuArgs(k, initramfs, o)
	cmd, err := tool(ctx, "qemu-system-x86_64", append(args, monitorArgs...)...)
	if err != nil {
		return 0, err
	}
	if o.keep {
		fmt.Fprintln(os.Stderr, "vm: qemu-system-x86_64", shellQuote(args))
	}
	// The guest must not outlive us. The kernel takes "us" for this thread.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return 0, err
	}
	turns, err := monitor(cmd)
	if err != nil {
		return 0, err
	}
	begin := time.Now()
	err = cmd.Start()
	cmd.ExtraFiles[0].Close()
	if err != nil {
		turns.Close()
		return 0, fmt.Errorf("start qemu: %w", err)
	}
	go takeTurns(turns)
	if o.console == nil {
		o.console = os.Stdout
	}
	con := &console{w: o.console, ready: func() {
		fmt.Fprintf(os.Stderr, "vm: %s, Linux %s, booted in %.1f s\n", k.Suite, k.Release, time.Since(begin).Seconds())
	}}
	readErr := con.copy(out)
	waitErr := cmd.Wait()
	switch {
	case con.panicked != "": // whatever a program may have printed
		return 0, fmt.Errorf("the guest panicked: %s", con.panicked)
	case con.exited:
		return con.code, nil
	case errors.Is(ctx.Err(), context.DeadlineExceeded):
		return 0, fmt.Errorf("timeout after %s; the last line was %q", o.timeout, con.last)
	case ctx.Err() != nil:
		return 0, errors.New("interrupted")
	}
	return 0, errors.Join(errors.New("the guest ended without an exit code"), qemuError(waitErr), readErr)
}

// qemuError words an exit of qemu, if it was not 0.
func qemuError(err error) error {
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		return fmt.Errorf("qemu: %s", exit.ProcessState)
	}
	return err
}

// shellQuote makes a command line to paste.
func shellQuote(args []string) string {
	var b strings.Builder
	for i, a := range args {
		if i > 0 {
			b.WriteByte(' ')
		}
		if a == "" || strings.ContainsAny(a, " \t\n'\"\\$&|;<>()*?[]#~`!{}") {
			a = "'" + strings.ReplaceAll(a, "'", `'\''`) + "'"
		}
		b.WriteString(a)
	}
	return b.String()
}
