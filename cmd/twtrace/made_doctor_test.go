package main

import (
	"errors"
	"fmt"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/live"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
	"github.com/twtrace/twtrace/internal/tracer"
)

// examined is what doctor finds in a made trace that is recorded.
func examined(t *testing.T, src *sessiontest.Source) verdict {
	t.Helper()
	return verdictOf(t, ran("doctor", "-o", "json", "-r", recordedFrom(t, src)))
}

// watched is what doctor finds while it watches a made trace.
func watched(t *testing.T, src *sessiontest.Source) (v verdict, netns uint32) {
	t.Helper()
	ns, err := kernel.CurrentNetNS()
	must(t, err)
	src, err = inOwnNetNS(src)
	must(t, err)
	src.Counts = map[uint32]advice.Counted{ns.Inum: {}}
	return verdictOf(t, over(t, src, "doctor", "-o", "json", "--window", "1m", "-N", ownNetNS)), ns.Inum
}

// TestForecast: when the verdict says that connect() fails, it does, within 15 %.
func TestForecast(t *testing.T) {
	t.Parallel()
	for _, rate := range []float64{17, 25, 40} {
		w := &conntest.World{Ports: 600, Clients: []*conntest.Client{busyClient(rate)}}
		const seen = 12 * time.Second
		src := playedIn(w, seen)
		w.Run(50*time.Second, nil)
		truth := (w.FirstAt[madeServer] - seen).Seconds()
		v, netns := watched(t, src)
		found := v.in("TW101", netns)
		if len(found) != 1 || found[0].Forecast == nil || truth <= 0 {
			t.Fatalf("no forecast of what happens in %.1f s:%s", truth, v.words())
		}
		if off := found[0].Forecast.InS/truth - 1; off < -0.15 || off > 0.15 {
			t.Errorf("at %g/s the end was foreseen in %.1f s, and came after %.1f s", rate, found[0].Forecast.InS, truth)
		}
	}
}

// TestDoctorFull has all 28,232 ports of the default range in use, and the client go on:
// what is wrong, and who does it, is known when the window ends.
func TestDoctorFull(t *testing.T) {
	t.Parallel()
	src := played(28232, 10*time.Second, busyClient(4000))
	limits := src.ByNetNS[madeNetNS]
	limits.PortLow, limits.PortHigh = 32768, 60999
	src.ByNetNS[madeNetNS] = limits
	v, netns := watched(t, src)
	found := v.in("TW101", netns)
	if v.ExitCode != 2 || len(found) != 1 || found[0].Status != "crit" || found[0].Scope.Raddr != "127.0.0.7" ||
		found[0].Scope.Comm != madeClient.Comm || found[0].Scope.PID != madeClient.PID || !strings.Contains(found[0].What, "28,232 of 28,232 ports") {
		t.Errorf("exit code %d:%s", v.ExitCode, v.words())
	}
}

// TestDoctorNamespacesGone has a namespace go away, with its sockets, while doctor watches.
func TestDoctorNamespacesGone(t *testing.T) {
	t.Parallel()
	src := played(20000, 5*time.Second, until(4*time.Second, busyClient(10)))
	gone := 0
	for _, e := range slices.Clone(src.Events) {
		if e.Kind == event.TimeWaitEnter {
			e.Kind, e.Reason, e.Time = event.TimeWaitExit, event.NetnsExit, src.Until.UnixNano()
			src.Events = append(src.Events, e)
			gone++
		}
	}
	v := examined(t, src)
	want := fmt.Sprintf("%d TIME_WAIT sockets ended together with 1 network namespace", gone)
	if found := v.in("TW304", madeNetNS); len(found) != 1 || found[0].Status != "info" || found[0].What != want || gone < 39 {
		t.Errorf("want %q:%s", want, v.words())
	}
}

