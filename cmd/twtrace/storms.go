package main

import (
	"math"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/storm"
)

func stormsCommand() *cli.Command {
	return &cli.Command{
		Name:      "storms",
		ArgsUsage: "[FILTER]",
		Usage:     "report when ports run out, TIME_WAIT buckets fill up, or connections churn",
		Description: "Prints a record when a storm starts, while it lasts, and when it ends. The exit code is 10 if there\n" +
			"was a storm, and 0 if not.\n\n" +
			examples(
				"twtrace storms                              report early what fills up",
				"twtrace storms --duration 1m > /dev/null    is there a storm? The exit code says so",
				"twtrace storms --exec 'mail -s storm ops'   run a command for each record, with the record on its stdin"),
		Flags: slices.Concat(stormFilterFlags(), tracerFlags(), stormFlags(), readFlags(), []cli.Flag{
			outputFlag("text, wide, json, csv"),
			fieldsFlag(),
			utcFlag(),
			noHeaderFlag(),
			&cli.StringFlag{Name: "exec", Usage: "run `COMMAND` in a shell for each record, with the record as JSON on its stdin", Category: categoryOutput},
			agentFlag(),
			durationFlag(),
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` records", Category: categoryLimits},
		}),
		Action: runStorms,
	}
}

const categoryStorms = "Storms"

// stormFlags say what churn is.
func stormFlags() []cli.Flag {
	return []cli.Flag{
		&cli.DurationFlag{Name: "short-lived", Value: storm.DefaultShortLived, Usage: "`TIME`: a connection that lives for up to TIME is short-lived", Category: categoryStorms},
		&cli.Float64Flag{Name: "storm-rate", Value: storm.DefaultRate, Usage: "`N`: report churn at N short-lived connections per second of one owner, for --storm-window", Category: categoryStorms},
		&cli.DurationFlag{Name: "storm-window", Value: storm.DefaultWindow, Usage: "`TIME`: report churn that lasts as long as this", Category: categoryStorms},
	}
}

// stormFilterFlags are the filters that mean something for storms.
func stormFilterFlags() []cli.Flag {
	return append(portsFilterFlags(),
		&cli.StringFlag{Name: "event", Usage: "`EVENT`: print only these events: storm_start, storm_update, storm_end", Category: categoryFilter},
		&cli.StringFlag{Name: "reason", Usage: "`REASON`: print only storms of this kind: ports, buckets, churn", Category: categoryFilter})
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
		return o, usagef("--storm-window: %v is too long: the maximum is %v", o.Window, storm.MaxWindow)
	}
	o.Rate = c.Float64("storm-rate")
	if !(o.Rate > 0) || math.IsInf(o.Rate, 0) {
		return o, usagef("--storm-rate: bad number %v: it must be above 0", o.Rate)
	}
	return o, nil
}

// stormText are the fields that text shows of a storm.
var stormText = []string{"time", "event:12", "reason:24", "pid", "comm", "other_owners", "raddr", "rport",
	"demand_per_s", "used", "usable", "exhausts_in_s", "refused_total", "outage_s"}

// stormArrangements are those, and fewer for terminals that are narrower.
var stormArrangements = [][]string{
	stormText,
	{"time", "event:12", "reason:24", "pid", "comm", "raddr", "rport", "used", "usable", "exhausts_in_s", "refused_total"},
	{"time", "event:12", "reason:15", "pid", "comm", "raddr", "rport", "exhausts_in_s"},
	{"clock", "event:12", "comm", "raddr", "rport", "reason:15"},
	{"clock", "event:12", "comm", "rport", "reason:15"},
}

// stormFields are the fields of stormText, without widths.
func stormFields() []string {
	out := make([]string, len(stormText))
	for i, f := range stormText {
		out[i], _, _ = strings.Cut(f, ":")
	}
	return out
}

func runStorms(c *cli.Context) error {
	defer catchSignals(c)()
	opts, err := parseOutput(c)
	if err != nil {
		return err
	}
	if opts.Arrangements = stormArrangements; opts.Fields == nil && opts.Format == output.Wide {
		opts.Fields = append(stormFields(), "severity", "resolved", "taken_per_s", "netns", "laddr", "short_share", "life_p50_ns", "projected", "processes", "owner_used")
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
	s, err := openSession(c, wants{Options: session.Options{Storms: &churn, Print: only}, agent: agentAsk{live: true}})
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
	w, err := output.New(c.App.Writer, opts)
	if err != nil {
		return err
	}
	p := session.Printer{Session: s.Session, Out: w, Named: true, Left: c.Int("count")}
	if command := c.String("exec"); command != "" {
		runner := startRunner(command, c.App.ErrWriter)
		defer runner.stop()
		p.Also = runner.run
	}
	if err := p.Run(c.Context); err != nil {
		return err
	}
	if f, ok := w.(output.Finisher); ok {
		if err := f.Finish(); err != nil {
			return err
		}
	}
	if err := s.verdict(c); err != nil || p.Printed == 0 {
		return err
	}
	return &session.ExitError{Code: exitStorm}
}

// stormsOnly is the user's filter, with no events but storms.
func stormsOnly(c *cli.Context) (*filter.Filter, error) {
	f, err := parseFilter(c)
	if err != nil {
		return nil, err
	}
	kinds, only := f.Kinds(), &filter.Filter{}
	for _, k := range []event.Kind{event.StormStart, event.StormUpdate, event.StormEnd} {
		if kinds.Match(&event.Event{Kind: k}) {
			only.Events.Items = append(only.Events.Items, k)
		}
	}
	if len(only.Events.Items) == 0 {
		return nil, usagef("--event: storms prints only storm_start, storm_update and storm_end")
	}
	only.All = []*filter.Filter{f.Filter}
	return only, nil
}
