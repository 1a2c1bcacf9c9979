package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

func portsCommand() *cli.Command {
	return &cli.Command{
		Name:  "ports",
		Usage: "show which destinations run out of local ports, who takes them, and when",
		Description: "One line for each destination (source address, remote address and port) whose local ports are in\n" +
			"use, for the ports bound before connecting (local), and for the TIME_WAIT sockets of each network\n" +
			"namespace (buckets); the worst first. It watches for 3 s, prints, and exits; -i and -c go on.\n\n" +
			examples(
				"twtrace ports                       what fills up, and when it is full",
				"twtrace ports -D 5432 -i 1s         the ports towards port 5432, every second",
				"twtrace ports -o json -c 1          an object a line, for scripts"),
		Flags: slices.Concat(portsFilterFlags(), tracerFlags(), readFlags(), []cli.Flag{
			outputFlag("text, wide, json, csv"),
			&cli.StringFlag{Name: "fields", Usage: "print only these `FIELDS`, in this order", Category: categoryOutput},
			&cli.DurationFlag{Name: "interval", Aliases: []string{"i"}, Value: portsInterval, Usage: "`TIME` between two tables", Category: categoryOutput},
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` tables", Category: categoryOutput},
			&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Value: 20, Usage: "at most `N` lines a table; 0 for all", Category: categoryOutput},
		}),
		Action: runPorts,
	}
}

// portsInterval is what a rate needs at least.
const portsInterval = 3 * time.Second

// portsFilterFlags are the filters that mean something for ports in use: not the
// local port, and nothing that changes while a connection lives.
func portsFilterFlags() []cli.Flag {
	return slices.DeleteFunc(filterFlags(), func(f cli.Flag) bool {
		return slices.Contains([]string{"lport", "role", "closer"}, f.Names()[0])
	})
}

func runPorts(c *cli.Context) error {
	defer catchSignals(c)()
	interval, err := parseInterval(c)
	if err != nil {
		return err
	}
	if err := checkCount(c); err != nil {
		return err
	}
	if c.Int("lines") < 0 {
		return usagef("--lines: bad number %d: it must not be below 0", c.Int("lines"))
	}
	format, err := output.ParseFormat(c.String("output"))
	if err != nil {
		return usagef("--output: %v", err)
	}
	table := output.NewTable(portsColumns...)
	if c.IsSet("fields") {
		if err := table.Select(splitFields(c.String("fields"))); err != nil {
			return usagef("--fields: %v", err)
		}
	}
	s, err := openSession(c)
	if err != nil {
		return err
	}
	defer s.close()
	defer s.stopOn(c.Context)()
	s.waiters.often = true
	p := portsView{session: s, limits: s.limits, meter: pressure.NewMeter(s.limits.of), table: table,
		format: format, lines: c.Int("lines"), out: c.App.Writer}
	times := c.Int("count")
	if !c.IsSet("count") && !c.IsSet("interval") {
		times = 1
		if s.tape != nil {
			interval = math.MaxInt64 / 2 // to its end
		}
	}
	if err := p.run(interval, times); err != nil {
		return err
	}
	return s.verdict(c)
}

// portsView prints gauges every interval.
type portsView struct {
	session  *session
	limits   *limitsCache
	meter    *pressure.Meter
	snapshot conn.Snapshot
	table    *output.Table
	format   output.Format
	lines    int
	out      io.Writer
	told     string // of losses
}

// run prints as many tables; 0 is no limit.
func (p *portsView) run(interval time.Duration, times int) error {
	due := p.session.clock().Add(interval)
	for n := 0; times == 0 || n < times; {
		err := p.session.read(ignore, func() error {
			if p.session.clock().Before(due) {
				return nil
			}
			return errDue
		})
		if err == nil { // the trace has ended; of a recording that is the moment to look at
			if p.session.tape != nil && n == 0 {
				return p.print(0)
			}
			return nil
		}
		if !errors.Is(err, errDue) {
			return err
		}
		due = due.Add(interval)
		if err := p.print(n); err != nil {
			return err
		}
		n++
	}
	return nil
}

// errDue ends a read.
var errDue = errors.New("an interval is over")

func (p *portsView) print(n int) error {
	p.limits.refresh()
	now := p.session.clock()
	p.session.table.Limited(now.UnixNano(), &p.snapshot)
	r := p.meter.Measure(&p.snapshot)
	p.table.Reset()
	left := 0
	for i := range r.Gauges {
		g := &r.Gauges[i]
		if !shows(p.session.filter, g) {
			continue
		}
		if p.lines > 0 && p.table.Len() >= p.lines {
			left++
			continue
		}
		p.table.Add(portsRow(g, now)...)
	}
	text := p.format == output.Text || p.format == output.Wide
	if text {
		if err := p.separate(n); err != nil {
			return err
		}
	}
	if err := p.table.Write(p.out, p.format); err != nil {
		return err
	}
	if !text {
		return p.tellLosses()
	}
	for _, words := range append([]string{p.unshown(left, r.Folded), p.lost()}, p.session.remarks(now)...) {
		if words == "" {
			continue
		}
		if _, err := fmt.Fprintf(p.out, "# %s\n", words); err != nil {
			return fmt.Errorf("write table: %w", err)
		}
	}
	return nil
}

// lost says in words what the trace has not seen, "" if it has seen all.
func (p *portsView) lost() string {
	words := ""
	for _, stage := range slices.Sorted(maps.Keys(p.session.lost)) {
		words += fmt.Sprintf(" %d (%v)", p.session.lost[stage], stage)
	}
	if words == "" {
		return ""
	}
	return "lost" + words
}

// tellLosses says on stderr what was lost, each time that it has become more: JSON and
// CSV have only rows.
func (p *portsView) tellLosses() error {
	if words := p.lost(); words != p.told {
		p.told = words
		p.session.talk("%s", words)
	}
	return nil
}

// unshown says in words what the table lacks.
func (p *portsView) unshown(left int, folded uint64) string {
	words := ""
	if left > 0 {
		words = output.Count(uint64(left)) + " more lines (-n 0 shows them)"
	}
	if folded > 0 {
		if words != "" {
			words += "; "
		}
		words += output.Count(folded) + " connections to destinations that are not held: too many of few connections each"
	}
	return words
}

// separate keeps two tables apart: a terminal shows the newest, and nothing else.
func (p *portsView) separate(n int) error {
	mark := "\n"
	if f, ok := p.out.(*os.File); ok && term.IsTerminal(int(f.Fd())) && os.Getenv("TERM") != "dumb" {
		mark = "\x1b[H\x1b[J"
	}
	if n == 0 {
		return nil
	}
	if _, err := io.WriteString(p.out, mark); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// shows tells whether the filter lets a gauge through. Where it names connections,
// what is not about these alone would be wrong.
func shows(f *filter.Filter, g *pressure.Gauge) bool {
	if g.Held() == 0 && g.Fails.Total() == 0 && g.Refused == 0 {
		return false
	}
	narrow := f.RPorts.Active() || f.RAddrs.Active() || f.LAddrs.Active() || f.Family != 0
	if g.What == pressure.Buckets && narrow || g.What == pressure.LocalPorts && (f.RPorts.Active() || f.RAddrs.Active()) {
		return false
	}
	if !f.PIDs.Active() && !f.Comms.Active() {
		return true
	}
	for _, h := range g.Holders {
		owned := filter.Filter{PIDs: f.PIDs, Comms: f.Comms}
		if owned.Match(&event.Event{Process: h.Process}) {
			return true
		}
	}
	return false
}