// TestDoctorWithoutRights says what it can find, and what it could not see.
func TestDoctorWithoutRights(t *testing.T) {
	t.Parallel()
	for _, why := range []string{"missing CAP_BPF and CAP_PERFMON", "the kernel does not permit BPF: seccomp", "this is a user namespace"} {
		attach := func(live.Options) (running, error) {
			return nil, &tracer.HostError{What: "not permitted to trace", Err: errors.New(why)}
		}
		v := verdictOf(t, attachedBy(attach, "doctor", "-o", "json", "--window", "20ms", "-N", ownNetNS))
		if v.Traced || !v.has("TW900") {
			t.Errorf("traced %v, exit code %d:%s", v.Traced, v.ExitCode, v.words())
		}
		if first := v.Checks[0]; first.ID != "TWD001" || first.Group != "trace" || first.Status != "skip" || !strings.Contains(first.Title, why) {
			t.Errorf("%+v", first)
		}
	}
	v := doctored(t, unprivileged(t, "doctor", "-o", "json", "--window", "20ms", "-N", "/proc/self/ns/net"))
	if v.Traced || !v.has("TW900") || v.Checks[0].Status != "skip" || !strings.Contains(v.Checks[0].Title, "CAP_BPF and CAP_PERFMON") {
		t.Errorf("as nobody: traced %v: %+v", v.Traced, v.Checks[0])
	}
}

// TestDoctorRules has one trouble after the other: each is found, with who does it, and
// nothing else is.
func TestDoctorRules(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		src   func() *sessiontest.Source
		want  []string // rules, and how bad it is
		words string   // in what they say
	}{
		{"ports exhausted", exhausting, []string{"TW101 crit"}, "holds 300 of 300 ports"},
		{"few buckets", fewMadeBuckets, []string{"TW205 crit"}, "100"},
		{"nobody listens", func() *sessiontest.Source { return failingWith(uint16(unix.ECONNREFUSED)) }, []string{"TW210 warn"}, "failed with ECONNREFUSED (111) (100%)"},
		{"bind before connect", func() *sessiontest.Source { return bindsMade(200) }, []string{"TW102 crit"}, "100 calls found no free port"},
		{"resets", resetsMade, []string{"TW206 warn"}, "were reset"},
		{"idle", func() *sessiontest.Source { return played(300, 10*time.Second) }, nil, ""},
		{"long connections", func() *sessiontest.Source {
			c := until(5*time.Second, busyClient(40))
			c.Life = 0
			return played(20000, 10*time.Second, c)
		}, nil, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			v := examined(t, tt.src())
			said := v.words()
			for _, x := range v.Checks {
				if x.Status == "warn" || x.Status == "crit" {
					if x.Scope.Netns != madeNetNS || x.Scope.Comm != madeClient.Comm && x.ID != "TW205" {
						t.Errorf("%s is about %+v", x.ID, x.Scope)
					}
				}
			}
			if !slices.Equal(v.alarms(), tt.want) || !strings.Contains(said, tt.words) {
				t.Errorf("found %q, want %q and %q:%s", v.alarms(), tt.want, tt.words, said)
			}
		})
	}
}

// fewMadeBuckets has room for 100 sockets in TIME_WAIT.
func fewMadeBuckets() *sessiontest.Source {
	src := playedIn(&conntest.World{Ports: 20000, Buckets: 100, Clients: []*conntest.Client{busyClient(15)}}, 12*time.Second)
	limits := src.ByNetNS[madeNetNS]
	limits.MaxTWBuckets = 100
	src.ByNetNS[madeNetNS] = limits
	return src
}

// failingWith has every connect() fail.
func failingWith(errno uint16) *sessiontest.Source {
	src := played(1, 10*time.Second, busyClient(8))
	src.Events = slices.DeleteFunc(src.Events, func(e event.Event) bool { return e.Kind != event.Fail })
	for i := range src.Events {
		src.Events[i].Errno = errno
	}
	return src
}

// bindsMade has a client bind so many ports before it connects, and then fail to.
func bindsMade(ports int) *sessiontest.Source {
	src := played(ports, 10*time.Second, busyClient(30))
	for i := range src.Events {
		if e := &src.Events[i]; e.Kind == event.Fail {
			e.Call, e.Errno, e.Remote = event.Bind, uint16(unix.EADDRINUSE), netip.AddrPort{}
		} else {
			e.Bound = true
			e.Remote = netip.AddrPortFrom(netip.AddrFrom4([4]byte{127, 0, 9, byte(e.Cookie % 50)}), 3306)
		}
	}
	return src
}

