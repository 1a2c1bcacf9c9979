package main

import (
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// TestDoctorHolders has five kinds of sockets hold a port that bind() asks for, with
// SO_REUSEADDR: TW104 says of each what it is, and advises what helps against that one.
func TestDoctorHolders(t *testing.T) {
	kerneltest.RequireRoot(t)
	t.Parallel()
	ns := narrow(t, 1000)
	hold(t, ns)
	const outgoing, left, itself, bound, accepted, server = 40010, 40011, 40012, 7001, 7002, 7003
	keep := func(fd int) int {
		t.Cleanup(func() { unix.Close(fd) })
		return fd
	}
	ns.Do(t, func() {
		db := keep(listenOn(t, server))
		accept := func() int {
			fd, _, err := unix.Accept(db)
			must(t, err)
			return fd
		}
		c := connectFrom(t, left, server)
		s := accept()
		unix.Close(c) // it closes first
		unix.Close(s)
		keep(connectFrom(t, outgoing, server))
		keep(accept())
		keep(connectFrom(t, itself, itself))
		must(t, unix.Bind(keep(socketOf(t)), at(bound)))
		db = listenOn(t, accepted)
		keep(connectFrom(t, 0, accepted))
		keep(accept())
		unix.Close(db)
	})
	done := make(chan struct{})
	defer close(done)
	go ns.Do(t, func() {
		for {
			for _, port := range []uint16{outgoing, left, itself, bound, accepted} {
				fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
				if err == nil {
					_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_REUSEADDR, 1)
					_ = unix.Bind(fd, at(port))
					unix.Close(fd)
				}
			}
			select {
			case <-done:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	})
	v := inspected(t, ns)
	for port, tt := range map[uint16]struct{ why, advice string }{
		outgoing: {fmt.Sprintf("1 outgoing connection of twtrace.test[PID] to 127.0.0.1:%d, where twtrace.test[PID] listens, is open with it as local port", server),
			"sysctl -w net.ipv4.ip_local_reserved_ports=40010"},
		left:     {fmt.Sprintf("1 outgoing connection, likely of twtrace.test[PID], to 127.0.0.1:%d, where twtrace.test[PID] listens, is in TIME_WAIT on the port", server), "sysctl -w net.ipv4.ip_local_reserved_ports=40011"},
		itself:   {"1 outgoing connection of twtrace.test[PID] from 127.0.0.1:40012 to itself", "sysctl -w net.ipv4.ip_local_reserved_ports=40012"},
		accepted: {"1 accepted connection of twtrace.test[PID] is open with it as local port", "set SO_REUSEADDR on every listening socket"},
		bound:    {"twtrace.test[PID] has bound 127.0.0.1:7001, and neither listens nor connects", "use another port"},
	} {
		var of []finding
		for _, x := range v.of("TW104", ns) {
			if strings.Contains(x.What, fmt.Sprintf("127.0.0.1:%d failed", port)) {
				of = append(of, x)
			}
		}
		if len(of) != 1 || of[0].Status != "crit" {
			t.Errorf("port %d: %+v; %s", port, of, v.words())
			continue
		}
		x := of[0]
		why := pidInBrackets.ReplaceAllString(x.Reason, "[PID]")
		var advice string
		for _, r := range x.Remedies {
			advice += r.Text + "\n" + r.Command + "\n"
		}
		if port == bound && strings.Contains(why, "nothing was found on the port") {
			t.Log("this kernel does not show sockets that are only bound")
			continue
		}
		if !strings.Contains(why, tt.why) || !strings.Contains(advice, tt.advice) {
			t.Errorf("port %d: want %q and %q:\n%s\n%s", port, tt.why, tt.advice, why, advice)
		}
		if strings.Contains(advice, "SO_REUSEADDR") != (port == accepted) {
			t.Errorf("port %d: SO_REUSEADDR helps only against what a server accepted:\n%s", port, advice)
		}
	}
}

var pidInBrackets = regexp.MustCompile(`\[\d+\]`)

func at(port uint16) *unix.SockaddrInet4 {
	return &unix.SockaddrInet4{Port: int(port), Addr: [4]byte{127, 0, 0, 1}}
}

// socketOf is a TCP socket.
func socketOf(t *testing.T) int {
	t.Helper()
	fd, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	must(t, err)
	return fd
}

// listenOn is a listener.
func listenOn(t *testing.T, port uint16) int {
	t.Helper()
	fd := socketOf(t)
	must(t, unix.Bind(fd, at(port)))
	must(t, unix.Listen(fd, 8))
	return fd
}

// connectFrom is a connection from a local port; 0 is any.
func connectFrom(t *testing.T, local, remote uint16) int {
	t.Helper()
	fd := socketOf(t)
	if local != 0 {
		must(t, unix.Bind(fd, at(local)))
	}
	must(t, unix.Connect(fd, at(remote)))
	return fd
}
