package main

import (
	"fmt"
	"net/netip"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/workload"
)

// scenarios are what happens on hosts, and what is to be told of it. Where ports run
// out, the clients are paced so that it takes some fifteen seconds.
var scenarios = []piece{
	// With real servers and clients.
	{name: "MariaDB, a client for every query", ports: 60, play: everyQuery, full: true,
		want: []string{"ports crit mariadb 127.0.0.1:3306"}, fails: []string{"connect EADDRNOTAVAIL mariadb"}},
	{name: "MariaDB, a pool", ports: 300, play: pooledQueries},
	{name: "Redis, a connection for every request", ports: 60000, play: redis("-k", "0"),
		want: []string{"churn warn redis-benchmark 127.0.0.1:6379"}},
	{name: "Redis, keep-alive", ports: 300, play: redis("-k", "1")},
	{name: "nginx, ab", ports: 1000, play: ab(),
		want: []string{"churn warn ab 127.0.0.1:8081"}},
	{name: "nginx, ab with keep-alive", ports: 300, play: ab("-k")},
	{name: "nginx, wrk that closes", ports: 60000, play: wrk("-H", "Connection: close"),
		want: []string{"churn warn wrk 127.0.0.1:8081"}},
	{name: "nginx, wrk", ports: 300, play: wrk()},
	{name: "nginx as a proxy", ports: 1000, play: proxy(false),
		want: []string{"churn warn nginx 127.0.0.1:8081"}},
	{name: "nginx as a proxy with keep-alive", ports: 300, play: proxy(true)},
	{name: "curl in a loop", ports: 60, play: curls, full: true,
		want: []string{"ports crit curl 127.0.0.1:8081"}, fails: []string{"connect EADDRNOTAVAIL curl"}},

	// With loads of our own.
	{name: "a client that closes first", ports: 600, full: true,
		play: runs(failing5(caller("checkout", 40, workload.HalfClose, one)), database),
		want: []string{"ports crit checkout 127.0.0.7:3306"}, fails: []string{"connect EADDRNOTAVAIL checkout"}},
	{name: "a pool that leaks", ports: 400, full: true,
		play: runs(failing5(caller("leaker", 25, workload.Hold, one)), database),
		want: []string{"ports crit leaker 127.0.0.7:3306"}, fails: []string{"connect EADDRNOTAVAIL leaker"}},
	{name: "a client that binds first", ports: 400, full: true, bound: true,
		play: runs(failing5(bindsFirst(caller("binder", 25, workload.HalfClose, many))), servers),
		want: []string{"ports crit binder"}, fails: []string{"bind EADDRINUSE binder"}},
	{name: "a crawler", ports: 300,
		play: runs(for20s(caller("crawler", 80, workload.HalfClose, many)), servers)},
	{name: "86 %", ports: 400, play: steady, want: []string{"ports warn worker 127.0.0.7:3306"}},
	{name: "a restart without SO_REUSEADDR", ports: 300, play: restart,
		fails: []string{"bind EADDRINUSE perl"}},
	{name: "out of descriptors", ports: 300, play: outOfFiles,
		fails: []string{"socket EMFILE perl"}},
	{name: "a leak of CLOSE_WAIT", ports: 300,
		play: runs(for20s(caller("caller", 2, workload.Close, one)), hoarder)},
	{name: "a destination that never answers", ports: 100, play: silence,
		want: []string{"ports warn caller 127.0.0.7:3306"}},
	{name: "ports that come and go", ports: 400,
		play: bursts(caller("flapper", 16, workload.HalfClose, one), 4),
		want: []string{"ports crit flapper 127.0.0.7:3306"}},
	{name: "churn that comes and goes", ports: 25000,
		play: bursts(caller("flapper", 250, workload.HalfClose, one), 4),
		want: []string{"churn warn flapper 127.0.0.7:3306"}},
	{name: "a busy server", ports: 25000, play: busyServer},
	{name: "nothing", ports: 300, play: func(*testing.T, *act) { time.Sleep(10 * time.Second) }},
}

var (
	one  = []netip.AddrPort{netip.MustParseAddrPort("127.0.0.7:3306")}
	many = workload.Destinations(50, 4)
)

