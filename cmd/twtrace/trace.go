package main

import (
	"errors"

	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

func traceCommand() *cli.Command {
	return &cli.Command{
		Name:  "trace",
		Usage: "print every begin and end of TIME_WAIT, with its owner, as it happens",
		Flags: concat(recordFilterFlags(), tracerFlags(), []cli.Flag{
			outputFlag("text, wide, json, csv"),
			&cli.StringFlag{Name: "fields", Usage: "print only these `FIELDS`, in this order", Category: categoryOutput},
			durationFlag(),
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` records", Category: categoryTrace},
			&cli.StringFlag{Name: "states", Usage: "`all`: print every transition", Category: categoryOutput},
		}),
		Action: runTrace,
	}
}

func runTrace(c *cli.Context) error {
	opts, err := parseOutput(c)
	if err != nil {
		return err
	}
	if c.IsSet("count") && c.Int("count") < 1 {
		return usagef("--count: bad number %d: it must be above 0", c.Int("count"))
	}
	if s := c.String("states"); s != "" && s != "all" {
		return usagef("--states: bad value %q: the only one is all", s)
	}
	s, err := openSession(c, conn.Options{})
	if err != nil {
		return err
	}
	defer s.close()
	defer s.stopOn(c.Context)()
	w, err := output.New(c.App.Writer, opts)
	if err != nil {
		return err
	}
	p := printer{session: s, out: w, left: c.Int("count")}
	if err := p.run(); err != nil {
		return err
	}
	return s.verdict(c)
}

// printer writes the records of a session.
type printer struct {
	session *session
	out     output.Writer
	left    int // records still to print if there is a limit
}

func (p *printer) run() error {
	first, err := p.session.startEvent()
	if err != nil {
		return err
	}
	if err := p.out.Write(&first); err != nil {
		return err
	}
	if err := p.session.read(p.print, p.out.Flush); err != nil {
		return err
	}
	last, err := p.session.endEvent()
	if err != nil {
		return err
	}
	return errors.Join(p.out.Write(&last), p.out.Flush())
}

// print writes e if it is a record the user wants, and ends the session with the
// last one. What is still in the ring then is not printed.
func (p *printer) print(e *event.Event) error {
	if !e.Kind.Record() || !p.session.filter.Match(e) {
		return nil
	}
	counts := e.Kind != event.Lost && e.Kind != event.Snapshot
	if counts && p.left < 0 {
		return nil
	}
	if err := p.out.Write(e); err != nil {
		return err
	}
	if counts && p.left > 0 {
		if p.left--; p.left == 0 {
			p.left = -1
			p.session.stop("count")
		}
	}
	return nil
}

func concat(lists ...[]cli.Flag) []cli.Flag {
	var out []cli.Flag
	for _, l := range lists {
		out = append(out, l...)
	}
	return out
}

// closedPipe reports whether err is a reader that went away: the quiet end.
func closedPipe(err error) bool { return errors.Is(err, unix.EPIPE) }
