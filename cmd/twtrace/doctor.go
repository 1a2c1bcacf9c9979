package main

import (
	"context"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/kernel"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "say what is wrong with ports and TIME_WAIT, and what helps",
		Description: "It looks at /proc and sock_diag, as any user can, and as root watches what happens for 10 s.\n" +
			"Exit code: 0 ok, 1 warning, 2 critical, 3 unknown or usage, as monitoring plugins have it.\n" +
			"Commands are printed and never run.\n\n" +
			examples(
				"twtrace doctor                      what is wrong, who does it, and what helps",
				"twtrace doctor --brief --window 3s  a line for each warning, for a monitoring system",
				"twtrace doctor -o md > ticket.md    the same for a ticket",
				"twtrace doctor --preflight          can this host be traced",
				"twtrace doctor --plan --rate 500    do the ports bear it, and what would",
				"twtrace doctor --sysctl             suggested settings as a file for sysctl.d"),
		Flags:  slices.Concat(doctorFlags(), planFlags(), doctorTracerFlags(), doctorReadFlags()),
		Action: runDoctor,
	}
}

func doctorFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "netns", Aliases: []string{"N"}, Category: categoryFilter,
			Usage: "network namespaces: `NAME`, inode, path or pid:N (default: all that have sockets)"},
		&cli.DurationFlag{Name: "window", Value: doctorWindow, Usage: "watch for `TIME`", Category: categoryTrace},
		&cli.BoolFlag{Name: "no-bpf", Usage: "do not trace: /proc and sock_diag alone", Category: categoryTrace},
		&cli.BoolFlag{Name: "preflight", Usage: "only say whether this host can be traced", Category: categoryTrace},
		outputFlag(strings.Join(doctorFormats, ", ")),
		&cli.BoolFlag{Name: "brief", Usage: "only a line for each warning, and the summary", Category: categoryOutput},
		&cli.BoolFlag{Name: "sysctl", Usage: "only the settings that would help, as a file for sysctl.d", Category: categoryOutput},
		&cli.StringFlag{Name: "fail-on", Value: "warn", Category: categoryOutput,
			Usage: "exit 0 for what is below `SEVERITY`: info, warn, crit"},
		&cli.BoolFlag{Name: "no-color", Usage: "no colours", Category: categoryOutput},
	}
}

// doctorTracerFlags are those of other traces, but for --strict, since the exit code
// is a verdict, and system calls are hooked by default: it is not for long.
func doctorTracerFlags() []cli.Flag {
	flags := slices.DeleteFunc(tracerFlags(), func(f cli.Flag) bool { return f.Names()[0] == "strict" })
	for _, f := range flags {
		if f, ok := f.(*cli.StringFlag); ok && f.Name == "syscalls" {
			f.Usage = "hook system calls `WHICH`: auto and on (calls that fail, accepters; slows every call of the host while it watches), off"
		}
	}
	return flags
}

// doctorReadFlags leave out the speed: a diagnosis is made at once.
func doctorReadFlags() []cli.Flag {
	return slices.DeleteFunc(readFlags(), func(f cli.Flag) bool { return f.Names()[0] == "speed" })
}

const doctorWindow = 10 * time.Second

var doctorFormats = []string{"text", "json", "md"}

// doctor is one run: how to look, and how to tell.
type doctor struct {
	window time.Duration
	named  []kernel.NetNS // by the user; nil: all that have sockets
	format string
	brief  bool
	sysctl bool
	style  advice.Style
	out    io.Writer
	screen *progress

	before map[uint32]advice.Counted // the counters at the begin
	report advice.Report
	damage error // of the files that were read
}

func runDoctor(c *cli.Context) error {
	defer catchSignals(c)()
	d, err := newDoctor(c)
	if err != nil {
		return err
	}
	defer d.screen.clear()
	switch {
	case c.Bool("plan"):
		return d.plan(c)
	case c.IsSet("read"):
		err = d.readTape(c)
	case c.Bool("preflight"):
		err = d.preflight(c)
	default:
		err = d.watch(c)
	}
	if err != nil {
		return err
	}
	if err := d.tell(); err != nil {
		return err
	}
	code := d.report.ExitCode()
	switch {
	case d.damage != nil && code == 0:
		return d.damage
	case d.damage != nil:
		note(c, "%v", d.damage)
	}
	if code != 0 {
		return exitError{code: code}
	}
	return nil
}

func newDoctor(c *cli.Context) (*doctor, error) {
	d := &doctor{format: c.String("output"), brief: c.Bool("brief"), sysctl: c.Bool("sysctl"), out: c.App.Writer}
	if !slices.Contains(doctorFormats, d.format) {
		return nil, usagef("--output: bad format %q: it is %s", d.format, strings.Join(doctorFormats, ", "))
	}
	if d.sysctl && (d.brief || d.format != "text") {
		return nil, usagef("--sysctl is a form of its own, beside --brief and -o")
	}
	for _, name := range planOnly {
		if c.IsSet(name) && !c.Bool("plan") {
			return nil, usagef("--%s is for --plan", name)
		}
	}
	if d.brief && d.format != "text" {
		return nil, usagef("--brief is a text, and -o %s is none", d.format)
	}
	failOn, ok := map[string]advice.Severity{"info": advice.Info, "warn": advice.Warn, "crit": advice.Crit}[c.String("fail-on")]
	if !ok {
		return nil, usagef("--fail-on: bad severity %q: it is info, warn or crit", c.String("fail-on"))
	}
	var err error
	if d.window, err = positive(c, "window"); err != nil {
		return nil, err
	}
	for _, name := range []string{"from", "to"} {
		if c.IsSet(name) && !c.IsSet("read") {
			return nil, usagef("--%s is for trace files: name them with -r", name)
		}
	}
	d.style, d.screen = doctorStyle(c), newProgress(c)
	d.report = advice.Report{Version: version, FailOn: failOn}
	d.report.Host, err = kernel.ThisHost()
	return d, err
}

// tell prints the report.
func (d *doctor) tell() error {
	d.screen.clear()
	switch {
	case d.sysctl:
		return advice.WriteSysctl(d.out, version, d.report.Host, d.report.Findings)
	case d.brief:
		return advice.WriteBrief(d.out, d.report, d.style)
	case d.format == "json":
		return advice.WriteJSON(d.out, d.report)
	case d.format == "md":
		return advice.WriteMarkdown(d.out, d.report)
	}
	return advice.WriteText(d.out, d.report, d.style)
}

// conclude makes findings of facts, behind those about the trace.
func (d *doctor) conclude(facts []advice.Facts) {
	kept := slices.DeleteFunc(d.report.Findings, func(x advice.Finding) bool { return x.Group != "trace" })
	d.report.Findings = append(kept, advice.DiagnoseAll(facts)...)
	d.report.Spaces = nil
	for _, f := range facts {
		if f.NetNS.Inum != 0 {
			d.report.Spaces = append(d.report.Spaces, f.NetNS)
		}
		d.report.Time = f.Time
		d.report.Window = max(d.report.Window, f.Window)
	}
}

// pause waits, and reports whether it was for the whole time.
func pause(ctx context.Context, t time.Duration) bool {
	select {
	case <-ctx.Done():
		return false
	case <-time.After(t):
		return true
	}
}