// Servers that close when the client has.
var (
	database = workload.Spec{Comm: "database", CountOnly: true, Serve: &workload.Serve{At: one, End: workload.WaitEOF}}
	servers  = workload.Spec{Comm: "servers", CountOnly: true, Serve: &workload.Serve{At: many, End: workload.WaitEOF}}
	hoarder  = workload.Spec{Comm: "hoarder", CountOnly: true, Serve: &workload.Serve{At: one, End: workload.Hold}}
)

func caller(comm string, rate float64, end workload.End, to []netip.AddrPort) workload.Spec {
	return workload.Spec{Comm: comm, CountOnly: true, Connect: &workload.Connect{To: to, End: end, Rate: rate}}
}

// failing5 ends with the fifth failure.
func failing5(s workload.Spec) workload.Spec {
	s.Connect.Fails = 5
	return s
}

// for20s ends after 20 s.
func for20s(s workload.Spec) workload.Spec {
	s.Connect.Count = int(20 * s.Connect.Rate)
	return s
}

func bindsFirst(s workload.Spec) workload.Spec {
	s.Connect.Source = netip.MustParseAddrPort("127.0.0.1:0")
	return s
}

// runs plays a client against a server, both in processes of their own.
func runs(c, server workload.Spec) func(*testing.T, *act) {
	return func(t *testing.T, a *act) {
		result, err := workload.Scenario{Server: server, Client: c, Clients: 1}.Run(t.Context(), a.ns.Path())
		must(t, err)
		if c.Connect.Fails == 0 {
			return
		}
		var wanted uint64
		for _, n := range result.Failed() {
			wanted += n
		}
		a.until(t, int(wanted), failed)
		a.until(t, 1, begun)
	}
}

// bursts plays a client for 6 s out of 10 s, so many times, against one server. That is
// above the rate for longer than a storm takes, whatever the second it begins in.
func bursts(c workload.Spec, n int) func(*testing.T, *act) {
	const each, cycle = 6 * time.Second, 10 * time.Second
	return func(t *testing.T, a *act) {
		c.Connect.Count = int(each.Seconds() * c.Connect.Rate)
		_, err := start(t, a.ns, database).Ready()
		must(t, err)
		for range n {
			begun := time.Now()
			p := start(t, a.ns, c)
			must(t, p.Go())
			_, err := p.Wait()
			must(t, err)
			a.late = a.late || time.Since(begun) > each*5/4
			time.Sleep(time.Until(begun.Add(cycle)))
		}
	}
}

// busyServer has a server close 320 connections per second, of eight clients of its
// own: nothing runs out, and none of the clients is fast.
func busyServer(t *testing.T, a *act) {
	server := workload.Spec{Comm: "server", CountOnly: true, Serve: &workload.Serve{At: one, End: workload.Close}}
	_, err := start(t, a.ns, server).Ready()
	must(t, err)
	var clients []*workload.Process
	for i := range 8 {
		p := start(t, a.ns, for20s(caller(fmt.Sprintf("client-%d", i), 40, workload.WaitEOF, one)))
		must(t, p.Go())
		clients = append(clients, p)
	}
	for _, p := range clients {
		_, err := p.Wait()
		must(t, err)
	}
}

// steady is a load that settles at 86 % and never fails.
func steady(t *testing.T, a *act) {
	c := caller("worker", 400*0.86/61, workload.HalfClose, one)
	c.Connect.Count = int(75 * c.Connect.Rate)
	runs(c, database)(t, a)
}

// silence has 90 threads connect to a server that accepts nobody: once its queue is
// full, it does not answer.
func silence(t *testing.T, a *act) {
	a.start(t, "perl", "-e", `use IO::Socket::INET; my $s = IO::Socket::INET->new(Listen => 1, LocalAddr => "127.0.0.7", LocalPort => 3306); sleep 1000`)
	a.serves(t, 3306)
	c := caller("caller", 0, workload.Hold, one)
	c.Workers, c.Connect.Count = 90, 90
	must(t, start(t, a.ns, c).Go())
	a.until(t, 1, begun)
}
