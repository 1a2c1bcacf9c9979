package main

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/live"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
	"github.com/twtrace/twtrace/internal/tracer"
)

// made is a trace of no kernel, so that a verb runs as an ordinary user: its time goes by
// as fast as it is read.
type made struct {
	*sessiontest.Source
	pace   time.Duration // how long a pause of 50 ms really takes
	paused time.Time
}

// Next has the reader idle now and then in a stream of events too, as a kernel does that
// is slower than its reader.
func (m *made) Next(ctx context.Context, e *event.Event) error {
	if now := m.Now(); now.Sub(m.paused) >= sessiontest.Step {
		m.paused = now
		time.Sleep(m.pace)
		return session.ErrIdle
	}
	return m.Source.Next(ctx, e)
}

// End is the last record, of a trace that ended by itself as if it was interrupted.
func (m *made) End(why string) (event.Event, error) { return m.Source.End(cmp.Or(why, "signal")) }

func (made) Check() ([]tracer.Requirement, []tracer.Hook, error) { return nil, nil, nil }
func (made) RefreshLimits()                                      {}
func (made) Vitals() event.Vitals                                { return event.Vitals{} }

// madeNetNS is the network namespace of made traces.
const madeNetNS = 4026531840

// madeClient is the process that opens their connections.
var madeClient = event.Proc{PID: 4711, Comm: "checkout"}

// madeServer is where it connects to.
var madeServer = netip.MustParseAddrPort("127.0.0.7:3306")

// busyClient opens so many connections a second, which it closes first after 3 ms.
func busyClient(rate float64) *conntest.Client {
	return &conntest.Client{Process: madeClient, Local: netip.MustParseAddr("127.0.0.1"), Remote: madeServer,
		Rate: conntest.Steadily(rate), Life: 3 * time.Millisecond, Stamps: event.Yes}
}

// until has a client open no more connections after a while.
func until(end time.Duration, c *conntest.Client) *conntest.Client {
	rate := c.Rate
	c.Rate = func(t time.Duration) float64 {
		if t > end {
			return 0
		}
		return rate(t)
	}
	return c
}

// madeLimits are those of a made trace whose client has so many ports.
func madeLimits(ports int) kernel.Limits {
	l := sessiontest.Limits(ports)
	l.TWReuse = 0 // no port in TIME_WAIT is taken again
	return l
}

// played is what clients do with so many ports in that time.
func played(ports int, length time.Duration, clients ...*conntest.Client) *sessiontest.Source {
	return playedIn(&conntest.World{Clients: clients, Ports: ports}, length)
}

// playedIn is what goes on in a world in that time.
func playedIn(world *conntest.World, length time.Duration) *sessiontest.Source {
	src := &sessiontest.Source{From: conntest.Start, Until: conntest.Start.Add(length),
		Header:  event.StartInfo{Version: version, Schema: output.Schema, Host: "made", Kernel: "7.1.0", Hooks: []string{"made"}},
		Last:    &event.EndInfo{Ends: make(map[string]uint64), Lost: make(map[string]uint64)},
		ByNetNS: map[uint32]kernel.Limits{madeNetNS: madeLimits(world.Ports)}}
	world.Table, world.NetNS = conn.New(conn.Options{}), madeNetNS
	world.OnEvent = func(e *event.Event) {
		src.Events = append(src.Events, *e)
		switch e.Kind {
		case event.TimeWaitEnter:
			src.Last.Births++
			src.Last.Begins++
			src.Last.Alive++
		case event.TimeWaitExit:
			src.Last.Ends[e.Reason.String()]++
			src.Last.Alive--
		case event.TimeWaitRefused:
			src.Last.Refused++
		}
	}
	world.Run(length, nil)
	world.OnEvent = nil
	return src
}

// exhausting is a client that uses up 300 ports in five seconds and then fails for five.
func exhausting() *sessiontest.Source { return played(300, 10*time.Second, busyClient(60)) }

// over runs twtrace to its end, in this process, with a made trace in the place of the
// kernel's.
func over(t *testing.T, src *sessiontest.Source, args ...string) outcome {
	t.Helper()
	o, _ := overAsked(t, src, args...)
	return o
}

// overAsked returns what was asked of the trace as well.
func overAsked(t *testing.T, src *sessiontest.Source, args ...string) (o outcome, asked live.Options) {
	t.Helper()
	o = attachedBy(func(opt live.Options) (running, error) { asked = opt; return &made{Source: src}, nil }, args...)
	if !src.Closed {
		t.Errorf("%q leaves its trace open", args)
	}
	return o, asked
}

// attachedBy runs twtrace to its end, in this process, with what attach starts in the place
// of the kernel's trace.
func attachedBy(attach attacher, args ...string) outcome {
	var stdout, stderr strings.Builder
	code := runOver(attach, append([]string{"twtrace"}, args...), &stdout, &stderr)
	return outcome{stdout.String(), stderr.String(), code}
}

// recordsIn are the records in JSON lines.
func recordsIn(t *testing.T, text string) (all []record) {
	t.Helper()
	for line := range strings.Lines(text) {
		var r record
		if err := json.Unmarshal([]byte(line), &r); err != nil {
			t.Fatalf("%v in %s", err, line)
		}
		all = append(all, r)
	}
	return all
}

// only are the records of one event.
func only(event string, all []record) (some []record) {
	for _, r := range all {
		if r.Event == event {
			some = append(some, r)
		}
	}
	return some
}

// ran runs twtrace to its end in this process.
func ran(args ...string) outcome {
	var stdout, stderr strings.Builder
	code := run(append([]string{"twtrace"}, args...), &stdout, &stderr)
	return outcome{stdout.String(), stderr.String(), code}
}

// inOwnNetNS moves what happens to the network namespace of this process, which doctor finds.
func inOwnNetNS(src *sessiontest.Source) (*sessiontest.Source, error) {
	ns, err := kernel.CurrentNetNS()
	for i := range src.Events {
		src.Events[i].NetNS = ns.Inum
	}
	src.ByNetNS = map[uint32]kernel.Limits{ns.Inum: src.ByNetNS[madeNetNS]}
	return src, err
}

// recordedFrom records a made trace, and returns the file.
func recordedFrom(t *testing.T, src *sessiontest.Source, flags ...string) string {
	t.Helper()
	path := t.TempDir() + "/t.ndjson.zst"
	if o := over(t, src, append([]string{"record", "-w", path}, flags...)...); o.code != exitOK {
		t.Fatalf("record: exit code %d: %s", o.code, o.stderr)
	}
	return path
}

// ownNetNS is the path of the network namespace that the tests run in, held open before
// any test runs: /proc/self/ns/net is the first thread's, which may be in another for a
// moment.
var ownNetNS = func() string {
	f, err := os.Open("/proc/self/ns/net")
	if err != nil {
		panic(err)
	}
	heldNetNS = f
	return fmt.Sprintf("/proc/%d/fd/%d", os.Getpid(), f.Fd())
}()

var heldNetNS *os.File // not closed by the garbage collector
