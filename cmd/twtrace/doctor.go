package main

import (
	"errors"
	"io"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/doctor"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/live"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/tracer"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:      "doctor",
		ArgsUsage: "[FILTER]",
		Usage:     "diagnose ports and TIME_WAIT: what is wrong, who does it, and what helps",
		Description: "Reads /proc and sock_diag, as any user can; as root it also traces for 10 s.\n" +
			"Exit code: 0 ok, 1 warning, 2 critical, 3 unknown or usage error, as monitoring plugins use them.\n" +
			"It prints commands and never runs them.\n\n" +
			examples(
				"twtrace doctor                      what is wrong, who does it, and what helps",
				"twtrace doctor --all                notes, and what is fine, too",
				"twtrace doctor --brief --window 3s  only the verdict, for a monitoring system",
				"twtrace doctor -o md > ticket.md    the same in Markdown, for a ticket",
				"twtrace doctor --preflight          can this host be traced",
				"twtrace doctor --plan --rate 500    would 500/s fit, and what would make it fit",
				"twtrace doctor --sysctl             suggested settings as a file for sysctl.d"),
		Flags:  slices.Concat(doctorFlags(), planFlags(), doctorTracerFlags(), doctorReadFlags()),
		Action: runDoctor,
	}
}

func doctorFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "netns", Aliases: []string{"N"}, Category: categoryFilter,
			Usage: "network namespace `NAME`, its inode number, path, or pid:N (default: all that have sockets)"},
		&cli.DurationFlag{Name: "window", Value: doctorWindow, Usage: "watch for `TIME`", Category: categoryLimits},
		agentFlag(),
		&cli.BoolFlag{Name: "no-bpf", Usage: "read /proc and sock_diag only; do not trace", Category: categoryTrace},
		&cli.BoolFlag{Name: "preflight", Usage: "only report whether this host can be traced", Category: categoryTrace},
		outputFlag(strings.Join(doctorFormats, ", ")),
		utcFlag(),
		&cli.BoolFlag{Name: "all", Usage: "print notes, and what is fine, too", Category: categoryOutput},
		&cli.BoolFlag{Name: "brief", Usage: "print only the verdict, and one line per further warning", Category: categoryOutput},
		&cli.BoolFlag{Name: "sysctl", Usage: "print only the settings that would help, as a file for sysctl.d", Category: categoryOutput},
		&cli.StringFlag{Name: "fail-on", Value: "warn", Category: categoryOutput,
			Usage: "`SEVERITY`: exit 0 if every finding is below info, warn or crit"},
		&cli.BoolFlag{Name: "no-color", Usage: "no colours", Category: categoryOutput},
	}
}

