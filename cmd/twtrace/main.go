// Command twtrace shows which process opens and closes the TCP connections that
// pile up in TIME_WAIT, how full the port ranges are, and what helps.
package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/demo"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/tracer"
)

// version is set by the build.
var version = "0.1.0-dev"

// Exit codes, part of the contract with scripts.
const (
	exitOK      = 0
	exitFailed  = 1
	exitUsage   = 2
	exitNoTrace = 3  // this host cannot be traced
	exitLossy   = 4  // events were lost, and --strict
	exitStorm   = 10 // storms saw one

	exitDoctorUnknown = 3 // doctor has a scale of its own, as monitoring plugins do
)

// usageError is a wrong command line: exit code 2, or doctor's own.
type usageError struct{ msg string }

func (e usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// verbError is an error of a command, with its name.
type verbError struct {
	verb string
	err  error
}

func (e verbError) Error() string { return e.err.Error() }
func (e verbError) Unwrap() error { return e.err }

func main() {
	demo.Main()
	speakerMain()
	// A reader that goes away is an error of the write, not the end of the process.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	os.Exit(run(os.Args, os.Stdout, os.Stderr))
}

// run is main with its world passed in. It returns the exit code.
func run(args []string, stdout, stderr io.Writer) int {
	return runOver(attachKernel, args, stdout, stderr)
}

// runOver is run with what traces the kernel.
func runOver(trace attacher, args []string, stdout, stderr io.Writer) int {
	return runAmid(theseSurroundings(args), trace, args, stdout, stderr)
}

// runAmid is runOver with where settings come from.
func runAmid(around surroundings, trace attacher, args []string, stdout, stderr io.Writer) int {
	app := newApp(stdout, stderr)
	arranged, job := arrange(app, args)
	app.Metadata = map[string]any{metaArgs: args, metaJob: job, metaAttacher: trace, metaAround: around, metaSettings: readSettings(app, around)}
	return conclude(app.Run(arranged), stderr)
}

// conclude prints err, one line with the cause and the next step, and returns the
// exit code for it.
func conclude(err error, stderr io.Writer) int {
	var (
		usage  usageError
		of     verbError
		exit   *session.ExitError
		loss   *session.LossError
		host   *tracer.HostError
		denied deniedError
	)
	errors.As(err, &of)
	switch {
	case err == nil, errors.Is(err, unix.EPIPE):
		return exitOK
	case errors.As(err, &exit):
		if exit.Msg != "" {
			complain(stderr, exit.Msg)
		}
		return exit.Code
	case errors.As(err, &loss):
		complain(stderr, loss.Error())
		return exitLossy
	case errors.As(err, &usage):
		complain(stderr, usage.msg+" (see "+strings.TrimSpace("twtrace "+of.verb)+" --help)")
		if of.verb == "doctor" {
			return exitDoctorUnknown
		}
		return exitUsage
	case errors.As(err, &host):
		complain(stderr, host.Error())
		return exitNoTrace
	case errors.As(err, &denied):
		complain(stderr, denied.Error())
		return exitNoTrace
	case errors.Is(err, fs.ErrPermission):
		complain(stderr, err.Error()+"; "+rightsHint())
		return exitNoTrace
	}
	complain(stderr, err.Error())
	if of.verb == "doctor" {
		return exitDoctorUnknown
	}
	return exitFailed
}

// complain prints an error on the one line it is promised to take.
func complain(stderr io.Writer, msg string) {
	lines := strings.FieldsFunc(msg, func(r rune) bool { return r == '\n' || r == '\r' })
	for i := range lines {
		lines[i] = strings.TrimSpace(lines[i])
	}
	fmt.Fprintf(stderr, "twtrace: %s\n", strings.Join(lines, "; "))
}

// rightsHint is what to do about a right that is missing.
func rightsHint() string {
	if !kernel.InInitUserNS() {
		return "run as root on the host: capabilities of this user namespace do not count"
	}
	return "run as root"
}

var verbs = []string{"top", "trace", "list", "ports", "storms", "record", "convert", "report", "doctor", "explain", "serve", "agent", "check", "demo", "help", "version", "config", "completion"}

func newApp(stdout, stderr io.Writer) *cli.App {
	app := &cli.App{
		Name:      "twtrace",
		Usage:     "who fills up TIME_WAIT, and what to do about it",
		UsageText: "twtrace [top] [flags]\ntwtrace COMMAND [flags]",
		Description: "Most commands need root. " + examples(
			"twtrace                             who opens and closes what, live",
			"twtrace doctor                      what is wrong, and what helps; needs no root",
			"twtrace trace -D 3306 -o json       every TIME_WAIT to port 3306, as JSON",
			"twtrace demo                        watch a storm, with nothing to set up"),
		Version:   version,
		Writer:    stdout,
		ErrWriter: stderr,
		// Errors are printed and turned into exit codes in one place, conclude.
		ExitErrHandler:  func(*cli.Context, error) {},
		OnUsageError:    onUsageError,
		Commands:        []*cli.Command{topCommand(), traceCommand(), listCommand(), portsCommand(), stormsCommand(), recordCommand(), convertCommand(), reportCommand(), doctorCommand(), explainCommand(), serveCommand(), agentCommand(), checkCommand(), demoCommand(), helpCommand(), versionCommand(), configCommand(), completionCommand(), completeCommand()},
		Flags:           append(topFlags(), configFlag(), cli.HelpFlag), // the library leaves it out, as there is a command help
		Action:          rootAction,
		HideHelpCommand: true,
		// A file may have a comma in its name.
		DisableSliceFlagSeparator: true,
		UseShortOptionHandling:    false,
	}
	for _, c := range app.Commands {
		c.OnUsageError = onUsageError
		c.HideHelpCommand = true
		c.UseShortOptionHandling = false
		if !slices.Contains(withoutSettings, c.Name) && !c.Hidden || c.Name == "config" {
			c.Flags = append(c.Flags, configFlag())
		}
		if c.ArgsUsage == "" {
			c.Action = withoutArguments(c.Action)
		}
		c.Action = named(c.Name, c.Action)
	}
	return app
}

// named adds the name of the command to the errors of an action.
func named(verb string, action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		s := settingsOf(c)
		err := s.usable(c, verb)
		if err == nil {
			err = action(c)
		}
		if usage := (usageError{}); errors.As(err, &usage) {
			err = usageError{s.explain(c, verb, usage.msg)}
		}
		if err != nil {
			return verbError{verb, err}
		}
		return nil
	}
}

// rootAction is twtrace without a command: top.
func rootAction(c *cli.Context) error {
	if c.Args().Present() && !c.IsSet("read") && !filter.Begins(c.Args().Slice()) {
		return unknownCommand(c.Args().Slice()...)
	}
	return named("top", runTop)(c)
}

// withoutArguments refuses what the library would ignore in silence: every flag
// behind an argument.
func withoutArguments(action cli.ActionFunc) cli.ActionFunc {
	return func(c *cli.Context) error {
		if c.Args().Present() && !c.IsSet("read") { // then they are files
			return strayArgument(c, c.Args().First())
		}
		return action(c)
	}
}
