package main

import (
	"fmt"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/demo"
	"github.com/twtrace/twtrace/internal/view"
)

func demoCommand() *cli.Command {
	return &cli.Command{
		Name:  "demo",
		Usage: "create a port-exhaustion storm in a throw-away namespace and show it live",
		Description: "Creates a network namespace with 2,000 ports, a server, a client that opens a connection for\n" +
			"every request, and a well-behaved neighbour. The client runs out of ports after about 15 s.\n" +
			"The connections end after 30 s; the view stays until you press q, or until --duration is over.\n" +
			"It touches nothing else on this host and leaves nothing behind.\n\n" + examples(
			"twtrace demo                        watch the storm live",
			"twtrace demo --duration 3m          stop after three minutes",
			"twtrace demo -b -i 5s               plain tables, every 5 s"),
		Flags: slices.Concat(filterFlags(), tracerFlags(), viewFlags(), []cli.Flag{
			&cli.DurationFlag{Name: "duration", Usage: "stop after `TIME` (default: never on a terminal, 30s elsewhere)", Category: categoryLimits},
		}),
		Action: runDemo,
	}
}

func runDemo(c *cli.Context) error {
	defer catchSignals(c)()
	if _, err := wantsObjects(c); err != nil {
		return err
	}
	d, err := demo.New()
	if err != nil {
		return err
	}
	defer d.Close()
	if err := c.Set("netns", d.Path()); err != nil {
		return err
	}
	o, src, err := openTop(c)
	if err != nil {
		return err
	}
	defer o.Close()
	out, err := screenOf(c)
	if err != nil {
		return err
	}
	load := &demoLoad{demo: d, end: demoTime, view: o.duration}
	switch {
	case o.duration > 0:
		load.end = o.duration
	case out == nil: // nobody presses q
		o.duration = demoTime
	}
	if err := d.Start(); err != nil {
		return err
	}
	load.since = time.Now()
	src.noted = load.note
	o.trace.RefreshLimits() // now that processes live in the namespace
	return watch(c, o, src)
}

// demoTime is how long the demo opens connections: some of it with all ports in use.
const demoTime = 30 * time.Second

// demoLoad ends the connections of the demo, and says on the screen when it does.
type demoLoad struct {
	demo  interface{ Stop() }
	since time.Time
	end   time.Duration // of the connections
	view  time.Duration // of the view; 0: it stays
	over  bool
}

// note ends the connections when it is time, and writes on s how long they go on.
func (d *demoLoad) note(s *view.State) {
	left := d.end - s.Time.Sub(d.since)
	switch {
	case d.view > 0:
		s.Mode = "DEMO: ends in " + wholeSeconds(left)
		return
	case left > 0:
		s.Mode = "DEMO: load ends in " + wholeSeconds(left)
		return
	case !d.over:
		d.over = true
		d.demo.Stop()
	}
	s.Mode = "DEMO: load over, q quits"
	s.Remarks = append(s.Remarks, "the demo's connections have ended; its ports become free within 60 s")
}

// wholeSeconds words what is left of a time, never less than 0 s.
func wholeSeconds(d time.Duration) string {
	return fmt.Sprintf("%ds", max(int((d+time.Second-1)/time.Second), 0))
}