// resetsMade has every connection end by a reset of its own client.
func resetsMade() *sessiontest.Source {
	c := busyClient(30)
	c.RemoteCloses = true
	src := played(20000, 10*time.Second, c)
	for i := range src.Events {
		if e := &src.Events[i]; e.Kind == event.Close {
			e.Reason, e.Old, e.New, e.Closer = event.ResetSent, event.Established, event.Closed, event.LocalSide
			e.DataLost = true
		}
	}
	return src
}

// setting is one that a command of a remedy makes.
var setting = regexp.MustCompile(` (net\.\S+)=("[^"]*"|\S*)`)

// afterwards are the limits and the world once a command of a remedy was run.
func afterwards(t *testing.T, command string, l kernel.Limits, w *conntest.World) (kernel.Limits, *conntest.World) {
	t.Helper()
	all := setting.FindAllStringSubmatch(command, -1)
	if all == nil || !strings.HasPrefix(command, "sysctl -w ") {
		t.Fatalf("no setting in %q", command)
	}
	for _, m := range all {
		value := strings.Trim(m[2], `"`)
		scan := func(format string, to ...any) {
			if _, err := fmt.Sscanf(value, format, to...); err != nil {
				t.Fatalf("%q: %v", command, err)
			}
		}
		switch m[1] {
		case "net.ipv4.ip_local_reserved_ports":
			l.ReservedPorts = value
			l = l.WithRange(l.PortLow, l.PortHigh)
		case "net.ipv4.ip_local_port_range":
			var low, high uint16
			scan("%d %d", &low, &high)
			l = l.WithRange(low, high)
		case "net.ipv4.tcp_tw_reuse":
			scan("%d", &l.TWReuse)
			for _, c := range w.Clients {
				c.Reuse = l.TWReuse == 1 || l.TWReuse == 2 && c.Remote.Addr().IsLoopback()
			}
		case "net.ipv4.tcp_max_tw_buckets":
			scan("%d", &l.MaxTWBuckets)
			w.Buckets = int(l.MaxTWBuckets)
		default:
			t.Fatalf("an unknown setting: %q", command)
		}
	}
	w.Ports = l.UsablePorts()
	return l, w
}

// TestFollowAdvice: each thing that helps now makes the finding go away, while the load goes on.
func TestFollowAdvice(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		id       string
		ports    int
		buckets  int
		rate     float64
		commands int // that help
	}{
		{"TW101", 300, 0, 40, 2},
		{"TW205", 20000, 100, 40, 1},
	} {
		world := func() *conntest.World {
			return &conntest.World{Ports: tt.ports, Buckets: tt.buckets, Clients: []*conntest.Client{busyClient(tt.rate)}}
		}
		limits := madeLimits(tt.ports)
		if tt.buckets > 0 {
			limits.MaxTWBuckets = int64(tt.buckets)
		}
		find := func(w *conntest.World, l kernel.Limits) (verdict, []finding) {
			src := playedIn(w, 10*time.Second)
			src.ByNetNS[madeNetNS] = l
			v, netns := watched(t, src)
			return v, v.in(tt.id, netns)
		}
		v, found := find(world(), limits)
		if len(found) != 1 || found[0].Status != "crit" || len(found[0].commands()) != tt.commands {
			t.Fatalf("%s: %+v:%s", tt.id, found, v.words())
		}
		for _, r := range found[0].commands() {
			changed, w := afterwards(t, r.Command, limits, world())
			if changed == limits {
				t.Errorf("%s changes nothing", r.Command)
			}
			v, found := find(w, changed)
			if slices.ContainsFunc(found, func(x finding) bool { return x.Status == "warn" || x.Status == "crit" }) {
				t.Errorf("after %s:%s", r.Command, v.words())
			}
			if back, _ := afterwards(t, r.Undo, changed, world()); back != limits {
				t.Errorf("after %s: %+v, before %+v", r.Undo, back, limits)
			}
		}
	}
}

