package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/tracer"
)

const (
	categoryFilter = "Filters (lists with commas; a leading ! means all others)"
	categoryOutput = "Output"
	categoryTrace  = "Trace"
)

func filterFlags() []cli.Flag {
	f := func(name, usage string, aliases ...string) cli.Flag {
		return &cli.StringFlag{Name: name, Aliases: aliases, Usage: usage, Category: categoryFilter}
	}
	return []cli.Flag{
		f("pid", "opened, accepted or closed by process `PID`", "p"),
		f("comm", "... by a process named `COMM`; * and ? are wildcards"),
		f("uid", "... by a process of user `UID`"),
		f("exe", "... by an executable, `PATH` or name"),
		f("parent", "... by a child of process `PID` or COMM"),
		f("cgroup", "... from cgroup `PATH` or below it"),
		f("unit", "... of systemd unit `NAME`"),
		f("container", "... in container `ID`, the begin of one, or its name"),
		f("pod", "... in Kubernetes pod `UID`, or NAMESPACE/NAME"),
		f("lport", "local `PORT` or range, 8000-8099", "L"),
		f("rport", "remote `PORT` or range", "D"),
		f("laddr", "local address or prefix, `CIDR`"),
		f("raddr", "remote address or prefix, `CIDR`"),
		&cli.BoolFlag{Name: "4", Usage: "IPv4 only", Category: categoryFilter},
		&cli.BoolFlag{Name: "6", Usage: "IPv6 only", Category: categoryFilter},
		f("netns", "network namespace: `NAME`, inode, path or pid:N (default: all)", "N"),
		f("role", "`ROLE` of the socket: "+names[event.Role]()),
		f("closer", "whose FIN came first, `SIDE`: "+names[event.Side]()),
	}
}

func recordFilterFlags() []cli.Flag {
	return append(filterFlags(),
		&cli.StringFlag{Name: "event", Usage: "`EVENT` to print: " + names[event.Kind](), Category: categoryFilter},
		&cli.StringFlag{Name: "reason", Usage: "`REASON` of it: " + names[event.Reason](), Category: categoryFilter},
	)
}

// examples are the first things that people do with a command.
func examples(lines ...string) string { return "Examples:\n\n  " + strings.Join(lines, "\n  ") }

func names[T event.Enum]() string { return strings.Join(event.Names[T](), ", ") }

func outputFlag(formats string) cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "text",
		Usage: "`FORMAT`: " + formats, Category: categoryOutput}
}

func tracerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "hooks", Value: "auto", Usage: "`SET` of kernel hooks: auto, fentry, timer", Category: categoryTrace},
		&cli.StringFlag{Name: "syscalls", Value: "auto", Category: categoryTrace,
			Usage: "hook system calls `WHICH`: auto (none that slow others), on (calls that fail, accepters; slows every call of the host), off"},
		&cli.StringFlag{Name: "btf", Usage: "kernel types from `FILE` (default: the running kernel's)", Category: categoryTrace},
		&cli.StringFlag{Name: "buffer", Value: "8M", Usage: "`SIZE` of the ring buffer, such as 64K or 16M", Category: categoryTrace},
		&cli.IntFlag{Name: "max-conns", Value: 360448, Usage: "connections known at once, `N`", Category: categoryTrace},
		&cli.BoolFlag{Name: "strict", Usage: "exit 4 if any event was lost", Category: categoryTrace},
	}
}

// cmdlineFlag asks for what may hold secrets, and is not read without.
func cmdlineFlag() cli.Flag {
	return &cli.BoolFlag{Name: "cmdline", Usage: "also the command line of the owner, which may hold secrets", Category: categoryOutput}
}

func followFlag() cli.Flag {
	return &cli.BoolFlag{Name: "follow", Usage: "with --pid: also what the process has started, and starts", Category: categoryFilter}
}

// parseFollow returns the processes to follow, and has the filter let them through.
func parseFollow(c *cli.Context, f *filter.Filter) ([]tracer.Root, error) {
	args, err := jobArgs(c)
	switch {
	case err != nil:
		return nil, err
	case args != nil && (f.PIDs.Active() || c.Bool("follow")):
		return nil, usagef("--pid and --follow are of no use with a command to run: it and what it starts are traced")
	case args != nil:
		f.Follow = true
		return []tracer.Root{jobRoot()}, nil
	case !c.Bool("follow"):
		return nil, nil
	case !f.PIDs.Active() || f.PIDs.Not:
		return nil, usagef("--follow needs --pid to tell whom")
	}
	f.Follow = true
	roots := make([]tracer.Root, len(f.PIDs.Items))
	for i, pid := range f.PIDs.Items {
		roots[i].PID = pid
	}
	return roots, nil
}

