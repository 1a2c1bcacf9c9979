package main

import (
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// incident is one that was reported, played with real parts in a network namespace of its
// own.
type incident struct {
	ns  *kerneltest.NS // where it is
	dir string
}

// TestScenarioField plays what was reported of real hosts. Each has one culprit, one cause
// and one cure; twtrace has to say these, and nothing else that needs care.
func TestScenarioField(t *testing.T) {
	kerneltest.RequireRoot(t)
	stage := make(chan struct{}, onStageAtOnce)
	for _, x := range []struct {
		name string
		play func(*testing.T, *incident)
	}{
		{"three services, one database", threeServices}, // the longest first
		{"server port taken by a client", serverPortTaken},
		{"leak of CLOSE_WAIT", closeWaitLeak},
		{"the program's own timeout", ownTimeout},
		{"no limit of TIME_WAIT", noBucketLimit},
		{"transparent proxy", transparentProxy},
		{"IPv6 off on localhost", ipv6Off},
		{"fixed port, taken by a connection", fixedPortLive},
		{"fixed port, taken by TIME_WAIT", fixedPortTimeWait},
		{"two idle connections", twoIdle},
		{"keep-alive race", keepAliveRace},
		{"left by an earlier run", leftByEarlierRun},
		{"range full of bound ports", rangeBound},
		{"range reserved", rangeReserved},
		{"one report", oneReport},
	} {
		t.Run(x.name, func(t *testing.T) {
			t.Parallel()
			stage <- struct{}{}
			defer func() { <-stage }()
			f := &incident{ns: kerneltest.NetNS(t), dir: t.TempDir()}
			hold(t, f.ns)
			x.play(t, f)
		})
	}
}

// onStageAtOnce is how many incidents are played at once: each has five programs of ours
// watch it.
const onStageAtOnce = 6

// python is Debian's: others put programs of their own between it and its parent.
const python = "/usr/bin/python3"

// actor is one program of an incident.
type actor struct {
	*exec.Cmd
	log string // file with what it prints
}

// script is a program of testdata/field.
func script(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	kerneltest.RequireTool(t, python, "python3")
	path, err := filepath.Abs(filepath.Join("testdata/field", name))
	must(t, err)
	return exec.Command(python, append([]string{path}, args...)...)
}

// python starts a script in a namespace, until the test ends.
func (f *incident) python(t *testing.T, ns *kerneltest.NS, name string, args ...string) *actor {
	t.Helper()
	return f.play(t, ns, script(t, name, args...))
}

// ordered starts a script that waits for lines on its stdin.
func (f *incident) ordered(t *testing.T, name string, args ...string) (*actor, io.Writer) {
	t.Helper()
	cmd := script(t, name, args...)
	orders, err := cmd.StdinPipe()
	must(t, err)
	return f.play(t, f.ns, cmd), orders
}

// play starts a program in a namespace, until the test ends.
func (f *incident) play(t *testing.T, ns *kerneltest.NS, cmd *exec.Cmd) *actor {
	t.Helper()
	log, err := os.CreateTemp(f.dir, "*.log")
	must(t, err)
	defer log.Close()
	cmd.Dir, cmd.Stdout, cmd.Stderr = f.dir, log, log
	ns.Start(t, cmd)
	// It has to keep its pace, whatever else this machine does.
	must(t, unix.Setpriority(unix.PRIO_PGRP, cmd.Process.Pid, -20))
	return &actor{cmd, log.Name()}
}

// said is what it has printed so far.
func (p *actor) said(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile(p.log)
	must(t, err)
	return string(text)
}

// awaits waits until it has printed what the pattern matches, so many times.
func (p *actor) awaits(t *testing.T, pattern string, times int) {
	t.Helper()
	re := regexp.MustCompile(pattern)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		text := p.said(t)
		return len(re.FindAllString(text, times)) == times, fmt.Sprintf("%s printed %q, want %d of %q", p, tail(text), times, pattern)
	})
}

// tail is the end of a text.
func tail(text string) string { return text[max(0, len(text)-500):] }

// serves starts a server in the namespace, and waits until it listens.
func (f *incident) serves(t *testing.T, ns *kerneltest.NS, comm string, at ...string) *actor {
	t.Helper()
	p := f.python(t, ns, "serve.py", append([]string{comm}, at...)...)
	p.awaits(t, "serves", 1)
	return p
}

// ports sets the ephemeral port range, in which no port is reused.
func (f *incident) ports(t *testing.T, low, high int) {
	t.Helper()
	f.ns.Sysctl(t, "net.ipv4.ip_local_port_range", fmt.Sprintf("%d %d", low, high))
	f.ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
}

// veth connects two namespaces by a pair of devices with an address each, such as
// 10.77.0.1/24.
func veth(t *testing.T, a *kerneltest.NS, devA, addrA string, b *kerneltest.NS, devB, addrB string) {
	t.Helper()
	kerneltest.RequireTool(t, "ip", "iproute2")
	runIn(t, a, "ip", "link", "add", devA, "type", "veth", "peer", "name", devB, "netns", b.Path())
	runIn(t, a, "ip", "addr", "add", addrA, "dev", devA)
	runIn(t, b, "ip", "addr", "add", addrB, "dev", devB)
	runIn(t, a, "ip", "link", "set", devA, "up")
	runIn(t, b, "ip", "link", "set", devB, "up")
}

// runIn runs a command in a namespace to its end.
func runIn(t *testing.T, ns *kerneltest.NS, args ...string) {
	t.Helper()
	kerneltest.RequireTool(t, "nsenter", "util-linux")
	out, err := exec.Command("nsenter", append([]string{"--net=" + ns.Path()}, args...)...).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v: %s", strings.Join(args, " "), err, out)
	}
}
