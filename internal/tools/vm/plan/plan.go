// Package plan is what the host side of the VM harness and the init program in
// the guest send each other.
package plan

import (
	"strconv"
	"strings"
)

// Path is where init finds the plan, as JSON.
const Path = "/plan.json"

// What init says on the console, at the end of a line of its own.
const (
	// ReadyMark is printed before the first command runs.
	ReadyMark = "TWTRACE-VM-READY"
	// RunMark and a path are printed before each command, EndMark and its exit code
	// after it.
	RunMark = "TWTRACE-VM-RUN "
	EndMark = "TWTRACE-VM-END "
	// ExitMark and a code are printed last.
	ExitMark = "TWTRACE-VM-EXIT "
)

// ExitHarness is the code of a failure of the harness itself.
const ExitHarness = 125

// Plan is what the guest is to do.
type Plan struct {
	Hostname string
	Modules  []string // files, in the order they are loaded
	Env      []string // K=V
	Commands []Command
}

// Command is a program to run.
type Command struct {
	Path string // a file, or a name to look up in PATH
	Args []string
	Env  []string // K=V, after the plan's
	Dir  string   // working directory
}

// ExitCode finds the code that init reported in a line of the console. Output
// of a program that did not end its last line may stand before it.
func ExitCode(line string) (code int, ok bool) {
	_, s, ok := strings.Cut(line, ExitMark)
	if !ok {
		return 0, false
	}
	code, err := strconv.Atoi(strings.TrimSpace(s))
	return code, err == nil
}
