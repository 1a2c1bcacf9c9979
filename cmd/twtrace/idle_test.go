package main

import (
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// spoken is a connection on which a question was answered, and when: the last data came
// between the two times.
type spoken struct {
	client, server *net.TCPConn
	from, to       time.Time
}

// speak opens n connections at once, and has both ends of each say something.
func speak(t *testing.T, ns *kerneltest.NS, n int) (all []*spoken) {
	t.Helper()
	ns.Do(t, func() {
		l, err := net.Listen("tcp4", "127.0.0.1:0")
		must(t, err)
		defer l.Close()
		for range n {
			client, err := net.Dial("tcp4", l.Addr().String())
			must(t, err)
			server, err := l.Accept()
			must(t, err)
			t.Cleanup(func() { client.Close(); server.Close() })
			all = append(all, &spoken{client: client.(*net.TCPConn), server: server.(*net.TCPConn)})
		}
	})
	for _, s := range all {
		var b [4]byte
		_, err := s.client.Write(b[:])
		must(t, err)
		_, err = io.ReadFull(s.server, b[:])
		must(t, err)
		s.from = time.Now()
		_, err = s.server.Write(b[:])
		must(t, err)
		_, err = io.ReadFull(s.client, b[:])
		must(t, err)
		s.to = time.Now()
	}
	return all
}

// port is that of the client.
func (s *spoken) port() uint16 { return s.client.LocalAddr().(*net.TCPAddr).AddrPort().Port() }

// ends waits for the records of both ends of a connection: of the client, and of the server.
func (s *spoken) ends(t *testing.T, tr *trace, ns *kerneltest.NS) (client, server record) {
	t.Helper()
	kerneltest.Eventually(t, patience, func() (bool, string) {
		client, server = record{}, record{}
		for _, event := range []string{"close", "time_wait_enter"} {
			for _, r := range tr.of(event, ns.Inum()) {
				switch s.port() {
				case r.Lport:
					client = r
				case r.Rport:
					server = r
				}
			}
		}
		return client.Event != "" && server.Event != "", fmt.Sprintf("client %+v, server %+v", client, server)
	})
	return client, server
}

// TestIdle has connections rest before they end in different ways, and compares what the
// records say of that with the clock, and with what was lost.
func TestIdle(t *testing.T) {
	t.Attr("row", "idle time of connections, and what resets discard")
	t.Parallel()
	tick, err := kernel.Tick()
	must(t, err)
	ns := churnNS(t)
	tr := startTrace(t, "-N", ns.Path())
	all := speak(t, ns, 5)
	closed, used, reset, unread, busy := all[0], all[1], all[2], all[3], all[4]
	const rest = 300 * time.Millisecond
	<-time.After(rest) // what is measured

	// idle checks the time that a record has against that between the last data and now.
	idle := func(name string, s *spoken, r record, from, to time.Time) {
		t.Helper()
		least, most := from.Sub(s.to)-2*tick, to.Sub(s.from)+2*tick
		if got := time.Duration(r.IdleNs); got < least || got > most {
			t.Errorf("%s: idle for %v, want %v to %v: %+v", name, got, least, most, r)
		}
	}
	end := func(f func() error) (from, to time.Time) {
		t.Helper()
		from = time.Now()
		must(t, f())
		return from, time.Now()
	}

	// The server closes, and then the client does.
	from, to := end(closed.server.Close)
	must(t, closed.client.Close())
	client, server := closed.ends(t, tr, ns)
	idle("client", closed, client, from, time.Now())
	idle("server", closed, server, from, to)
	if client.DataLost || server.DataLost {
		t.Errorf("data was lost: %+v, %+v", client, server)
	}

	// The server closes, and the client uses the connection.
	from, to = end(used.server.Close)
	_, err = used.client.Write([]byte("late"))
	must(t, err)
	client, server = used.ends(t, tr, ns)
	idle("client", used, client, from, time.Now())
	idle("server", used, server, from, to)
	if client.Event != "close" || client.Closer != "remote" || client.Oldstate != "CLOSE_WAIT" || client.Reason != "reset_received" || !client.DataLost {
		t.Errorf("the client: %+v", client)
	}
	if server.Event != "close" || server.Closer != "local" || server.Oldstate != "FIN_WAIT2" || server.Reason != "reset_sent" {
		t.Errorf("the server: %+v", server)
	}

	// Resets at once: of a connection that rests, and of one with something to read.
	from, to = end(func() error { must(t, reset.client.SetLinger(0)); return reset.client.Close() })
	client, server = reset.ends(t, tr, ns)
	idle("client", reset, client, from, to)
	if client.Reason != "reset_sent" || server.Reason != "reset_received" || client.DataLost || server.DataLost {
		t.Errorf("%+v, %+v", client, server)
	}
	_, err = unread.client.Write([]byte("unread"))
	must(t, err)
	must(t, unread.server.Close())
	if _, server = unread.ends(t, tr, ns); server.Reason != "reset_sent" || !server.DataLost {
		t.Errorf("with data unread: %+v", server)
	}

	// Data just before the end: not idle.
	busy.from = time.Now()
	_, err = busy.server.Write([]byte("bye"))
	must(t, err)
	busy.to = time.Now()
	from, to = end(busy.server.Close)
	_, err = io.ReadAll(busy.client)
	must(t, err)
	must(t, busy.client.Close())
	_, server = busy.ends(t, tr, ns)
	idle("busy server", busy, server, from, to)
	checkLost(t, tr.stop())
}

// TestGaveUp has a process close sockets on which no answer came, and one on which it did.
func TestGaveUp(t *testing.T) {
	t.Attr("row", "connects that the process gives up")
	t.Parallel()
	const wait = 200 * time.Millisecond
	ns := churnNS(t)
	at := unusedAddr()
	l, err := workload.Listen(ns.Path(), at)
	must(t, err)
	defer l.Close()
	must(t, l.Room(0))
	tr := startTrace(t, "-N", ns.Path())
	var first net.Conn
	var least, most time.Duration
	ns.Do(t, func() {
		first, err = net.Dial("tcp4", at.String())
		must(t, err)
		for range 3 {
			start := time.Now()
			_, err := net.DialTimeout("tcp4", at.String(), wait)
			if took := time.Since(start); err == nil {
				t.Error("it was answered")
			} else if most = max(most, took); least == 0 || took < least {
				least = took
			}
		}
		// Answered, though nobody asks for the result.
		s, err := net.Listen("tcp4", "127.0.0.9:0")
		must(t, err)
		defer s.Close()
		fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_NONBLOCK|unix.SOCK_CLOEXEC, 0)
		must(t, err)
		if err := unix.Connect(fd, &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 9}, Port: s.Addr().(*net.TCPAddr).Port}); err != unix.EINPROGRESS {
			t.Errorf("connect: %v", err)
		}
		must(t, unix.Close(fd))
	})
	defer first.Close()
	kerneltest.Eventually(t, patience, func() (bool, string) {
		n := len(tr.of("fail", ns.Inum()))
		return n >= 3, fmt.Sprintf("%d of 3 records", n)
	})
	checkLost(t, tr.stop())
	fails := tr.of("fail", ns.Inum())
	if len(fails) != 3 {
		t.Errorf("%d records", len(fails))
	}
	for _, r := range fails {
		waited := time.Duration(r.StateNs)
		if r.Call != "connect" || r.Errno != "" || r.Cause != "gave_up" || r.Oldstate != "SYN_SENT" || r.PID == 0 || r.Owner != "connect" ||
			r.Rport != at.Port() || waited < wait/2 || waited > most {
			t.Errorf("waited %v, and the calls took %v to %v: %+v", waited, least, most, r)
		}
	}
}
