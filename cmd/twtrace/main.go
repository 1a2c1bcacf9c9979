// Command twtrace shows which process opens and closes the TCP connections that
// pile up in TIME_WAIT, how full the port ranges are, and what helps.
package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/tracer"
	"github.com/twtrace/twtrace/internal/workload"
)

// version is set by the build.
var version = "0.1.0-dev"

// Exit codes, part of the contract with scripts.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitNoTrace = 3 // this host cannot be traced
	exitLossy   = 4 // events were lost, and --strict

	exitDoctorUnknown = 3 // doctor has a scale of its own, as monitoring plugins do
)

// usageError is a wrong command line: exit code 2, or doctor's own.
type usageError struct{ msg string }

func (e usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// exitError carries an exit code other than 1. An empty message prints nothing.
type exitError struct {
	code int
	msg  string
}

func (e exitError) Error() string { return e.msg }

func main() {
	workload.Main()
	// A reader that goes away is an error of the write, not the end of the process.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run is main with its world passed in. It returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	return report(app.Run(args), args, stderr)
}

// report prints err, one line with the cause and the next step, and returns the
// exit code for it.
func report(err error, args []string, stderr io.Writer) int {
	var usage usageError
	var exit exitError
	var host *tracer.HostError
	switch {
	case err == nil, errors.Is(err, unix.EPIPE):
		return exitOK
	case errors.As(err, &exit):
		if exit.msg != "" {
			fmt.Fprintf(stderr, "twtrace: %s\n", exit.msg)
		}
		return exit.code
	case errors.As(err, &usage):
		fmt.Fprintf(stderr, "twtrace: %s (see twtrace %s--help)\n", oneLine(usage.msg), verb(args))
		if strings.HasPrefix(verb(args), "doctor") {
			return exitDoctorUnknown
		}
		return exitUsage
	case errors.As(err, &host):
		fmt.Fprintf(stderr, "twtrace: %s\n", oneLine(host.Error()))
		return exitNoTrace
	}
	fmt.Fprintf(stderr, "twtrace: %s\n", oneLine(err.Error()))
	return exitFailed
}

// oneLine keeps an error on the one line it is promised to take.
func oneLine(s string) string {
	return strings.Join(strings.FieldsFunc(s, func(r rune) bool { return r == '\n' || r == '\r' }), " ")
}

// verb returns the command of a command line and a space, or "".
func verb(args []string) string {
	for _, a := range args[1:] {
		for _, name := range verbs {
			if a == name {
				return a + " "
			}
		}
	}
	return ""
}

var verbs = []string{"top", "trace", "list", "doctor", "explain", "check", "demo"}

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:      "twtrace",
		Usage:     "who fills up TIME_WAIT, and what to do about it",
		UsageText: "twtrace [top] [flags]\n   twtrace COMMAND [flags]",
		Version:   version,
		Writer:    stdout,
		ErrWriter: stderr,
		// Errors are printed and turned into exit codes in one place, report.
		ExitErrHandler:         func(*cli.Context, error) {},
		OnUsageError:           onUsageError,
		Commands:               []*cli.Command{topCommand(), traceCommand(), listCommand(), doctorCommand(), explainCommand(), checkCommand(), demoCommand()},
		Flags:                  topFlags(),
		Action:                 rootAction,
		HideHelpCommand:        true,
		UseShortOptionHandling: false,
	}
	for _, c := range app.Commands {
		c.OnUsageError = onUsageError
		c.HideHelpCommand = true
		c.UseShortOptionHandling = false
		if c.ArgsUsage == "" {
			c.Action = withoutArguments(c.Action)
		}
	}
	return app
}

// onUsageError keeps the library from printing its help to stdout.
func onUsageError(_ *cli.Context, err error, _ bool) error {
	return usageError{strings.TrimPrefix(err.Error(), "flag provided but ")}
}

// rootAction is twtrace without a command: top.
func rootAction(c *cli.Context) error {
	if c.Args().Present() {
		return usagef("unknown command %q: the commands are %s", c.Args().First(), strings.Join(verbs, ", "))
	}
	return runTop(c)
}

// withoutArguments refuses what the library would ignore in silence: every flag
// behind an argument.
func withoutArguments(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Present() {
			return usagef("unexpected argument %q: %s takes flags only", c.Args().First(), c.Command.Name)
		}
		return action(c)
	}
}