// TestFollowBinding: clients that bind before they connect need a wider range, or have
// connect() choose the port.
func TestFollowBinding(t *testing.T) {
	t.Parallel()
	v, netns := watched(t, bindsMade(200))
	found := v.in("TW102", netns)
	if len(found) != 1 || found[0].Status != "crit" || len(found[0].commands()) != 1 {
		t.Fatalf("%+v", found)
	}
	limits, w := afterwards(t, found[0].commands()[0].Command, madeLimits(200), &conntest.World{})
	src := bindsMade(w.Ports)
	src.ByNetNS[madeNetNS] = limits
	if v, netns := watched(t, src); len(v.in("TW102", netns)) > 0 {
		t.Errorf("with %d ports:%s", w.Ports, v.words())
	}
	late := bindsMade(210)
	for i := range late.Events {
		late.Events[i].Bound = false // connect() chooses it
	}
	late.Events = slices.DeleteFunc(late.Events, func(e event.Event) bool { return e.Kind == event.Fail })
	if v := examined(t, late); v.ExitCode != 0 || len(v.in("TW102", madeNetNS)) > 0 {
		t.Errorf("with IP_BIND_ADDRESS_NO_PORT: exit code %d%s", v.ExitCode, v.words())
	}
}

// TestSysctlFile: what doctor suggests for a namespace is a file as sysctl takes it.
func TestSysctlFile(t *testing.T) {
	t.Parallel()
	src, err := inOwnNetNS(played(20000, time.Second, busyClient(5)))
	must(t, err)
	for ns, l := range src.ByNetNS {
		l.FinTimeout = 5 * time.Second
		src.ByNetNS[ns] = l
	}
	o := over(t, src, "doctor", "--sysctl", "--window", "100ms", "-N", ownNetNS)
	if o.code != exitOK || !strings.Contains(o.stdout, "\nnet.ipv4.tcp_fin_timeout = 60\n") {
		t.Fatalf("exit %d:\n%s%s", o.code, o.stdout, o.stderr)
	}
	for line := range strings.Lines(o.stdout) {
		if line = strings.TrimSpace(line); line != "" && line[0] != '#' && !regexp.MustCompile(`^[a-z0-9_.]+ = \S.*$`).MatchString(line) {
			t.Errorf("sysctl does not take %q", line)
		}
	}
}

// TestDoctorKilled interrupts it while it watches: it tells what it has seen so far.
func TestDoctorKilled(t *testing.T) {
	t.Parallel()
	cmd := command("doctor", "--window", "10m", "--brief", "-N", "/proc/self/ns/net")
	cmd.Env = append(cmd.Env, asTraced+"=interrupted")
	if o := ended(t, cmd); o.code != 2 || o.stderr != "" || !strings.HasPrefix(o.stdout, "CRITICAL TW101 ports to 127.0.0.7:3306") {
		t.Errorf("exit code %d, stdout %s, stderr %s", o.code, o.stdout, o.stderr)
	}
}

// TestDoctorEarlyPeers has clients come back to a server too early, and reset what it has
// in TIME_WAIT.
func TestDoctorEarlyPeers(t *testing.T) {
	t.Parallel()
	src := played(20000, 10*time.Second, until(5*time.Second, busyClient(20)))
	var ends []event.Event
	for i := range src.Events {
		e := &src.Events[i]
		e.Role, e.Accepter, e.Opener = event.Server, e.Opener, event.Proc{}
		e.Local, e.Remote = netip.AddrPortFrom(e.Local.Addr(), 7000), e.Local
		if e.Kind == event.TimeWaitEnter {
			end := *e
			end.Kind, end.Reason, end.Time = event.TimeWaitExit, event.Reset, src.From.Add(8*time.Second).UnixNano()
			ends = append(ends, end)
		}
	}
	src.Events = append(src.Events, ends...)
	v := examined(t, src)
	found := v.in("TW209", madeNetNS)
	if len(found) != 1 || found[0].Status != "warn" || found[0].Scope.Comm != madeClient.Comm || !strings.Contains(found[0].What, "a RST from the client ended") {
		t.Errorf("found %q:%s", v.alarms(), v.words())
	}
}
