package main

import (
	"errors"
	"fmt"
	"os"
	"os/signal"
	"os/user"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	tracefile "github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/recorder"
	"github.com/twtrace/twtrace/internal/session"
)

func recordCommand() *cli.Command {
	return &cli.Command{
		Name:      "record",
		Usage:     "write the trace to a file that the other commands read with -r",
		ArgsUsage: "[FILTER] [-- CMD [ARG...]]",
		Description: "SIGHUP starts a new file if the old one was renamed, SIGUSR1 prints counters, SIGUSR2 flushes.\n\n" + examples(
			"twtrace record -w t.ndjson.zst --duration 1m       a minute, to one file",
			"twtrace record -w t.ndjson.zst -C 100M -W 10       the last 1,000 MB, in ten files",
			"twtrace record -w t.ndjson.zst --ring 15m          the last 15 minutes, when a storm starts or on SIGUSR2",
			"twtrace trace -r t.ndjson.zst -o json              print the records"),
		Flags: slices.Concat(recordFilterFlags(), []cli.Flag{followFlag()}, tracerFlags(), stormFlags(), fileFlags(), []cli.Flag{
			cmdlineFlag(),
			agentFlag(),
			durationFlag(),
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` records", Category: categoryLimits},
			&cli.StringFlag{Name: "states", Usage: "`all`: record every state transition", Category: categoryTrace},
		}),
		Action: runRecord,
	}
}

const categoryFile = "Recording"

func fileFlags() []cli.Flag {
	f := func(name, usage string, aliases ...string) cli.Flag {
		return &cli.StringFlag{Name: name, Aliases: aliases, Usage: usage, Category: categoryFile}
	}
	return []cli.Flag{
		f("write", "write to `FILE`, such as trace.ndjson.zst; - is stdout", "w"),
		f("output", "`FORMAT`: write uncompressed lines: json or csv", "o"),
		f("file-size", "start a new file at `SIZE`, such as 100M", "C"),
		f("rotate", "start a new file every `TIME`: seconds, or with a unit such as 10m", "G"),
		&cli.IntFlag{Name: "files", Aliases: []string{"W"}, Usage: "keep the newest `N` files, and delete the oldest", Category: categoryFile},
		f("user", "write the files as `USER`", "Z"),
		f("ring", "keep the last `TIME` or SIZE in memory, and write it when a storm starts or on SIGUSR2"),
		&cli.DurationFlag{Name: "after", Value: 30 * time.Second, Usage: "with --ring: keep writing for `TIME` after the storm or signal", Category: categoryFile},
		&cli.StringFlag{Name: "min-free", Usage: "stop when the file system has less than `SIZE` left", DefaultText: fmt.Sprintf("%dM", recorder.DefaultMinFree>>20), Category: categoryFile},
		&cli.BoolFlag{Name: "force", Usage: "overwrite an existing file", Category: categoryFile},
		&cli.BoolFlag{Name: "redact", Usage: "remove names, and replace addresses; common prefixes stay common", Category: categoryFile},
	}
}

func parseFile(c *cli.Context) (tracefile.Options, error) {
	o := tracefile.Options{Path: c.String("write"), Stdout: c.App.Writer, Force: c.Bool("force"), MinFree: recorder.DefaultMinFree}
	if o.Path == "" {
		if word := c.Args().First(); word != "" && isRecording(word) {
			return o, usagef("record requires -w FILE; did you mean -w %s?", word)
		}
		return o, usagef("record requires -w FILE, such as -w trace.ndjson.zst")
	}
	switch out := c.String("output"); out {
	case "":
	case "json":
		o.Plain = tracefile.NDJSON
	case "csv":
		o.Plain = tracefile.CSV
	default:
		return o, usagef("--output: bad format %q: use json or csv; omit -o for a trace file", out)
	}
	var err error
	if s := c.String("file-size"); s != "" {
		n, err := parseSize(s)
		if err != nil || n < 1<<20 {
			return o, usagef("--file-size: bad size %q: use at least 1M, such as 100M (a plain number is in bytes)", s)
		}
		o.Size = int64(n)
	}
	if s := c.String("rotate"); s != "" {
		if o.Every, err = time.ParseDuration(s); err != nil {
			seconds, err := strconv.ParseUint(s, 10, 31)
			if err != nil {
				return o, usagef("--rotate: bad time %q: use seconds, or 10m", s)
			}
			o.Every = time.Duration(seconds) * time.Second
		}
		if o.Every < time.Second {
			return o, usagef("--rotate: bad time %q: the minimum is 1s", s)
		}
	}
	if o.Keep = c.Int("files"); c.IsSet("files") && o.Keep < 1 {
		return o, usagef("--files: bad number %d: it must be above 0", o.Keep)
	}
	if s := c.String("min-free"); s != "" {
		n, err := parseSize(s)
		if err != nil {
			return o, usagef("--min-free: bad size %q: use a size such as 64M, or 0", s)
		}
		o.MinFree = uint64(n)
	}
	return o, parseFlight(c, &o)
}

// parseFlight parses what is about a ring, and whose the files are.
func parseFlight(c *cli.Context, o *tracefile.Options) error {
	var err error
	if s := c.String("ring"); s != "" {
		if o.Ring, err = time.ParseDuration(s); err != nil || o.Ring <= 0 {
			n, err := parseSize(s)
			if err != nil || n < 1<<20 {
				return usagef("--ring: bad value %q: use a time such as 15m, or a size of at least 1M", s)
			}
			o.Ring, o.RingBytes = 0, int64(n)
		}
	}
	if o.After, err = positive(c, "after"); err != nil {
		return err
	}
	if o.Path == "-" && (o.Rotates() || c.IsSet("user") || o.Force) {
		return usagef("-w - conflicts with -C, -G, -W, -Z, --ring and --force: name a file")
	}
	if o.Keep > 0 && o.Size == 0 && o.Every == 0 && !o.Flight() {
		return usagef("--files (-W) requires -C, -G or --ring")
	}
	if o.Path == "-" && o.Plain == tracefile.NotPlain && toTerminal(c) {
		return usagef("-w -: refusing to write binary data to a terminal: name a file")
	}
	if name := c.String("user"); name != "" {
		if o.As, err = findUser(name); err != nil {
			return usagef("--user: %v", err)
		}
	}
	if c.Bool("redact") {
		o.Redact, err = tracefile.NewRedactor(nil)
	}
	return err
}

func toTerminal(c *cli.Context) bool {
	out, ok := c.App.Writer.(*os.File)
	return ok && term.IsTerminal(int(out.Fd()))
}

func findUser(name string) (*tracefile.User, error) {
	u, err := user.Lookup(name)
	if err != nil {
		return nil, fmt.Errorf("user %q not found", name)
	}
	uid, err := strconv.Atoi(u.Uid)
	gid, err2 := strconv.Atoi(u.Gid)
	return &tracefile.User{UID: uid, GID: gid}, errors.Join(err, err2)
}

func runRecord(c *cli.Context) error {
	defer catchSignals(c)()
	signals := make(chan os.Signal, 8) // from here on, so that none kills a recorder that is still starting
	signal.Notify(signals, unix.SIGHUP, unix.SIGUSR1, unix.SIGUSR2)
	defer signal.Stop(signals)
	file, err := parseFile(c)
	if err != nil {
		return err
	}
	if err := checkCount(c); err != nil {
		return err
	}
	if err := checkStates(c); err != nil {
		return err
	}
	churn, err := parseStorms(c)
	if err != nil {
		return err
	}
	job, err := parseJob(c, c.App.ErrWriter)
	if err != nil {
		return err
	}
	s, err := openSession(c, wants{Options: session.Options{Storms: &churn, Job: job}, agent: agentAsk{live: true, held: true}})
	if err != nil {
		return err
	}
	defer s.Close()
	defer s.stopOnContext(c)()
	r := recorder.New(s.Session, recorder.Options{Count: c.Int("count"), Signals: signals, Stderr: c.App.ErrWriter})
	err = r.Run(c.Context, file)
	if job != nil {
		err = errors.Join(err, job.End())
	}
	if err != nil {
		return err
	}
	return s.verdict(c)
}
