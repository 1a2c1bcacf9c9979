package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"os"
	"slices"
	"strconv"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/session"
)

func portsCommand() *cli.Command {
	return &cli.Command{
		Name:      "ports",
		ArgsUsage: "[FILTER]",
		Usage:     "show which destinations run out of local ports, who uses them, and when they are full",
		Description: "Prints one line per destination (source address, remote address and port) whose local ports are in\n" +
			"use, for the ports bound before connecting (local), and for the TIME_WAIT sockets of each network\n" +
			"namespace (buckets), worst first. Watches for 3 s, prints, and exits; -i or -c makes it continue.\n\n" +
			examples(
				"twtrace ports                       what fills up, and when it is full",
				"twtrace ports -D 5432 -i 1s         destinations with port 5432, every second",
				"twtrace ports -o json -c 1          one JSON object per line, for scripts"),
		Flags: slices.Concat(portsFilterFlags(), tracerFlags(), readFlags(), []cli.Flag{
			outputFlag("text, wide, json, csv"),
			fieldsFlag(),
			utcFlag(),
			&cli.DurationFlag{Name: "interval", Aliases: []string{"i"}, Value: portsInterval, Usage: "print a table every `TIME`", Category: categoryOutput},
			&cli.IntFlag{Name: "count", Aliases: []string{"c"}, Usage: "stop after `N` tables", Category: categoryLimits},
			agentFlag(),
			&cli.IntFlag{Name: "lines", Aliases: []string{"n"}, Value: 20, Usage: "print up to `N` lines per table; 0 for all", Category: categoryLimits},
		}),
		Action: runPorts,
	}
}

// portsInterval is what a rate needs at least.
const portsInterval = 3 * time.Second

// portsPast is how much of an agent's past the rates start with.
const portsPast = time.Minute

// portsFilterFlags are the filters that mean something for ports in use: not the
// local port, and nothing that changes while a connection lives.
func portsFilterFlags() []cli.Flag {
	return slices.DeleteFunc(filterFlags(), func(f cli.Flag) bool {
		return slices.Contains([]string{"lport", "role", "closed-by"}, f.Names()[0])
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
		return usagef("--lines: bad number %d: it must not be negative", c.Int("lines"))
	}
	format, err := output.ParseFormat(c.String("output"))
	if err != nil {
		return usagef("--output: %v", err)
	}
	table := output.NewTable(portsColumns...)
	table.SetClock(clockOf(c))
	table.SetWidth(textWidth(c))
	if c.IsSet("fields") || c.String("fields") != "" {
		if err := table.Select(splitFields(c.String("fields"))); err != nil {
			return usagef("--fields: %v", err)
		}
	}
	s, err := openSession(c, wants{waiting: true, agent: agentAsk{past: max(portsPast, 2*interval), live: true, late: true, back: interval}})
	if err != nil {
		return err
	}
	defer s.Close()
	defer s.stopOnContext(c)()
	p := portsView{session: s.Session, meter: pressure.NewMeter(s.ConnLimits), table: table,
		format: format, lines: c.Int("lines"), out: c.App.Writer, partial: s.files != nil}
	times := c.Int("count")
	if !c.IsSet("count") && !c.IsSet("interval") {
		times = 1
		if p.partial {
			interval = math.MaxInt64 / 2 // to its end
		}
	}
	if err := p.run(c.Context, interval, times); err != nil {
		return err
	}
	return s.verdict(c)
}

// portsView prints gauges every interval.
type portsView struct {
	session  *session.Session
	meter    *pressure.Meter
	snapshot conn.Snapshot
	table    *output.Table
	format   output.Format
	lines    int
	out      io.Writer
	partial  bool   // the trace may end within the first interval, as a recording does
	told     string // of losses
}

// run prints as many tables; 0 is no limit.
func (p *portsView) run(ctx context.Context, interval time.Duration, times int) error {
	if err := p.session.CatchUp(ctx, ignore); err != nil {
		return err
	}
	due := p.session.Now().Add(interval)
	for n := 0; times == 0 || n < times; {
		err := p.session.Run(ctx, ignore, func() error {
			if p.session.Now().Before(due) {
				return nil
			}
			return errDue
		})
		if err == nil { // the trace has ended
			if p.partial && n == 0 {
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

// ignore is for a session that is read for its table alone.
func ignore(*event.Event) error { return nil }

// errDue ends a read.
var errDue = errors.New("an interval is over")

func (p *portsView) print(n int) error {
	now := p.session.Now()
	p.session.Table().SnapshotLimited(now.UnixNano(), &p.snapshot)
	r := p.meter.Measure(&p.snapshot)
	p.table.Reset()
	left := 0
	for i := range r.Gauges {
		g := &r.Gauges[i]
		if !shows(p.session.Filter(), g) {
			continue
		}
		if p.lines > 0 && p.table.Len() >= p.lines {
			left++
			continue
		}
		p.table.Add(portsRow(g, p.snapshot.Totals.CloseWaitAt != 0, now, p.netnsName(g.NetNS))...)
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
	for _, words := range append([]string{p.unshown(left, r.Folded), p.lost()}, p.session.Remarks(now)...) {
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
	lost := p.session.Lost()
	for _, stage := range slices.Sorted(maps.Keys(lost)) {
		words += fmt.Sprintf(" %d (%v)", lost[stage], stage)
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
		p.session.Talk("%s", words)
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
		words += output.Count(folded) + " connections to destinations not tracked one by one: too many with few connections each"
	}
	return words
}

// netnsName is the name of a network namespace; for people, its inode number where it has
// none.
func (p *portsView) netnsName(inum uint32) string {
	name := p.session.NetNSName(inum)
	if name == "" && inum != 0 && (p.format == output.Text || p.format == output.Wide) {
		return strconv.FormatUint(uint64(inum), 10)
	}
	return name
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