func durationFlag() cli.Flag {
	return &cli.DurationFlag{Name: "duration", Usage: "stop after `TIME`, such as 30s", Category: categoryTrace}
}

// parseFilter returns the filter that the flags describe.
func parseFilter(c *cli.Context) (*filter.Filter, error) {
	f := &filter.Filter{}
	if c.Bool("4") && c.Bool("6") {
		return nil, usagef("-4 and -6 exclude each other")
	}
	if c.Bool("4") {
		f.Family = 4
	} else if c.Bool("6") {
		f.Family = 6
	}
	err := firstError(
		set(c, "pid", &f.PIDs, filter.ParsePIDs),
		set(c, "comm", &f.Comms, filter.ParseComms),
		set(c, "uid", &f.UIDs, filter.ParseUIDs),
		set(c, "exe", &f.Exes, filter.ParseExes),
		set(c, "parent", &f.Parents, filter.ParseParents),
		set(c, "cgroup", &f.Cgroups, filter.ParseCgroups),
		set(c, "unit", &f.Units, filter.ParseUnits),
		set(c, "container", &f.Containers, filter.ParseIDs),
		set(c, "pod", &f.Pods, filter.ParseIDs),
		set(c, "lport", &f.LPorts, filter.ParsePorts),
		set(c, "rport", &f.RPorts, filter.ParsePorts),
		set(c, "laddr", &f.LAddrs, filter.ParsePrefixes),
		set(c, "raddr", &f.RAddrs, filter.ParsePrefixes),
		set(c, "role", &f.Roles, filter.ParseEnum[event.Role]),
		set(c, "closer", &f.Closers, filter.ParseEnum[event.Side]),
		set(c, "event", &f.Events, filter.ParseEnum[event.Kind]),
		set(c, "reason", &f.Reasons, filter.ParseEnum[event.Reason]),
		set(c, "netns", &f.NetNS, parseNetNS),
	)
	return f, err
}

// set parses one filter flag, if it was given.
func set[T any](c *cli.Context, name string, to *filter.Set[T], parse func(string) (filter.Set[T], error)) error {
	if !c.IsSet(name) {
		return nil
	}
	s, err := parse(c.String(name))
	if errors.Is(err, fs.ErrPermission) { // of /proc, and not the user's mistake
		return fmt.Errorf("--%s: %w", name, err)
	}
	if err != nil {
		return usagef("--%s: %v", name, err)
	}
	*to = s
	return nil
}

func firstError(errs ...error) error {
	for _, err := range errs {
		if err != nil {
			return err
		}
	}
	return nil
}

func parseNetNS(value string) (filter.Set[uint32], error) {
	var s filter.Set[uint32]
	_, s.Not = strings.CutPrefix(value, "!")
	found, err := findNetNS(value)
	for _, ns := range found {
		s.Items = append(s.Items, ns.Inum)
	}
	return s, err
}

// findNetNS returns the namespaces that the value of --netns names, negated or
// not, each once.
func findNetNS(value string) ([]kernel.NetNS, error) {
	var found []kernel.NetNS
	for _, spec := range strings.Split(strings.TrimPrefix(value, "!"), ",") {
		ns, err := kernel.FindNetNS(spec)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(found, func(n kernel.NetNS) bool { return n.Inum == ns.Inum }) {
			found = append(found, ns)
		}
	}
	return found, nil
}

func parseOutput(c *cli.Context) (output.Options, error) {
	format, err := output.ParseFormat(c.String("output"))
	if err != nil {
		return output.Options{}, usagef("--output: %v", err)
	}
	o := output.Options{Format: format}
	if c.IsSet("fields") {
		if o.Fields, err = output.ParseFields(c.String("fields")); err != nil {
			return o, usagef("--fields: %v", err)
		}
	}
	return o, nil
}

// parseTable is parseOutput for a table, whose columns are its own.
func parseTable(c *cli.Context) (output.Options, error) {
	format, err := output.ParseFormat(c.String("output"))
	if err != nil {
		return output.Options{}, usagef("--output: %v", err)
	}
	o := output.Options{Format: format}
	if c.IsSet("fields") {
		for _, f := range strings.Split(c.String("fields"), ",") {
			o.Fields = append(o.Fields, strings.TrimSpace(f))
		}
	}
	return o, nil
}

