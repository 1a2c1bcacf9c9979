package main

import (
	"fmt"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/tracer"
)

const (
	categoryFilter = "Filters (comma-separated lists; a leading ! excludes)"
	categoryOutput = "Output"
	categoryLimits = "Limits"
	categoryTrace  = "Tracing"
)

func outputFlag(formats string) cli.Flag {
	return &cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "text",
		Usage: "`FORMAT`: output format: " + formats, Category: categoryOutput}
}

func tracerFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "hooks", Value: "auto", Usage: "`SET`: kernel hooks to use: auto, fentry or timer", Category: categoryTrace},
		&cli.StringFlag{Name: "syscalls", Value: "auto", Category: categoryTrace,
			Usage: "`WHICH`: trace system calls: off, auto (only what slows no other call), or on (adds failed bind, accept and socket calls, and who accepted; slows every system call on the host slightly)"},
		&cli.StringFlag{Name: "btf", Usage: "read kernel types from `FILE` (default: the running kernel's)", Category: categoryTrace},
		&cli.StringFlag{Name: "buffer", Value: fmt.Sprintf("%dM", tracer.DefaultBuffer>>20), Usage: "`SIZE`: size of the ring buffer, such as 64K or 16M", Category: categoryLimits},
		&cli.IntFlag{Name: "max-conns", Value: tracer.DefaultMaxConns, Usage: "track up to `N` connections at once", Category: categoryLimits},
		&cli.BoolFlag{Name: "strict", Usage: "exit 4 if any event was lost", Category: categoryTrace},
	}
}

// cmdlineFlag asks for what may hold secrets, and is not read without.
func cmdlineFlag() cli.Flag {
	return &cli.BoolFlag{Name: "cmdline", Usage: "include the owner's command line, which may contain secrets", Category: categoryOutput}
}

func durationFlag() cli.Flag {
	return &cli.DurationFlag{Name: "duration", Usage: "stop after `TIME`, such as 30s", Category: categoryLimits}
}

// fieldsFlag picks what is printed; noHeaderFlag leaves out the line above it.
func fieldsFlag() cli.Flag {
	return &cli.StringFlag{Name: "fields", Category: categoryOutput,
		Usage: "print only these `FIELDS`, by their names or headings, in this order: time,comm,life"}
}

func noHeaderFlag() cli.Flag {
	return &cli.BoolFlag{Name: "no-header", Usage: "print no headings in text", Category: categoryOutput}
}

// textWidth is how wide the terminal is that text fits, 0 if stdout is none: a pipe gets
// everything.
func textWidth(c *cli.Context) int {
	if f, ok := c.App.Writer.(*os.File); ok && term.IsTerminal(int(f.Fd())) {
		return columns(f)
	}
	return 0
}

func parseOutput(c *cli.Context) (output.Options, error) {
	format, err := output.ParseFormat(c.String("output"))
	if err != nil {
		return output.Options{}, usagef("--output: %v", err)
	}
	o := output.Options{Format: format, Clock: clockOf(c), Width: textWidth(c), NoHeading: c.Bool("no-header")}
	if c.IsSet("fields") || c.String("fields") != "" { // it may have a default
		if o.Fields, err = output.ParseFields(c.String("fields"), format); err != nil {
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
	o := output.Options{Format: format, Clock: clockOf(c), Width: textWidth(c)}
	if c.IsSet("fields") {
		o.Fields = splitFields(c.String("fields"))
	}
	return o, nil
}

func parseTracer(c *cli.Context, f *filter.Filter) (tracer.Options, error) {
	buffer, err := parseSize(c.String("buffer"))
	if err != nil || buffer < 4096 || buffer > 1<<30 {
		return tracer.Options{}, usagef("--buffer: bad size %q: use 4K to 1G, such as 64K or 16M", c.String("buffer"))
	}
	conns := c.Int("max-conns")
	if conns < 1 || conns > 1<<25 {
		return tracer.Options{}, usagef("--max-conns: bad number %d: use 1 to %d", conns, 1<<25)
	}
	set, err := tracer.ParseHookSet(c.String("hooks"))
	if err != nil {
		return tracer.Options{}, usagef("--hooks: %v", err)
	}
	syscalls := c.String("syscalls")
	if !slices.Contains([]string{"auto", "on", "off"}, syscalls) {
		return tracer.Options{}, usagef("--syscalls: bad value %q: use auto, on or off", syscalls)
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
		err = usagef("--interval: %v is too short: the minimum is 100ms", interval)
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
		return usagef("--states: bad value %q: use all", s)
	}
	return nil
}
