package main

import (
	"math"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/storm"
)

func stormsCommand() *cli.Command {
	return &cli.Command{
		Name:  "storms",
		Usage: "raise a flag when ports run out, TIME_WAIT buckets fill up, or connections churn",
		Description: "Prints a record when a storm begins, while it lasts, and when it ends. The exit code is 10 if there\n" +
			"was one, and 0 if there was none.\n\n" +
			examples(
				"twtrace storms                              tell what fills up, early",
				"twtrace storms --duration 1m > /dev/null    ask: is there a storm?",
				"twtrace storms --exec 'mail -s storm ops'   run a command on each record, which is its input"),
		Flags: slices.Concat(stormFilterFlags(), tracerFlags(), stormFlags(), readFlags(), []cli.Flag{
			outputFlag("text, wide, json, csv"),
			&cli.StringFlag{Name: "fields", Usage: "print only these `FIELDS`, in this order", Category: categoryOutput},
			&cli.StringFlag{Name: "exec", Usage: "run `COMMAND` by the shell for each record, with it as JSON on stdin", Category: categoryOutput},
			durationFlag(),
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` records", Category: categoryTrace},
		}),
		Action: runStorms,
	}
}

const categoryStorms = "Storms"

// stormFlags say what churn is.
func stormFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "short-lived", Value: storm.DefaultShortLived, Usage: "a connection is short-lived up to `TIME`", Category: categoryStorms},
		&cli.Float64Flag{Name: "storm-rate", Value: storm.DefaultRate, Usage: "churn is `N` short-lived connections per second of one owner ...", Category: categoryStorms},
		&cli.DurationFlag{Name: "storm-window", Value: storm.DefaultWindow, Usage: "... for longer than `TIME`", Category: categoryStorms},
	}
}

// stormFilterFlags are the filters that mean something for storms.
func stormFilterFlags() []cli.Flag {
	return append(portsFilterFlags(),
		&cli.StringFlag{Name: "event", Usage: "`EVENT` to print: storm_start, storm_update, storm_end", Category: categoryFilter},
		&cli.StringFlag{Name: "reason", Usage: "`REASON` of it: ports, buckets, churn", Category: categoryFilter})
}

func parseStorms(c *cli.Context) (storm.Options, error) {
	var o storm.Options
	var err error
	if o.ShortLived, err = positive(c, "short-lived"); err != nil {
		return o, err
	}
	if o.Window, err = positive(c, "storm-window"); err != nil {
		return o, err
	}
	if o.Window > storm.MaxWindow {
		return o, usagef("--storm-window: %v is too long: the most is %v", o.Window, storm.MaxWindow)
	}
	o.Rate = c.Float64("storm-rate")
	if !(o.Rate > 0) || math.IsInf(o.Rate, 0) {
		return o, usagef("--storm-rate: bad number %v: it must be above 0", o.Rate)
	}
	return o, nil
}

// stormText are the fields that text shows of a storm.
var stormText = []string{"time", "event", "reason", "pid", "comm", "raddr", "rport",
	"rate", "ports_used", "ports_usable", "exhausts_in_s", "fails"}

func runStorms(c *cli.Context) error {
	defer catchSignals(c)()
	opts, err := parseOutput(c)
	if err != nil {
		return err
	}
	if opts.Fields == nil && opts.Format == output.Text {
		opts.Fields = stormText
	}
	if opts.Fields == nil && opts.Format == output.Wide {
		opts.Fields = append(slices.Clone(stormText), "severity", "netns", "laddr", "short_share", "life_p50_ns", "ports_projected", "pids")
	}
	if err := checkCount(c); err != nil {
		return err
	}
	churn, err := parseStorms(c)
	if err != nil {
		return err
	}
	only, err := stormsOnly(c)
	if err != nil {
		return err
	}
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	if s.tape == nil { // a recording has its storms
		s.storms = newStormWatch(s, churn)
	}
	s.filter = only
	defer s.stopOn(c.Context)()
	release, err := watchReader(c.App.Writer, func() { s.stop("pipe") })
	if err != nil {
		return err
	}
	defer release()
	w, err := output.New(c.App.Writer, opts)
	if err != nil {
		return err
	}
	p := printer{session: s, out: w, left: c.Int("count")}
	if command := c.String("exec"); command != "" {
		runner := startRunner(command, c.App.ErrWriter)
		defer runner.stop()
		p.also = runner.run
	}
	if err := p.run(); err != nil {
		return err
	}
	if err := s.verdict(c); err != nil || p.printed == 0 {
		return err
	}
	return exitError{code: exitStorm}
}

// stormsOnly is the user's filter, with no events but storms.
func stormsOnly(c *cli.Context) (*filter.Filter, error) {
	f, err := parseFilter(c)
	if err != nil {
		return nil, err
	}
	asked := filter.Filter{Events: f.Events}
	f.Events = filter.Set[event.Kind]{}
	for _, k := range []event.Kind{event.StormStart, event.StormUpdate, event.StormEnd} {
		if asked.Match(&event.Event{Kind: k}) {
			f.Events.Items = append(f.Events.Items, k)
		}
	}
	if len(f.Events.Items) == 0 {
		return nil, usagef("--event: storms prints none of these: it has storm_start, storm_update and storm_end")
	}
	return f, nil
}
