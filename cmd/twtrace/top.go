package main

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"os"
	"os/signal"
	"slices"
	"strings"
	"time"

	"github.com/charmbracelet/colorprofile"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/view"
)

func topFlags() []cli.Flag {
	return slices.Concat(filterFlags(), []cli.Flag{followFlag()}, tracerFlags(), viewFlags(), readFlags(), []cli.Flag{durationFlag()})
}

func viewFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "batch", Aliases: []string{"b"}, Usage: "plain tables, also on a terminal", Category: categoryOutput},
		&cli.DurationFlag{Name: "interval", Aliases: []string{"i"}, Value: time.Second, Usage: "`TIME` between two views", Category: categoryOutput},
		&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` views", Category: categoryOutput},
		byFlag(),
		outputFlag("text, json (an object an interval)"),
		&cli.BoolFlag{Name: "ascii", Usage: "no characters beyond ASCII", Category: categoryOutput},
		&cli.BoolFlag{Name: "no-color", Usage: "no colours", Category: categoryOutput},
		&cli.BoolFlag{Name: "preserve-screen", Usage: "leave the last screen, not a summary", Category: categoryOutput},
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
	interval, err := parseInterval(c)
	if err != nil {
		return err
	}
	if err := checkCount(c); err != nil {
		return err
	}
	if _, err := parseBy(c); err != nil {
		return err
	}
	if _, err := wantsObjects(c); err != nil {
		return err
	}
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	return watch(c, s, newLive(s, interval))
}

// watch shows a session on the terminal, or as tables where there is none.
func watch(c *cli.Context, s *session, src *live) error {
	defer s.stopOn(c.Context)()
	by, err := parseBy(c)
	if err != nil {
		return err
	}
	objects, err := wantsObjects(c)
	if err != nil {
		return err
	}
	look := view.NewLook(by)
	out, isFile := c.App.Writer.(*os.File)
	if objects || c.Bool("batch") || c.IsSet("count") || !isFile || !interactive(os.Stdin, out) {
		signal.Ignore(unix.SIGHUP) // a table for a file goes on without the terminal
		if err := view.RunBatch(c.Context, src, c.App.Writer, look, c.Int("count"), objects); err != nil {
			return err
		}
		return s.verdict(c)
	}
	o := view.LoopOptions{In: os.Stdin, Out: out, Look: look, Interval: src.interval(),
		Caps: terminalCaps(c.Bool("ascii"), c.Bool("no-color")), Preserve: c.Bool("preserve-screen"), Enter: enterNetNS, Name: peerName}
	if s.tape != nil {
		if s.tape.speed == 0 {
			s.tape.speed = 1
		}
		err = view.Loop(c.Context, replay{src, &s.tape.transport}, o)
	} else {
		o.Record = src.Record
		err = view.Loop(c.Context, src, o)
		err = errors.Join(err, src.closeRecording(func(format string, a ...any) { note(c, format, a...) }))
	}
	if err != nil {
		return err
	}
	return s.verdict(c)
}

// wantsObjects tells whether the view is to be an object a line.
func wantsObjects(c *cli.Context) (bool, error) {
	switch s := c.String("output"); s {
	case "text":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, usagef("bad output format %q: use text, json", s)
	}
}

// enterNetNS is what brings a command of the user's shell into a namespace.
func enterNetNS(inum uint32) string {
	list, err := kernel.ListNetNS()
	if err != nil {
		return ""
	}
	i := slices.IndexFunc(list, func(n kernel.NetNS) bool { return n.Inum == inum })
	if i < 0 {
		return ""
	}
	return list[i].Enter()
}

// namePatience is how long the resolver may take for a name.
const namePatience = 2 * time.Second

// peerName asks the resolver of this host for the name of an address; "" if it has none.
func peerName(a netip.Addr) string {
	ctx, cancel := context.WithTimeout(context.Background(), namePatience)
	defer cancel()
	names, err := net.DefaultResolver.LookupAddr(ctx, a.WithZone("").String())
	if err != nil || len(names) == 0 {
		return ""
	}
	return strings.TrimSuffix(names[0], ".")
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
