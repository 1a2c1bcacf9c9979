package sandbox

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kernel"
)

// Commands that make the test binary a part of an agent.
const (
	speakerCommand = "speaker-of-test"
	tracerCommand  = "tracer-of-test"
)

func TestMain(m *testing.M) {
	if len(os.Args) > 1 {
		switch os.Args[1] {
		case speakerCommand:
			if !Requested(speakerCommand) {
				fmt.Fprintln(os.Stderr, "not requested")
			}
			os.Exit(speak())
		case tracerCommand:
			os.Exit(beTracer())
		}
	}
	if withCgo {
		fmt.Fprintln(os.Stderr, asShipped())
		os.Exit(1)
	}
	os.Exit(m.Run())
}

// asShipped runs the tests as the program is built: with cgo it loads libraries, which no
// speaker may open, and cannot make a system call on all its threads. It returns only if it
// fails.
func asShipped() error {
	dir, err := os.MkdirTemp("", "twtrace-sandbox")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "sandbox.test")
	build := exec.Command("go", "test", "-c", "-o", path)
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return fmt.Errorf("build the tests without cgo: %w: %s", err, out)
	}
	fd, err := unix.Open(path, unix.O_PATH|unix.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	os.RemoveAll(dir)
	return unix.Exec(fmt.Sprintf("/proc/self/fd/%d", fd), os.Args, os.Environ())
}

// tracerOrders is what a tracer in a process of its own works with. After that it drops or
// starts a speaker, as each line of its input says.
type tracerOrders struct {
	Keep    kernel.Caps
	Lacking uint32 // a system call that its kernel seems not to have; 0 for none
	Options Options
}

// tracerState is a line that it prints: when it has done as asked, and when a speaker has ended.
type tracerState struct {
	Speaker int
	Report  Report
	Ended   int
	Err     string
}

func beTracer() int {
	in := bufio.NewScanner(os.Stdin)
	out := json.NewEncoder(os.Stdout)
	var orders tracerOrders
	if !in.Scan() || json.Unmarshal(in.Bytes(), &orders) != nil {
		return 2
	}
	orders.Options.Log = os.Stderr
	if orders.Lacking != 0 {
		if err := install([]bpf.Instruction{
			bpf.LoadAbsolute{Off: offsetNumber, Size: 4},
			bpf.JumpIf{Cond: bpf.JumpEqual, Val: orders.Lacking, SkipFalse: 1},
			fail(unix.ENOSYS),
			allow,
		}); err != nil {
			fmt.Fprintln(os.Stderr, err)
			return 2
		}
	}
	for in.Scan() {
		var state tracerState
		var err error
		switch in.Text() {
		case "drop":
			err = Drop(orders.Keep)
		case "start":
			var twin *Twin
			if twin, err = Start(orders.Options); err == nil {
				state.Speaker, state.Report = twin.Report.PID, twin.Report
				go func() { _ = out.Encode(tracerState{Ended: twin.Report.PID, Err: fmt.Sprint(twin.Err())}) }()
			}
		}
		if err != nil {
			state.Err = err.Error()
		}
		_ = out.Encode(state)
	}
	return 0
}
