package main

import (
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

func names[T event.Enum]() string { return strings.Join(event.Names[T](), ", ") }

func outputFlag(formats string) cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "text",
		Usage: "`FORMAT`: " + formats, Category: categoryOutput}
}

func tracerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "hooks", Value: "auto", Usage: "`SET` of kernel hooks: auto, fentry, timer", Category: categoryTrace},
		&cli.StringFlag{Name: "btf", Usage: "kernel types from `FILE` (default: the running kernel's)", Category: categoryTrace},
		&cli.StringFlag{Name: "buffer", Value: "8M", Usage: "`SIZE` of the ring buffer, such as 64K or 16M", Category: categoryTrace},
		&cli.IntFlag{Name: "max-conns", Value: 360448, Usage: "connections known at once, `N`", Category: categoryTrace},
		&cli.BoolFlag{Name: "strict", Usage: "exit 4 if any event was lost", Category: categoryTrace},
	}
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
	value, s.Not = strings.CutPrefix(value, "!")
	for _, spec := range strings.Split(value, ",") {
		ns, err := kernel.FindNetNS(spec)
		if err != nil {
			return s, err
		}
		s.Items = append(s.Items, ns.Inum)
	}
	return s, nil
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

func parseTracer(c *cli.Context, f *filter.Filter) (tracer.Options, error) {
	buffer, err := parseSize(c.String("buffer"))
	if err != nil || buffer < 4096 || buffer > 1<<30 {
		return tracer.Options{}, usagef("--buffer: bad size %q: from 4K to 1G, such as 64K or 16M", c.String("buffer"))
	}
	conns := c.Int("max-conns")
	if conns < 1 || conns > 1<<26 {
		return tracer.Options{}, usagef("--max-conns: bad number %d: from 1 to %d", conns, 1<<26)
	}
	set, err := tracer.ParseHookSet(c.String("hooks"))
	if err != nil {
		return tracer.Options{}, usagef("--hooks: %v", err)
	}
	return tracer.Options{Filter: f, Buffer: buffer, MaxConns: conns, BTF: c.String("btf"), Hooks: set}, nil
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
