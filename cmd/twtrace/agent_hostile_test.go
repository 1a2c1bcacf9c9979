package main

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// attack is what a hostile client does with its connection, until it is closed.
type attack func(c net.Conn, dice *rand.Rand)

// attacks on an agent, and whether it closes the connection though the client does not.
var attacks = map[string]struct {
	do   attack
	ends bool
}{
	"trickled headers": {trickle("GET /v1/status HTTP/1.1\r\nHost: x\r\nX: "), true},
	"trickled body":    {trickle("POST /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n"), true},
	"trickled chunks":  {trickle("GET /v1/status HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"), true},
	"says nothing":     {func(net.Conn, *rand.Rand) {}, true},
	"huge headers":     {send("GET / HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 1<<20)), true},
	"many headers":     {send("GET / HTTP/1.1\r\nHost: x\r\n" + strings.Repeat("X: y\r\n", 1<<17)), true},
	"huge line":        {send("GET /" + strings.Repeat("x", 1<<20)), true},
	"never reads":      {send(strings.Repeat("GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n", 1<<18)), true}, // more than buffers hold
	"reads no records": {send("GET /v1/stream?past=1h HTTP/1.1\r\nHost: x\r\n\r\n"), false},
	"fuzzed":           {fuzzed, false},
}

func send(words string) attack {
	return func(c net.Conn, _ *rand.Rand) { io.WriteString(c, words) }
}

// trickle sends a part of a request, and then a byte from time to time.
func trickle(words string) attack {
	return func(c net.Conn, _ *rand.Rand) {
		for _, err := io.WriteString(c, words); err == nil; _, err = io.WriteString(c, "x") {
			time.Sleep(50 * time.Millisecond)
		}
	}
}

// fuzzed sends a request in which some bytes are not as they should be.
func fuzzed(c net.Conn, dice *rand.Rand) {
	words := []string{
		"GET /v1/stream?past=15m&live=0&filter=comm%20x HTTP/1.1\r\nHost: x\r\n\r\n",
		"GET /metrics HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\nAccept: application/openmetrics-text\r\n\r\n",
		"OPTIONS * HTTP/1.0\r\n\r\n", "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
		"GET /v1/ports HTTP/1.1\r\nHost: x\r\nUpgrade: h2c\r\nConnection: Upgrade\r\nRange: bytes=0-1\r\n\r\n",
	}
	b := []byte(words[dice.IntN(len(words))])
	for range dice.IntN(8) {
		b[dice.IntN(len(b))] = byte(dice.Uint32())
	}
	c.Write(b)
	c.(interface{ CloseWrite() error }).CloseWrite()
	io.Copy(io.Discard, io.LimitReader(c, 1<<20))
	c.Close()
}

// footprint is what the processes of an agent use.
func (a *runningAgent) footprint() (files int, peakBytes int64) {
	a.t.Helper()
	for _, pid := range []int{a.cmd.Process.Pid, a.speaker().Pid} {
		fds, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
		must(a.t, err)
		status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
		must(a.t, err)
		var kb int64
		_, err = fmt.Sscan(regexp.MustCompile(`VmHWM:\s+(\d+)`).FindStringSubmatch(string(status))[1], &kb)
		must(a.t, err)
		files, peakBytes = files+len(fds), peakBytes+kb<<10
	}
	return files, peakBytes
}

// serveAgentIn starts an agent in a network namespace, and returns where it listens there.
func serveAgentIn(t *testing.T, ns *kerneltest.NS, args ...string) (a *runningAgent, at string) {
	t.Helper()
	shipped(t) // not in there
	ns.Do(t, func() { a = serveAgent(t, append(args, "-N", ns.Path())...) })
	return a, "127.0.0.1:" + regexp.MustCompile(`https?://\S+:(\d+)`).FindStringSubmatch(a.stderr.String())[1]
}

// dialerIn connects from a network namespace.
func dialerIn(t *testing.T, ns *kerneltest.NS) func(network, at string) (net.Conn, error) {
	return func(network, at string) (c net.Conn, err error) {
		ns.Do(t, func() { c, err = net.DialTimeout(network, at, patience) })
		return c, err
	}
}

// TestSlowHostileHTTP: whatever clients do at both listeners, the agent uses bounded memory
// and descriptors, lets go of them, answers again, and traces on without loss.
func TestSlowHostileHTTP(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t)
	a, at := serveAgentIn(t, ns, "--listen", "127.0.0.1:0")
	dial := dialerIn(t, ns)
	files, peak := a.footprint()
	const n, rounds, limit, room = 1009, 3, 64 << 20, 2 * (16 + 48) // connections of both listeners

	var attackers sync.WaitGroup
	var held sync.Map // connections, closed at the end
	defer held.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })
	launch := func(network, at, name string, seed uint64) {
		attackers.Go(func() {
			c, err := dial(network, at)
			if err != nil {
				t.Errorf("%s: %s: %v", network, name, err)
				return
			}
			held.Store(c, nil)
			c.SetDeadline(time.Now().Add(patience))
			attacks[name].do(c, rand.New(rand.NewPCG(seed, 1)))
			if !attacks[name].ends {
				return
			}
			if _, err := io.Copy(io.Discard, c); errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("%s: %s: the agent keeps the connection", network, name)
			}
		})
	}
	for round := range rounds {
		for name := range attacks {
			launch("tcp", at, name, uint64(round))
			launch("unix", a.socket, name, uint64(round))
		}
	}
	for i := range 500 {
		launch("tcp", at, "fuzzed", uint64(i))
		launch("unix", a.socket, "fuzzed", uint64(i))
	}
	flood := crowd(t, ns, at, 10_000)
	result, err := workload.ActiveClose(workload.IPv4, n).Run(t.Context(), ns.Path())
	must(t, err)
	comm := result.Records()[0].Comm
	for _, r := range result.Records() {
		if r.Remote == workload.IPv4 {
			comm = r.Comm
		}
	}
	if now, high := a.footprint(); now > files+room+8 || high > peak+limit {
		t.Errorf("under attack: %d descriptors and up to %d bytes, %d and %d before", now, high, files, peak)
	}
	for _, fd := range flood {
		unix.Close(fd)
	}
	attackers.Wait()
	held.Range(func(c, _ any) bool { c.(net.Conn).Close(); return true })

	a.answers(dial, "tcp", at)
	a.answers(dial, "unix", a.socket)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		now, _ := a.footprint()
		return now <= files+4, fmt.Sprintf("%d descriptors, %d before", now, files)
	})
	if _, high := a.footprint(); high > peak+limit {
		t.Errorf("up to %d bytes, %d before", high, peak)
	}
	_, high := a.footprint()
	t.Logf("up to %d KiB, %d KiB before; %d descriptors before", high>>10, peak>>10, files)
	a.knows(time.Now())
	o := ended(t, command("trace", "-o", "json", "--agent", a.socket, "--from", "-10m", "--to", "-0s", "--event", "time_wait_enter", "--comm", comm, "--role", "client"))
	if got := strings.Count(o.stdout, `"time_wait_enter"`); o.code != 0 || got != n {
		t.Errorf("%d in TIME_WAIT, want %d: exit code %d; %s", got, n, o.code, o.stderr)
	}
	if o := ended(t, command("agent", "status", "--socket", a.socket)); o.code != 0 || strings.Contains(o.stdout, "lost_by_stage") {
		t.Errorf("lost: %s", o.stdout)
	}
	a.stop()
}

