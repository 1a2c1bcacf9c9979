package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/view"
)

func topFlags() []cli.Flag {
	return slices.Concat(filterFlags(), []cli.Flag{followFlag()}, tracerFlags(), viewFlags(), []cli.Flag{durationFlag()})
}

func viewFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "batch", Aliases: []string{"b"}, Usage: "plain tables, also on a terminal", Category: categoryOutput},
		&cli.DurationFlag{Name: "interval", Aliases: []string{"i"}, Value: time.Second, Usage: "`TIME` between two views", Category: categoryOutput},
		&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` views", Category: categoryOutput},
		byFlag(),
		&cli.BoolFlag{Name: "ascii", Usage: "no characters beyond ASCII", Category: categoryOutput},
		&cli.BoolFlag{Name: "no-color", Usage: "no colours", Category: categoryOutput},
	}
}

func topCommand() *cli.Command {
	return &cli.Command{
		Name:   "top",
		Usage:  "watch who opens and closes what (the default)",
		Flags:  topFlags(),
		Action: runTop,
	}
}

func runTop(c *cli.Context) error {
	defer catchSignals(c)()
	interval, err := positive(c, "interval")
	if err != nil {
		return err
	}
	if interval < 100*time.Millisecond {
		return usagef("--interval: %v is too short: the least is 100ms", interval)
	}
	if c.IsSet("count") && c.Int("count") < 1 {
		return usagef("--count: bad number %d: it must be above 0", c.Int("count"))
	}
	if _, err := parseBy(c); err != nil {
		return err
	}
	limits := &limitsCache{}
	limits.refresh()
	s, err := openSession(c, conn.Options{Limits: limits.of})
	if err != nil {
		return err
	}
	defer s.close()
	return watch(c, s, newLive(s, limits, interval))
}

// watch shows a session on the terminal, or as tables where there is none.
func watch(c *cli.Context, s *session, src *live) error {
	defer s.stopOn(c.Context)()
	var err error
	if src.by, err = parseBy(c); err != nil {
		return err
	}
	out, isFile := c.App.Writer.(*os.File)
	if c.Bool("batch") || c.IsSet("count") || !isFile || !interactive(os.Stdin, out) {
		if err := view.RunBatch(c.Context, src, c.App.Writer, c.Int("count")); err != nil {
			return err
		}
		return s.verdict(c)
	}
	err = view.Loop(c.Context, src, view.LoopOptions{In: os.Stdin, Out: out, Interval: src.interval(), Grouping: src.by,
		Caps: terminalCaps(c.Bool("ascii"), c.Bool("no-color"))})
	if err != nil {
		return err
	}
	return s.verdict(c)
}

// interactive reports whether a full-screen view makes sense.
func interactive(in, out *os.File) bool {
	return term.IsTerminal(int(in.Fd())) && term.IsTerminal(int(out.Fd())) && os.Getenv("TERM") != "dumb" && os.Getenv("TERM") != ""
}

// terminalCaps tells what the terminal shows from the environment, as others do.
func terminalCaps(ascii, noColor bool) view.Caps {
	locale := ""
	for _, name := range []string{"LC_ALL", "LC_CTYPE", "LANG"} {
		if locale = os.Getenv(name); locale != "" {
			break
		}
	}
	utf8 := strings.Contains(strings.ReplaceAll(strings.ToLower(locale), "-", ""), "utf8")
	profile := colorprofile.Env(os.Environ())
	if noColor || os.Getenv("NO_COLOR") != "" { // whatever its value: no-color.org
		profile = min(profile, colorprofile.ASCII)
	}
	return view.Caps{
		Unicode: utf8 && !ascii,
		Style:   profile >= colorprofile.ASCII,
		Color:   profile >= colorprofile.ANSI,
	}
}

// finding words what is worst, in one line, until there is a diagnosis to ask.
func finding(s *view.State) {
	g := s.Worst
	if g == nil || g.Severity == event.SeverityNone {
		return
	}
	id, to := "TW101", fmt.Sprintf("%v -> %v", g.Local, g.Remote)
	if g.What == pressure.LocalPorts {
		id, to = "TW102", fmt.Sprintf("bound at %v", g.Local)
	} else if 2*g.TimeWait < g.Held() {
		id = "TW106"
	}
	s.Severity = view.Severity(g.Severity)
	s.Finding = fmt.Sprintf("%s  ports %s: %s of %s in use, %s", id, to,
		output.Count(uint64(g.Used)), output.Count(uint64(g.Limit)), whenFull(g))
}

// whenFull words the forecast of a gauge.
func whenFull(g *pressure.Gauge) string {
	fails := "connect() fails"
	if g.What == pressure.LocalPorts {
		fails = "bind() fails"
	}
	switch {
	case g.Refused > 0:
		return fails
	case g.Full && g.In <= pressure.Horizon:
		return fmt.Sprintf("%s in about %.0fs", fails, g.In.Seconds())
	}
	return "which settles at about " + output.Percent(uint64(g.Steady), uint64(g.Limit))
}
