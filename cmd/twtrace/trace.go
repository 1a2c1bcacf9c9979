package main

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/session"
)

func traceCommand() *cli.Command {
	return &cli.Command{
		Name:      "trace",
		Usage:     "print every start and end of TIME_WAIT as it happens, with its owner",
		ArgsUsage: "[FILTER] [-- CMD [ARG...]]",
		Description: examples(
			"twtrace trace -p 4242 --duration 30s              what process 4242 opens and closes",
			"twtrace trace -D 3306 --event time_wait_enter     TIME_WAIT to port 3306, only its starts",
			"twtrace trace -- curl -s http://db:8080/           what a command and its children open and close, until it exits",
			"twtrace trace --duration 1m --summary --by unit    which systemd units opened and closed what",
			"twtrace trace -N web -c 1000 -o csv > web.csv     1,000 records of the network namespace web"),
		Flags: slices.Concat(recordFilterFlags(), []cli.Flag{followFlag()}, tracerFlags(), stormFlags(), readFlags(), []cli.Flag{
			outputFlag("text, wide, json, csv"),
			fieldsFlag(),
			utcFlag(),
			noHeaderFlag(),
			&cli.BoolFlag{Name: "header", Usage: "first print what the trace is: host, kernel, hooks, limits", Category: categoryOutput},
			&cli.BoolFlag{Name: "snapshot", Usage: "print the sockets that are in TIME_WAIT already, also in text", Category: categoryOutput},
			cmdlineFlag(),
			agentFlag(),
			durationFlag(),
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` records", Category: categoryLimits},
			&cli.BoolFlag{Name: "summary", Usage: "print a table at the end instead of records", Category: categoryOutput},
			byFlag(),
			&cli.StringFlag{Name: "states", Usage: "`all`: print every state transition", Category: categoryOutput},
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
	var job *session.Job
	if !c.IsSet("read") { // then what follows are files
		if job, err = parseJob(c, c.App.ErrWriter); err != nil { // stdout is for records
			return err
		}
	}
	churn, err := parseStorms(c)
	if err != nil {
		return err
	}
	s, err := openSession(c, wants{Options: session.Options{Storms: &churn, Job: job}, agent: agentAsk{live: true}})
	if err != nil {
		return err
	}
	defer s.Close()
	defer s.stopOnContext(c)()
	release, err := watchReader(c.App.Writer, func() { s.Stop("pipe") })
	if err != nil {
		return err
	}
	defer release()
	p := session.Printer{Session: s.Session, Out: out, Named: true, Left: c.Int("count")}
	err = p.Run(c.Context)
	if f, ok := out.(output.Finisher); ok && err == nil {
		err = f.Finish()
	}
	if job != nil {
		err = errors.Join(err, job.End())
	}
	if err != nil {
		return err
	}
	return s.verdict(c)
}

// traceWriter returns the writer that the flags ask for.
func traceWriter(c *cli.Context) (output.Writer, error) {
	switch {
	case c.Bool("summary"):
		return newSummarizer(c, c.App.Writer)
	case c.IsSet("by"):
		return nil, usagef("--by requires --summary")
	}
	opts, err := parseOutput(c)
	if err != nil {
		return nil, err
	}
	opts.States = c.String("states") == "all"
	opts.Banner = c.Bool("header")
	opts.Snapshots = c.Bool("snapshot") || strings.Contains(c.String("event"), "snapshot")
	return output.New(c.App.Writer, opts)
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