// doctorTracerFlags are those of other traces, but for --strict, since the exit code
// is a verdict, and system calls are hooked by default: it is not for long.
func doctorTracerFlags() []cli.Flag {
	flags := slices.DeleteFunc(tracerFlags(), func(f cli.Flag) bool { return f.Names()[0] == "strict" })
	for _, f := range flags {
		if f, ok := f.(*cli.StringFlag); ok && f.Name == "syscalls" {
			f.Usage = "`WHICH`: trace system calls: off, or auto and on (failed bind, accept and socket calls, and who accepted; slows every system call on the host slightly meanwhile)"
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

func runDoctor(c *cli.Context) error {
	defer catchSignals(c)()
	f, err := parseDoctorForm(c)
	if err != nil {
		return err
	}
	if c.Bool("plan") {
		return writePlan(c, f.format)
	}
	o, err := parseDoctor(c)
	if err != nil {
		return err
	}
	screen := newProgress(c)
	defer screen.clear()
	o.Show = func(done time.Duration, found []advice.Finding) { screen.show(done, o.Window, found) }
	d := doctor.New(o)
	if d.Report.Host, err = kernel.ThisHost(); err != nil {
		return err
	}
	var stream *agent.Stream
	if !c.IsSet("read") {
		if stream, err = askAgent(c, agentAsk{past: allPast}); err != nil {
			return err
		}
	}
	switch {
	case c.IsSet("read") || stream != nil:
		err = replayDoctor(c, d, o.Named != nil, stream)
	case c.Bool("preflight"):
		d.Preflight(c.String("btf"))
	default:
		err = d.Watch(c.Context)
	}
	if err != nil {
		return err
	}
	screen.clear()
	if err := f.write(c.App.Writer, d.Report); err != nil {
		return err
	}
	return doctorVerdict(c, d)
}

// doctorVerdict is the exit code of a diagnosis, which goes before the damage of files.
func doctorVerdict(c *cli.Context, d *doctor.Doctor) error {
	code := d.Report.ExitCode()
	switch {
	case d.Damage != nil && code == 0:
		return d.Damage
	case d.Damage != nil:
		note(c, "%v", d.Damage)
	}
	if code != 0 {
		return &session.ExitError{Code: code}
	}
	return nil
}

// doctorForm is how the report is written.
type doctorForm struct {
	format string
	brief  bool
	sysctl bool
	style  doctor.Style
}

// parseDoctorForm parses the flags that say how the report is written.
func parseDoctorForm(c *cli.Context) (doctorForm, error) {
	f := doctorForm{format: c.String("output"), brief: c.Bool("brief"), sysctl: c.Bool("sysctl"), style: doctorStyle(c)}
	if !slices.Contains(doctorFormats, f.format) {
		return f, usagef("--output: bad format %q; use %s", f.format, strings.Join(doctorFormats, ", "))
	}
	if f.sysctl && (f.brief || f.format != "text") {
		return f, usagef("--sysctl conflicts with --brief and -o")
	}
	f.style.All = c.Bool("all")
	if f.style.All && (f.sysctl || f.format != "text") {
		return f, usagef("--all conflicts with --sysctl and -o: they leave nothing out")
	}
	for _, name := range planOnly {
		if c.IsSet(name) && !c.Bool("plan") {
			return f, usagef("--%s requires --plan", name)
		}
	}
	if f.brief && f.format != "text" {
		return f, usagef("--brief conflicts with -o %s", f.format)
	}
	return f, nil
}

// write writes the report.
func (f doctorForm) write(w io.Writer, r doctor.Report) error {
	switch {
	case f.sysctl:
		return doctor.WriteSysctl(w, version, r.Host, r.Findings)
	case f.brief:
		return doctor.WriteBrief(w, r, f.style)
	case f.format == "json":
		return doctor.WriteJSON(w, r)
	case f.format == "md":
		return doctor.WriteMarkdown(w, r)
	}
	return doctor.WriteText(w, r, f.style)
}

// parseDoctor parses the flags that say what is diagnosed, and how.
func parseDoctor(c *cli.Context) (doctor.Options, error) {
	o := doctor.Options{Version: version, Clock: clockFor(c, c.String("output"))}
	var ok bool
	o.FailOn, ok = map[string]event.Severity{"info": event.Info, "warn": event.Warn, "crit": event.Crit}[c.String("fail-on")]
	if !ok {
		return o, usagef("--fail-on: bad severity %q; use info, warn or crit", c.String("fail-on"))
	}
	f, err := parseFilter(c)
	if err == nil && f.Active() && f.named == nil && !c.IsSet("read") && !(mayReadAgent(c) && !f.NetNS.Not) {
		err = usagef("doctor takes the network namespaces to diagnose, and not those to leave out (!)")
	}
	if err != nil {
		return o, err
	}
	if o.Window, err = positive(c, "window"); err != nil {
		return o, err
	}
	if c.IsSet("read") {
		for _, name := range []string{"no-bpf", "preflight"} {
			if c.IsSet(name) {
				return o, usagef("--%s conflicts with --read (-r): it is about this host", name)
			}
		}
		return o, nil
	}
	where, auto, err := choosesAgent(c)
	if err != nil {
		return o, err
	}
	for _, name := range []string{"from", "to"} {
		if c.IsSet(name) && (where == "" || auto) {
			return o, usagef("--%s requires --read (-r) and a trace file, or --agent", name)
		}
	}
	if !c.Bool("preflight") {
		o.Named = f.named
	}
	if !c.Bool("no-bpf") {
		o.Trace = func() (*doctor.Trace, error) { return openDoctorTrace(c, o.Named) }
	}
	return o, nil
}

// openDoctorTrace hooks system calls too, unless the user or the kernel forbids it.
func openDoctorTrace(c *cli.Context, named []kernel.NetNS) (*doctor.Trace, error) {
	f := &filter.Filter{}
	for _, n := range named {
		f.NetNS.Items = append(f.NetNS.Items, n.Inum)
	}
	topts, err := parseTracer(c, f)
	if err != nil {
		return nil, err
	}
	which := c.String("syscalls")
	topts.Syscalls = which != "off"
	open := func() (running, error) {
		return attach(c, live.Options{Version: version, Tracer: topts, Named: named, CountWaiting: true})
	}
	trace, err := open()
	var host *tracer.HostError
	if which == "auto" && errors.As(err, &host) {
		topts.Syscalls = false
		trace, err = open()
	}
	if err != nil {
		return nil, err
	}
	s, err := session.New(trace, session.Options{Filter: f, Narrow: true})
	if err != nil {
		return nil, err
	}
	return &doctor.Trace{Session: s, Host: trace, Findings: doctor.TraceFindings(trace.Check())}, nil
}

// replayDoctor diagnoses trace files, or the past of an agent and, if that is one of this
// host, what the host shows beside it. named says that the user named network namespaces.
func replayDoctor(c *cli.Context, d *doctor.Doctor, named bool, stream *agent.Stream) error {
	s, err := openPast(c, wants{Options: session.Options{Narrow: true}, agent: agentAsk{past: allPast}}, stream)
	if err != nil {
		return err
	}
	defer s.Close()
	names := fileNames(c)
	for i, name := range names {
		names[i] = filepath.Base(name)
	}
	if d.Report.File = strings.Join(names, ", "); stream != nil {
		d.Report.File = "agent " + stream.Where
	}
	if stream == nil || !ofThisHost(c, s) {
		return d.Replay(c.Context, s.Session, s.host, s.files.From() != 0)
	}
	if err := d.StartLocal(s.Filter().Active() && !named); err != nil {
		return err
	}
	if err := d.Replay(c.Context, s.Session, s.host, s.files.From() != 0); err != nil {
		return err
	}
	return d.EndLocal(c.Context)
}

// ofThisHost reports whether what this host shows now is a part of the diagnosis: an agent
// traces the whole of it, or what was asked for, and nobody asks for a part of its past.
func ofThisHost(c *cli.Context, s *opened) bool {
	start, err := s.Start()
	here, hereErr := kernel.ThisHost()
	if err != nil || hereErr != nil || start.Start.BootID != here.BootID || c.IsSet("from") || c.IsSet("to") {
		return false
	}
	return s.agent.Filter == "" || s.Filter().Active()
}
