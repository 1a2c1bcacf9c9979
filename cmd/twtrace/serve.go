package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/doctor"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/monitor"
	"github.com/twtrace/twtrace/internal/output"
	tracefile "github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/recorder"
	"github.com/twtrace/twtrace/internal/session"
)

const categoryAgent = "Agent"

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:      "serve",
		ArgsUsage: "[FILTER]",
		Usage:     "trace all the time, keep the last minutes, and answer who comes late",
		Description: "Stays in the foreground until SIGTERM. The other commands read what it remembers, as any member of\n" +
			"group " + agent.Group + ".\n\n" + examples(
			"twtrace serve                       keep the last 15 minutes",
			"twtrace serve --past 1h --past-bytes 256M   keep an hour, if it fits",
			"twtrace agent status                what a running one has",
			"twtrace doctor                      what is wrong, and was: from the past of the agent"),
		Flags: slices.Concat(filterFlags(), tracerFlags(), stormFlags(), []cli.Flag{
			&cli.StringFlag{Name: "socket", Value: agent.DefaultSocket, Usage: "`PATH`: listen at this unix socket, for group " + agent.Group, Category: categoryAgent},
			&cli.DurationFlag{Name: "past", Value: agent.DefaultPast, Usage: "keep the records of the last `TIME`", Category: categoryAgent},
			&cli.StringFlag{Name: "past-bytes", Value: fmt.Sprintf("%dM", agent.DefaultPastBytes>>20), Usage: "`SIZE`: keep up to SIZE of compressed records", Category: categoryAgent},
			&cli.IntFlag{Name: "max-readers", Value: agent.DefaultMaxReaders, Usage: "`N`: answer up to N readers of records at once", Category: categoryAgent},
			cmdlineFlag(),
			durationFlag(),
		}),
		Action: runServe,
	}
}

// pulse is the time between two blocks of the stream from the tracer to the agent: what a
// reader sees is as old as that at most.
const pulse = 250 * time.Millisecond

func runServe(c *cli.Context) error {
	defer catchSignals(c)()
	o, err := parseServe(c)
	if err != nil {
		return err
	}
	churn, err := parseStorms(c)
	if err != nil {
		return err
	}
	ln, err := listen(c.String("socket"))
	if err != nil {
		return err
	}
	defer ln.Close()
	s, err := openSession(c, wants{Options: session.Options{Storms: &churn}})
	if err != nil {
		return err
	}
	defer s.Close()
	defer s.stopOnContext(c)()
	stream, to, err := os.Pipe()
	if err != nil {
		return fmt.Errorf("create a pipe: %w", err)
	}
	defer to.Close()
	spoken := make(chan error, 1)
	go func() {
		defer stream.Close()                                                 // a tracer that nobody reads any more ends
		spoken <- agent.Run(context.WithoutCancel(c.Context), stream, ln, o) // the end of the stream ends it
		s.Stop("agent")
	}()
	r := recorder.New(s.Session, recorder.Options{Stderr: io.Discard})
	traced := r.Run(c.Context, tracefile.Options{Path: "-", Stdout: to, Period: pulse, Pulse: true})
	notify("STOPPING=1")
	to.Close()
	if err := cmp.Or(<-spoken, traced); err != nil {
		return err
	}
	return s.verdict(c)
}

func parseServe(c *cli.Context) (o agent.Options, err error) {
	o = agent.Options{Version: version, MaxReaders: c.Int("max-readers"), Talk: func(format string, a ...any) { note(c, format, a...) },
		ParseFilter: parseAgentFilter, Findings: agentFindings, Ports: agentPorts}
	if o.Past, err = positive(c, "past"); err != nil {
		return o, err
	}
	bytes, err := parseSize(c.String("past-bytes"))
	if err != nil || bytes < 1<<20 {
		return o, usagef("--past-bytes: bad size %q: use at least 1M, such as 64M", c.String("past-bytes"))
	}
	if o.PastBytes = int64(bytes); o.MaxReaders < 1 {
		return o, usagef("--max-readers: bad number %d: it must be above 0", o.MaxReaders)
	}
	o.Ready = func() {
		note(c, "the agent answers at %s", c.String("socket"))
		notify("READY=1\nSTATUS=answers at " + c.String("socket"))
	}
	o.Beat = func() { notify("WATCHDOG=1") }
	return o, nil
}

// listen makes the socket, and the directory of the default one.
func listen(path string) (net.Listener, error) {
	if path == agent.DefaultSocket {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("make the directory of the socket: %w", err)
		}
	}
	return agent.Listen(path)
}

// agentWords are the words of the filters that a request may have: those of a connection,
// and none of an event, without which a reader would not know what became of it.
var agentWords = []string{"pid", "comm", "uid", "exe", "parent", "cgroup", "unit", "container", "pod", "lport", "rport", "laddr", "raddr",
	"netns", "role", "port", "addr", "4", "6"}

// parseAgentFilter parses the filter of a request to the agent.
func parseAgentFilter(words string) (*filter.Filter, error) {
	l := filter.Language{Where: "the agent", Words: agentWords}
	return l.ParseLine(words)
}

// agentFindings writes the answer to /v1/findings: the report of a doctor.
func agentFindings(w io.Writer, s *session.Session, m *monitor.Sample) error {
	start, err := s.Start()
	if err != nil {
		return err
	}
	r := doctor.Report{Version: version, Time: m.Now, Traced: true, Window: m.Status.Interval, Lost: s.LostTotal(), Findings: m.Findings,
		Host: kernel.Host{Hostname: start.Start.Host, Release: start.Start.Kernel}}
	return doctor.WriteJSON(w, r)
}

// agentPorts writes the answer to /v1/ports: the lines of twtrace ports -o json.
func agentPorts(w io.Writer, s *session.Session, m *monitor.Sample) error {
	t := output.NewTable(portsColumns...)
	for i := range m.Pressure.Gauges {
		g := &m.Pressure.Gauges[i]
		t.Add(portsRow(g, m.Table.Totals.CloseWaitAt != 0, m.Now, s.NetNSName(g.NetNS))...)
	}
	return t.Write(w, output.JSON)
}