func parseTracer(c *cli.Context, f *filter.Filter) (tracer.Options, error) {
	buffer, err := parseSize(c.String("buffer"))
	if err != nil || buffer < 4096 || buffer > 1<<30 {
		return tracer.Options{}, usagef("--buffer: bad size %q: from 4K to 1G, such as 64K or 16M", c.String("buffer"))
	}
	conns := c.Int("max-conns")
	if conns < 1 || conns > 1<<25 {
		return tracer.Options{}, usagef("--max-conns: bad number %d: from 1 to %d", conns, 1<<25)
	}
	set, err := tracer.ParseHookSet(c.String("hooks"))
	if err != nil {
		return tracer.Options{}, usagef("--hooks: %v", err)
	}
	syscalls := c.String("syscalls")
	if !slices.Contains([]string{"auto", "on", "off"}, syscalls) {
		return tracer.Options{}, usagef("--syscalls: bad value %q: it is auto, on or off", syscalls)
	}
	return tracer.Options{Filter: f, Buffer: buffer, MaxConns: conns, BTF: c.String("btf"), Hooks: set,
		Syscalls: syscalls == "on"}, nil
}

// parseSize parses a size in bytes with an optional K, M or G (powers of 1024).
func parseSize(s string) (int, error) {
	shift := 0
	if n := len(s); n > 0 {
		switch s[n-1] {
		case 'k', 'K':
			shift = 10
		case 'm', 'M':
			shift = 20
		case 'g', 'G':
			shift = 30
		}
		if shift > 0 {
			s = s[:n-1]
		}
	}
	n, err := strconv.ParseUint(s, 10, 32)
	return int(n) << shift, err
}

// positive returns the value of a duration flag, refusing what cannot be waited for.
func positive(c *cli.Context, name string) (time.Duration, error) {
	d := c.Duration(name)
	if d < 0 || (c.IsSet(name) && d == 0) {
		return 0, usagef("--%s: bad duration %v: it must be above 0, such as 30s", name, d)
	}
	return d, nil
}

// parseInterval returns the time between two views.
func parseInterval(c *cli.Context) (time.Duration, error) {
	interval, err := positive(c, "interval")
	if err == nil && interval < 100*time.Millisecond {
		err = usagef("--interval: %v is too short: the least is 100ms", interval)
	}
	return interval, err
}

func checkCount(c *cli.Context) error {
	if c.IsSet("count") && c.Int("count") < 1 {
		return usagef("--count: bad number %d: it must be above 0", c.Int("count"))
	}
	return nil
}

func checkStates(c *cli.Context) error {
	if s := c.String("states"); s != "" && s != "all" {
		return usagef("--states: bad value %q: the only one is all", s)
	}
	return nil
}

// wordDefaults has the help say something better than "(default: false)" or
// "(default: 0s)".
func wordDefaults(flags []cli.Flag) {
	for _, f := range flags {
		switch f := f.(type) {
		case *cli.BoolFlag:
			f.DisableDefaultText = true
		case *cli.IntFlag:
			if f.Value == 0 {
				f.DefaultText = "no limit"
			}
		case *cli.DurationFlag:
			if f.Value == 0 {
				f.DefaultText = "no limit"
			}
		}
	}
}

// onUsageError keeps the library from printing its help to stdout, and words
// what the standard library's flag package says. That has no types to tell by.
func onUsageError(c *cli.Context, err error, _ bool) error {
	msg := err.Error()
	if flag, ok := strings.CutPrefix(msg, "flag provided but not defined: "); ok {
		msg = "unknown flag " + flag
	}
	if bad, ok := strings.CutSuffix(msg, ": parse error"); ok {
		msg = bad + ": it takes " + takes(c, bad[strings.LastIndex(bad, " -")+2:])
	}
	if c.Command.Name == c.App.Name {
		return usageError{msg}
	}
	return verbError{c.Command.Name, usageError{msg}}
}

// takes says what the flag of that name takes.
func takes(c *cli.Context, name string) string {
	flags := c.Command.Flags
	if c.Command.Name == c.App.Name {
		flags = c.App.Flags
	}
	for _, f := range flags {
		if !slices.Contains(f.Names(), name) {
			continue
		}
		switch f.(type) {
		case *cli.DurationFlag:
			return "a time with its unit, such as 30s"
		case *cli.BoolFlag:
			return "no value"
		}
	}
	return "a number"
}
