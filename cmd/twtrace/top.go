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

	"github.com/twtrace/twtrace/internal/clipboard"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/view"
)

func topFlags() []cli.Flag {
	return slices.Concat(filterFlags(), []cli.Flag{followFlag()}, tracerFlags(), viewFlags(), readFlags(), []cli.Flag{agentFlag(), durationFlag()})
}

func viewFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "batch", Aliases: []string{"b"}, Usage: "print plain tables, also on a terminal", Category: categoryOutput},
		&cli.DurationFlag{Name: "interval", Aliases: []string{"i"}, Value: time.Second, Usage: "refresh every `TIME`", Category: categoryOutput},
		&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` refreshes", Category: categoryLimits},
		byFlag(),
		outputFlag("text, json (one object per interval)"),
		utcFlag(),
		&cli.BoolFlag{Name: "ascii", Usage: "use ASCII characters only", Category: categoryOutput},
		&cli.BoolFlag{Name: "no-color", Usage: "no colours", Category: categoryOutput},
		&cli.BoolFlag{Name: "no-mouse", Usage: "leave the mouse to the terminal", Category: categoryOutput},
		&cli.BoolFlag{Name: "preserve-screen", Usage: "on exit leave the last screen, not a summary", Category: categoryOutput},
	}
}

func topCommand() *cli.Command {
	return &cli.Command{
		Name:      "top",
		ArgsUsage: "[FILTER]",
		Usage:     "watch who opens and closes what (the default)",
		Description: examples(
			"twtrace                       all network namespaces of this host",
			"twtrace -N web -i 5s          network namespace web, every 5 s",
			"twtrace -r t.ndjson.zst       replay a recording",
			"twtrace top -b -c 1 -o json   one interval as JSON, for a script"),
		Flags:  topFlags(),
		Action: runTop,
	}
}

func runTop(c *cli.Context) error {
	defer catchSignals(c)()
	if _, err := parseInterval(c); err != nil {
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
	o, src, err := openTop(c)
	if err != nil {
		return err
	}
	defer o.Close()
	return watch(c, o, src)
}

// watch shows a session on the terminal, or as tables where there is none.
func watch(c *cli.Context, s *opened, src *topSource) error {
	defer s.stopOnContext(c)()
	if err := src.prime(c.Context); err != nil {
		return err
	}
	by, err := parseBy(c)
	if err != nil {
		return err
	}
	objects, err := wantsObjects(c)
	if err != nil {
		return err
	}
	display := view.NewDisplay(by)
	display.Enter = src.enter
	out, err := screenOf(c)
	if err != nil {
		return err
	}
	if out == nil {
		signal.Ignore(unix.SIGHUP) // a table for a file goes on without the terminal
		if err := view.RunBatch(c.Context, src, c.App.Writer, display, c.Int("count"), objects); err != nil {
			return err
		}
		return s.verdict(c)
	}
	o := view.LoopOptions{In: os.Stdin, Out: out, Display: display, Interval: src.monitor.Interval(),
		Caps: terminalCaps(c.Bool("ascii"), c.Bool("no-color")), Preserve: c.Bool("preserve-screen"), Name: peerName,
		Clipboard: clipboard.Find(), Mouse: !c.Bool("no-mouse")}
	if s.files != nil {
		if s.files.Speed() == 0 {
			s.files.SetSpeed(1)
		}
		err = view.Loop(c.Context, player{src, &s.files.Playback}, o)
	} else {
		o.Record, o.NetNS = src.recording.Record, netNSNames
		err = view.Loop(c.Context, src, o)
		err = errors.Join(err, src.recording.Close(func(format string, a ...any) { note(c, format, a...) }))
	}
	if err != nil {
		return err
	}
	return s.verdict(c)
}

// screenOf is the terminal that the view draws on, nil where tables are wanted or there
// is none.
func screenOf(c *cli.Context) (*os.File, error) {
	objects, err := wantsObjects(c)
	if err != nil {
		return nil, err
	}
	out, isFile := c.App.Writer.(*os.File)
	if objects || c.Bool("batch") || c.IsSet("count") || !isFile || !interactive(os.Stdin, out) {
		return nil, nil
	}
	return out, nil
}

// wantsObjects tells whether the view is to be an object a line.
func wantsObjects(c *cli.Context) (bool, error) {
	switch s := c.String("output"); s {
	case "text":
		return false, nil
	case "json":
		return true, nil
	default:
		return false, usagef("--output: bad format %q: use text or json", s)
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

// netNSNames are the network namespaces of this host that have a name.
func netNSNames() map[uint32]string {
	list, err := kernel.ListNetNS()
	if err != nil {
		return nil
	}
	names := make(map[uint32]string)
	for _, n := range list {
		names[n.Inum] = n.Name
	}
	return names
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