// crowd opens n connections that say nothing, without waiting for any.
func crowd(t *testing.T, ns *kerneltest.NS, at string, n int) (fds []int) {
	t.Helper()
	to, err := net.ResolveTCPAddr("tcp", at)
	must(t, err)
	ns.Do(t, func() {
		for range n {
			fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
			must(t, err)
			fds = append(fds, fd)
			err = unix.Connect(fd, &unix.SockaddrInet4{Port: to.Port, Addr: [4]byte{127, 0, 0, 1}})
			if err != nil && err != unix.EINPROGRESS {
				t.Fatalf("connection %d: %v", len(fds), err)
			}
		}
	})
	return fds
}

// answers waits until the agent answers that it is ready.
func (a *runningAgent) answers(dial func(network, at string) (net.Conn, error), network, at string) {
	a.t.Helper()
	kerneltest.Eventually(a.t, patience, func() (bool, string) {
		c, err := dial(network, at)
		if err != nil {
			return false, err.Error()
		}
		defer c.Close()
		c.SetDeadline(time.Now().Add(patience))
		io.WriteString(c, "GET /readyz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
		answer, err := http.ReadResponse(bufio.NewReader(c), nil)
		if err != nil {
			return false, err.Error()
		}
		defer answer.Body.Close()
		return answer.StatusCode == http.StatusOK, answer.Status
	})
}
