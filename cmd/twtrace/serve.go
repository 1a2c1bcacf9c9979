package main

import (
	"cmp"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/doctor"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/monitor"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/process"
	tracefile "github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/recorder"
	"github.com/twtrace/twtrace/internal/sandbox"
	"github.com/twtrace/twtrace/internal/session"
)

const categoryAgent = "Agent"

func serveCommand() *cli.Command {
	return &cli.Command{
		Name:      "serve",
		ArgsUsage: "[FILTER]",
		Usage:     "trace all the time, keep the last minutes, and answer who comes late",
		Description: "Stays in the foreground until SIGTERM; SIGHUP reads its settings again. The other commands read\n" +
			"what it remembers, as any member of group " + agent.Group + ". Each flag may be a key below serve: in\n" +
			systemSettings + ", or in the file of --config.\n\n" + examples(
			"twtrace serve                       keep the last 15 minutes",
			"twtrace serve --past 1h --past-bytes 256M   keep an hour, if it fits",
			"twtrace serve --check-config        what would be in force, and where it comes from",
			"twtrace agent status                what a running one has",
			"twtrace doctor                      what is wrong, and was: from the past of the agent"),
		Flags: slices.Concat(filterFlags(), tracerFlags(), stormFlags(), []cli.Flag{
			&cli.StringFlag{Name: "socket", Value: agent.DefaultSocket, Usage: "`PATH`: listen at this unix socket, for group " + agent.Group, Category: categoryAgent},
			&cli.DurationFlag{Name: "past", Value: agent.DefaultPast, Usage: "keep the records of the last `TIME`", Category: categoryAgent},
			&cli.StringFlag{Name: "past-bytes", Value: fmt.Sprintf("%dM", agent.DefaultPastBytes>>20), Usage: "`SIZE`: keep up to SIZE of compressed records", Category: categoryAgent},
			&cli.IntFlag{Name: "max-readers", Value: agent.DefaultMaxReaders, Usage: "`N`: answer up to N readers of records at once", Category: categoryAgent},
			&cli.StringFlag{Name: "listen", Value: defaultListen, Usage: "`ADDR:PORT`: answer over TCP too, beyond the loopback only with TLS; or off", Category: categoryAgent},
			&cli.PathFlag{Name: "web-config", Usage: "`FILE`: TLS, client certificates and passwords, as for Prometheus exporters", Category: categoryAgent},
			&cli.StringFlag{Name: "user", Usage: "`USER`: the part that listens runs as this user, or UID:GID (default: twtrace, else nobody)", Category: categoryAgent},
			&cli.BoolFlag{Name: "check-config", Usage: "print what flags, variables and files would set, check it, and exit; needs no root", Category: categoryAgent},
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
	if c.Bool("check-config") {
		return checkService(c)
	}
	defer catchSignals(c)()
	reload := catchReload(c)
	defer reload.release()
	to, wrong := parseService(c)
	if len(wrong) > 0 {
		return wrong[0]
	}
	listeners, err := listen(c, &to.web)
	if err != nil {
		return err
	}
	defer listeners.Close()
	s, err := openSession(c, wants{Options: session.Options{Storms: &to.churn}, quiet: true, sparing: true})
	if err != nil {
		return err
	}
	defer s.Close()
	defer s.stopOnContext(c)()
	if err := sandbox.Drop(kernel.TraceCaps() | sandbox.LaunchCaps); err != nil {
		return err
	}
	twin, err := sandbox.Start(sandbox.Options{Command: speakerCommand, User: to.user, Files: listeners.files, Read: to.web.Dirs})
	if err != nil {
		return err
	}
	defer twin.Conn.Close()
	reload.session, reload.twin = s.Session, twin
	return s.serve(c, reload, to.speech, listeners.at)
}

// serve has the speaker of an agent answer at some addresses, until one of the two ends.
func (o *opened) serve(c *cli.Context, reload *reloader, to speech, at []string) error {
	twin := reload.twin
	to.Missing = twin.Report.Missing
	if err := json.NewEncoder(twin.Conn).Encode(to); err != nil {
		return fmt.Errorf("pass options to the speaker: %w", err)
	}
	for _, m := range to.Missing {
		note(c, "not confined: %s", m)
	}
	go hear(twin.Conn, func() {
		answers := "answers at " + strings.Join(at, " and ")
		note(c, "the agent %s", answers)
		notify(daemon.SdNotifyReady + "\nSTATUS=" + answers)
		go reload.run()
	}, func() { notify(daemon.SdNotifyWatchdog) }, reload.taken)
	go func() {
		<-twin.Done()
		o.Stop("agent")
	}()
	queue := recorder.NewQueue(twin.Conn, queueBytes)
	r := recorder.New(o.Session, recorder.Options{Stderr: io.Discard, Full: queue.Full})
	traced := r.Run(c.Context, tracefile.Options{Path: "-", Stdout: queue, Period: pulse, Pulse: true,
		Vitals: func() event.Vitals { return o.vitals(twin.Report.PID) }})
	notify(daemon.SdNotifyStopping)
	go func() {
		_ = queue.Close()          // its error is that of Run, or the end of the speaker
		_ = twin.Conn.CloseWrite() // the end of the stream, which ends the speaker
	}()
	select {
	case <-twin.Done():
	case <-time.After(drained):
		twin.Kill()
	}
	if err := cmp.Or(twin.Err(), traced); err != nil {
		return err
	}
	return o.verdict(c)
}

// queueBytes is how much of the stream waits for a speaker that does not read: 100 s of
// 1,000 connections a second. Beyond that records are lost, and counted.
const queueBytes = 8 << 20

// vitals is how the tracer is doing, and what both processes take.
func (o *opened) vitals(speaker int) event.Vitals {
	v := o.trace.Vitals()
	for _, p := range []struct {
		name string
		pid  int
	}{{"tracer", os.Getpid()}, {"speaker", speaker}} {
		if cpu, memory, err := process.Usage(uint32(p.pid)); err == nil { // else it has ended
			v.Processes = append(v.Processes, event.Usage{Process: p.name, CPU: cpu, Memory: memory})
		}
	}
	return v
}

// drained is how long a speaker may take to answer its last readers.
const drained = 8 * time.Second

// notify tells systemd how the agent is, if that started it.
func notify(state string) { _, _ = daemon.SdNotify(false, state) }

func parseServe(c *cli.Context) (to speech, err error) {
	to = speech{Version: version, Commit: commit, MaxReaders: c.Int("max-readers")}
	if to.Past = c.Duration("past"); to.Past <= 0 {
		return to, usagef("--past: bad duration %v: it must be above 0, such as 15m", to.Past)
	}
	bytes, err := parseSize(c.String("past-bytes"))
	if err != nil || bytes < 1<<20 {
		return to, usagef("--past-bytes: bad size %q: use at least 1M, such as 64M", c.String("past-bytes"))
	}
	if to.PastBytes = int64(bytes); to.MaxReaders < 1 {
		return to, usagef("--max-readers: bad number %d: it must be above 0", to.MaxReaders)
	}
	return to, nil
}

// listening are the listeners of an agent. The tracer never accepts on them.
type listening struct {
	socket net.Listener // it removes its file when it is closed
	files  []*os.File   // that the speaker inherits
	at     []string     // where they listen
}

func (l *listening) Close() {
	for _, f := range l.files {
		f.Close()
	}
	l.socket.Close()
}

// listen makes the listeners, and the directory of the default socket.
func listen(c *cli.Context, web *webWishes) (l *listening, err error) {
	path := c.String("socket")
	if path == agent.DefaultSocket {
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return nil, fmt.Errorf("make the directory of the socket: %w", err)
		}
	}
	l = &listening{at: []string{path}}
	if l.socket, err = agent.Listen(path); err != nil {
		return nil, err
	}
	if err := l.pass(l.socket); err != nil {
		l.Close()
		return nil, err
	}
	if err := l.listenWeb(c, web); err != nil {
		l.Close()
		return nil, err
	}
	return l, nil
}

// pass has the speaker inherit a listener.
func (l *listening) pass(from net.Listener) error {
	f, err := from.(interface{ File() (*os.File, error) }).File()
	if err != nil {
		return fmt.Errorf("pass a listener on: %w", err)
	}
	l.files = append(l.files, f)
	return nil
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
