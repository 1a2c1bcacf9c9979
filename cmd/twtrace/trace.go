package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

func traceCommand() *cli.Command {
	return &cli.Command{
		Name:      "trace",
		Usage:     "print every begin and end of TIME_WAIT, with its owner, as it happens",
		ArgsUsage: "[-- CMD [ARG...]]",
		Description: examples(
			"twtrace trace -p 4242 --duration 30s              what process 4242 opens and closes",
			"twtrace trace -D 3306 --event time_wait_enter     TIME_WAIT towards port 3306, its begins only",
			"twtrace trace -- curl -s http://db:8080/           what a command and its children open and close; it ends with it",
			"twtrace trace --duration 1m --summary --by unit    which systemd units opened and closed what",
			"twtrace trace -N web -c 1000 -o csv > web.csv     1,000 records of the network namespace web"),
		Flags: slices.Concat(recordFilterFlags(), []cli.Flag{followFlag()}, tracerFlags(), stormFlags(), readFlags(), []cli.Flag{
			outputFlag("text, wide, json, csv"),
			&cli.StringFlag{Name: "fields", Usage: "print only these `FIELDS`, in this order", Category: categoryOutput},
			cmdlineFlag(),
			durationFlag(),
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` records", Category: categoryTrace},
			&cli.BoolFlag{Name: "summary", Usage: "print no records, but a table of them at the end", Category: categoryOutput},
			byFlag(),
			&cli.StringFlag{Name: "states", Usage: "`all`: print every transition", Category: categoryOutput},
		}),
		Action: runTrace,
	}
}

func runTrace(c *cli.Context) error {
	defer catchSignals(c)()
	out, err := traceWriter(c)
	if err != nil {
		return err
	}
	if err := checkCount(c); err != nil {
		return err
	}
	if err := checkStates(c); err != nil {
		return err
	}
	var job *job
	if !c.IsSet("read") { // then what follows are files
		if job, err = parseJob(c, c.App.ErrWriter); err != nil { // stdout is for records
			return err
		}
	}
	churn, err := parseStorms(c)
	if err != nil {
		return err
	}
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	s.job = job
	if s.tape == nil { // a recording has its storms
		s.storms = newStormWatch(s, churn)
	}
	defer s.stopOn(c.Context)()
	release, err := watchReader(c.App.Writer, func() { s.stop("pipe") })
	if err != nil {
		return err
	}
	defer release()
	p := printer{session: s, out: out, left: c.Int("count")}
	err = p.run()
	if job != nil {
		err = errors.Join(err, job.end())
	}
	if err != nil {
		return err
	}
	return s.verdict(c)
}

// traceWriter is what the flags want to see of a trace.
func traceWriter(c *cli.Context) (output.Writer, error) {
	switch {
	case c.Bool("summary"):
		return newSummarizer(c, c.App.Writer)
	case c.IsSet("by"):
		return nil, usagef("--by is of no use without --summary")
	}
	opts, err := parseOutput(c)
	if err != nil {
		return nil, err
	}
	return output.New(c.App.Writer, opts)
}

// printer writes the records of a session.
type printer struct {
	session *session
	out     output.Writer
	left    int                // records still to print if there is a limit
	also    func(*event.Event) // is told of each as well, if not nil
	printed int                // but for start, lost, snapshot and end
}

func (p *printer) run() error {
	first, err := p.session.startEvent()
	if err != nil {
		return err
	}
	if err := p.out.Write(&first); err != nil {
		return err
	}
	if job := p.session.job; job != nil {
		if err := errors.Join(p.out.Flush(), job.start()); err != nil {
			return err
		}
	}
	if err := p.session.read(p.print, p.out.Flush); err != nil {
		return err
	}
	last, err := p.session.endEvent()
	if err != nil {
		return err
	}
	if last.Kind == event.KindNone {
		return p.out.Flush()
	}
	return errors.Join(p.out.Write(&last), p.out.Flush())
}

// print writes e if it is a record the user wants, and ends the session with the
// last one. What is still in the ring then is not printed.
func (p *printer) print(e *event.Event) error {
	if !e.Kind.Record() || !p.session.filter.Match(e) {
		return nil
	}
	if p.session.job != nil {
		p.session.job.witness(e)
	}
	counts := e.Kind != event.Lost && e.Kind != event.Snapshot
	if counts && p.left < 0 {
		return nil
	}
	if err := p.out.Write(e); err != nil {
		return err
	}
	if counts {
		p.printed++
		if p.also != nil {
			p.also(e)
		}
	}
	if counts && p.left > 0 {
		if p.left--; p.left == 0 {
			p.left = -1
			p.session.stop("count")
		}
	}
	return nil
}

// watchReader calls gone once nobody can read out any more, if it is a pipe: the
// next record, at which a write would fail, may be hours away. release ends the
// watch.
func watchReader(out io.Writer, gone func()) (release func(), err error) {
	file, ok := out.(*os.File)
	if !ok {
		return func() {}, nil
	}
	wake, err := unix.Eventfd(0, unix.EFD_CLOEXEC)
	if err != nil {
		return nil, fmt.Errorf("create an eventfd: %w", err)
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		// No events asked for: POLLERR and POLLHUP always come.
		fds := []unix.PollFd{{Fd: int32(file.Fd())}, {Fd: int32(wake), Events: unix.POLLIN}}
		for {
			if _, err := unix.Poll(fds, -1); !errors.Is(err, unix.EINTR) {
				break
			}
		}
		if fds[0].Revents != 0 {
			gone()
		}
	}()
	return func() {
		_, _ = unix.Write(wake, binary.NativeEndian.AppendUint64(nil, 1)) // cannot fail below 2^64 writes
		<-done
		unix.Close(wake)
	}, nil
}
