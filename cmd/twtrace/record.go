package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"os/user"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"
	"golang.org/x/term"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	tracefile "github.com/twtrace/twtrace/internal/record"
)

func recordCommand() *cli.Command {
	return &cli.Command{
		Name:      "record",
		Usage:     "write the trace to a file, for -r of the other commands",
		ArgsUsage: "[-- CMD [ARG...]]",
		Description: "SIGHUP begins a new file where the name was taken away, SIGUSR1 prints counters, SIGUSR2 flushes.\n\n" + examples(
			"twtrace record -w t.ndjson.zst --duration 1m       a minute, to one file",
			"twtrace record -w t.ndjson.zst -C 100M -W 10       the last 1,000 MB, in ten files",
			"twtrace record -w t.ndjson.zst --ring 15m          the last 15 minutes, once a storm begins, or on SIGUSR2",
			"twtrace trace -r t.ndjson.zst -o json              the records again"),
		Flags: slices.Concat(recordFilterFlags(), []cli.Flag{followFlag()}, tracerFlags(), stormFlags(), fileFlags(), []cli.Flag{
			cmdlineFlag(),
			durationFlag(),
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` records", Category: categoryTrace},
			&cli.StringFlag{Name: "states", Usage: "`all`: record every transition", Category: categoryTrace},
		}),
		Action: runRecord,
	}
}

const categoryFile = "File"

func fileFlags() []cli.Flag {
	f := func(name, usage string, aliases ...string) cli.Flag {
		return &cli.StringFlag{Name: name, Aliases: aliases, Usage: usage, Category: categoryFile}
	}
	return []cli.Flag{
		f("write", "write to `FILE`, such as trace.ndjson.zst; - is stdout", "w"),
		f("output", "`FORMAT` of lines, not packed: json, csv", "o"),
		f("file-size", "begin a new file at `SIZE`, such as 100M", "C"),
		f("rotate", "begin a new file after `TIME`, in seconds or as 10m", "G"),
		&cli.IntFlag{Name: "files", Aliases: []string{"W"}, Usage: "keep the newest `N` files, and delete the oldest", Category: categoryFile},
		f("user", "write with the rights of `USER`", "Z"),
		f("ring", "keep the last `TIME` or SIZE in memory, and write it on a storm or SIGUSR2"),
		&cli.DurationFlag{Name: "after", Value: 30 * time.Second, Usage: "of a ring, go on for `TIME` after that", Category: categoryFile},
		f("min-free", "stop when the file system has less than `SIZE` left"),
		&cli.BoolFlag{Name: "force", Usage: "replace a file that is there already", Category: categoryFile},
		&cli.BoolFlag{Name: "redact", Usage: "no names, and other addresses with the same prefixes in common", Category: categoryFile},
	}
}

// defaultMinFree is left for those who need the disk more.
const defaultMinFree = 64 << 20

func parseFile(c *cli.Context) (tracefile.Options, error) {
	o := tracefile.Options{Path: c.String("write"), Stdout: c.App.Writer, Force: c.Bool("force"), MinFree: defaultMinFree}
	if o.Path == "" {
		return o, usagef("record needs -w FILE")
	}
	switch out := c.String("output"); out {
	case "":
	case "json":
		o.Plain = tracefile.NDJSON
	case "csv":
		o.Plain = tracefile.CSV
	default:
		return o, usagef("--output: bad format %q: json or csv; without one the file is packed, for -r", out)
	}
	var err error
	if s := c.String("file-size"); s != "" {
		n, err := parseSize(s)
		if err != nil || n < 1<<20 {
			return o, usagef("--file-size: bad size %q: at least 1M, such as 100M (a plain number is in bytes)", s)
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
			return o, usagef("--rotate: bad time %q: the least is 1s", s)
		}
	}
	if o.Keep = c.Int("files"); c.IsSet("files") && o.Keep < 1 {
		return o, usagef("--files: bad number %d: it must be above 0", o.Keep)
	}
	if s := c.String("min-free"); s != "" {
		n, err := parseSize(s)
		if err != nil {
			return o, usagef("--min-free: bad size %q: such as 64M, or 0", s)
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
				return usagef("--ring: %q is neither a time, such as 15m, nor a size of at least 1M", s)
			}
			o.Ring, o.RingBytes = 0, int64(n)
		}
	}
	if o.After, err = positive(c, "after"); err != nil {
		return err
	}
	if o.Path == "-" && (o.Rotates() || c.IsSet("user") || o.Force) {
		return usagef("-w - is one stream: -C, -G, -W, -Z, --ring and --force are for files")
	}
	if o.Keep > 0 && o.Size == 0 && o.Every == 0 && !o.Flight() {
		return usagef("--files: -W is for the files that -C, -G or --ring make")
	}
	if o.Path == "-" && o.Plain == tracefile.NotPlain && toTerminal(c) {
		return usagef("-w - writes binary data, and stdout is a terminal: name a file")
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
		return nil, fmt.Errorf("no user %q", name)
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
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	s.storms, s.job = newStormWatch(s, churn), job
	defer s.stopOn(c.Context)()
	r := recorder{printer: printer{session: s, left: c.Int("count")}, limits: s.limits, flight: file.Flight(), signals: signals, stderr: c.App.ErrWriter}
	err = r.run(file)
	if job != nil {
		err = errors.Join(err, job.end())
	}
	if err != nil {
		return err
	}
	return s.verdict(c)
}

// recorder writes the records of a session to files.
type recorder struct {
	printer
	w       *tracefile.Writer
	limits  *limitsCache
	told    time.Time // when the limits were read that are in the file
	flight  bool
	signals <-chan os.Signal
	stderr  io.Writer
	shown   time.Time // the progress
	rate    uint64    // records at that time
	dirty   bool      // a progress line stands on the terminal
	n       int
}

func (r *recorder) run(o tracefile.Options) error {
	first, err := r.session.startEvent()
	if err != nil {
		return err
	}
	if r.w, err = tracefile.NewWriter(o, &first, time.Now()); err != nil {
		return err
	}
	r.out = r
	r.tellLimits()
	if err = r.before(r.session.began, false); err == nil && r.session.job != nil {
		err = r.session.job.start()
	}
	if err == nil {
		err = r.session.read(r.record, r.tend)
	}
	var last *event.Event
	if err == nil {
		var end event.Event
		if end, err = r.session.endEvent(); err == nil {
			last = &end
		}
	}
	closed := r.w.Close(last)
	if !errors.Is(err, closed) { // Close returns what Write did
		err = errors.Join(err, closed)
	}
	r.clearLine()
	r.summary(r.w.Stats())
	return err
}

// before writes what the table knows from before a recording that begins at a time:
// those in TIME_WAIT too, unless the trace is about to tell of them.
func (r *recorder) before(at time.Time, timeWait bool) error {
	for k := range r.session.table.Sockets() {
		e := event.Event{Time: at.UnixNano(), Kind: event.Snapshot, NetNS: k.NetNS, Cookie: k.Cookie,
			Local: k.Local, Remote: k.Remote, New: k.State, Role: k.Role, Process: k.Process, Owner: k.Owner}
		if k.State == event.TimeWait {
			e.Remaining = max(k.Since+timeWaitLen-at.UnixNano(), 1)
		}
		if k.State == event.TimeWait && !timeWait || !r.session.filter.Match(&e) {
			continue
		}
		if err := r.w.Write(&e); err != nil {
			return err
		}
	}
	return nil
}

// tellLimits has the file say what the limits are, where they were read again.
func (r *recorder) tellLimits() {
	if r.told.Equal(r.limits.read) {
		return
	}
	r.told = r.limits.read
	for netns, k := range r.limits.known {
		if r.session.tracedNetNS(netns) {
			r.w.SetLimits(netns, k.Map())
		}
	}
}

// record writes e and, where nobody else looks for long, looks after the file.
func (r *recorder) record(e *event.Event) error {
	if r.n++; r.n%1024 == 0 {
		if err := r.tend(); err != nil {
			return err
		}
	}
	if !e.Kind.Record() {
		if e.Kind != event.Parked || !r.session.filter.Match(e) {
			return nil
		}
		return r.w.Write(e)
	}
	if err := r.print(e); err != nil {
		return err
	}
	if r.flight && e.Kind == event.StormStart {
		return r.trigger("a storm has begun")
	}
	return nil
}

// Write and Flush are those of an output.Writer.
func (r *recorder) Write(e *event.Event) error { return r.w.Write(e) }

func (r *recorder) Flush() error { return r.w.Flush() }

func (r *recorder) trigger(why string) error {
	name, err := r.w.Trigger(time.Now())
	if err == nil {
		r.clearLine()
		r.session.talk("%s: the last part is written to %s", why, name)
	}
	return err
}

// tend does what is due: blocks, files, signals and the progress line.
func (r *recorder) tend() error {
	now := time.Now()
	r.tellLimits()
	if err := r.w.Tick(now); err != nil {
		return err
	}
	for {
		select {
		case sig := <-r.signals:
			if err := r.signal(sig); err != nil {
				return err
			}
			continue
		default:
		}
		break
	}
	if now.Sub(r.shown) >= time.Second {
		r.progress(now)
	}
	return nil
}

func (r *recorder) signal(sig os.Signal) error {
	switch {
	case sig == unix.SIGHUP:
		switch done, err := r.w.Reopen(); {
		case err != nil:
			return err
		case !done:
			r.session.talk("SIGHUP: the file is where it was, and goes on")
		}
	case sig == unix.SIGUSR1:
		r.clearLine()
		r.summary(r.w.Stats())
	case r.flight:
		return r.trigger("SIGUSR2")
	default:
		return r.w.Flush()
	}
	return nil
}

// progress shows how it goes, where somebody is there to see it.
func (r *recorder) progress(now time.Time) {
	s := r.w.Stats()
	since := now.Sub(r.shown)
	was := r.rate
	r.shown, r.rate = now, s.Records
	if f, ok := r.stderr.(*os.File); !ok || !term.IsTerminal(int(f.Fd())) || since > time.Hour {
		return
	}
	r.dirty = true
	rate := float64(s.Records-was) / since.Seconds()
	fmt.Fprintf(r.stderr, "\r\x1b[K%s, %s/s", r.words(s), output.Count(uint64(rate)))
}

func (r *recorder) clearLine() {
	if r.dirty {
		fmt.Fprint(r.stderr, "\r\x1b[K")
		r.dirty = false
	}
}

// summary says what was written.
func (r *recorder) summary(s tracefile.Stats) { r.session.talk("%s", r.words(s)) }

func (r *recorder) words(s tracefile.Stats) string {
	var lost uint64
	for _, n := range r.session.lost {
		lost += n
	}
	words := fmt.Sprintf("%s records, %s KiB in %d files, %s lost",
		output.Count(s.Records), output.Count(uint64(s.Bytes+1023)>>10), s.Files, output.Count(lost))
	if r.flight {
		words += fmt.Sprintf(", %s KiB in memory", output.Count(uint64(s.Held+1023)>>10))
	}
	return strings.Replace(words, "1 files", "1 file", 1)
}
