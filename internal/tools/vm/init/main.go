// Command init is process 1 of the test VM: it makes the guest look enough like
// a machine, runs the planned commands one after the other as its children,
// says on the console how they ended, and powers off.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/tools/vm/plan"
)

func main() {
	if os.Getpid() != 1 {
		fmt.Fprintln(os.Stderr, "init: not process 1 of a VM")
		os.Exit(plan.ExitHarness)
	}
	code, err := run()
	if err != nil {
		fmt.Println("init:", err)
		code = plan.ExitHarness
	}
	fmt.Printf("\n%s%d\n", plan.ExitMark, code)
	drain()
	powerOff()
}

func run() (code int, err error) {
	if err := setUp(); err != nil {
		return 0, err
	}
	b, err := os.ReadFile(plan.Path)
	if err != nil {
		return 0, err
	}
	var p plan.Plan
	if err := json.Unmarshal(b, &p); err != nil {
		return 0, fmt.Errorf("read %s: %w", plan.Path, err)
	}
	if err := unix.Sethostname([]byte(p.Hostname)); err != nil {
		return 0, fmt.Errorf("set the host name: %w", err)
	}
	if err := loadModules(p.Modules); err != nil {
		return 0, err
	}
	log, err := openKernelLog()
	if err != nil {
		return 0, err
	}
	before := taint()
	fmt.Println(plan.ReadyMark)
	for _, c := range p.Commands {
		got, err := runCommand(c, p.Env)
		if err != nil {
			return 0, err
		}
		if code == 0 {
			code = got
		}
	}
	if t := taint() &^ before; t != 0 {
		fmt.Printf("init: the kernel complained (taint %#x); since the first command it said:\n", t)
		log.print()
	}
	return code, nil
}

func loadModules(files []string) error {
	for _, name := range files {
		f, err := os.Open(name)
		if err != nil {
			return err
		}
		err = unix.FinitModule(int(f.Fd()), "", 0)
		f.Close()
		if err != nil && err != unix.EEXIST {
			return fmt.Errorf("load module %s: %w", name, err)
		}
	}
	return nil
}

// drain waits until what was printed is out on the serial line. Else the
// kernel's own messages, which go there directly, land in the midst of it.
func drain() { _ = unix.IoctlSetInt(int(os.Stdout.Fd()), unix.TCSBRK, 1) }

// powerOff does not return. Should the machine not turn off, a restart ends it
// as well: the host started it with -no-reboot.
func powerOff() {
	unix.Sync()
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_POWER_OFF)
	_ = unix.Reboot(unix.LINUX_REBOOT_CMD_RESTART)
	for {
		time.Sleep(time.Hour)
	}
}
