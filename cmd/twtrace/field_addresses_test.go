package main

import (
	"io"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// ipv6Off: "localhost" is ::1 first, where IPv6 is off, and a program binds an address that
// the host does not have. As reported of pgbouncer, JMeter and 3proxy.
func ipv6Off(t *testing.T, f *incident) {
	f.ns.Sysctl(t, "net.ipv6.conf.all.disable_ipv6", "1")
	f.ns.Sysctl(t, "net.ipv6.conf.lo.disable_ipv6", "1")
	f.ns.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 41999")
	f.serves(t, f.ns, "postgres", "127.0.0.1:6432")
	f.python(t, f.ns, "pooler.py").awaits(t, "bind errno 99", 1)

	s := f.look(t)
	s.only(t, "TW107 warn")
	s.noStorm(t)
	c := s.claims("TW107")
	c.says(t, `pooler`, `::1`, `IPv6 is (off|disabled)|disable_ipv6`, `192\.0\.2\.9`,
		`not (an address|a local address|local|one of)|no such (local )?address|has no|does not have`, `127\.0\.0\.1`)
	c.never(t, `ip_local_port_range=`, `tcp_tw_reuse=`, `keep-alive`, `used up`, `run out`)
}

const relay = "10.77.0.2"

// twoPeers are namespaces of peers that dial from their listening port.
func twoPeers(t *testing.T, f *incident) (far *kerneltest.NS) {
	far = kerneltest.NetNS(t)
	hold(t, far)
	veth(t, f.ns, "v0", "10.77.0.1/24", far, "v0", relay+"/24")
	return far
}

// fixedPortLive: a peer dials from its listening port, and the same four numbers are those
// of a connection that it has accepted. As reported of dingo, libp2p, proftpd and phoneblock.
func fixedPortLive(t *testing.T, f *incident) {
	far := twoPeers(t, f)
	listener := f.python(t, f.ns, "peer.py", "chainsync", "listen")
	listener.awaits(t, "serves", 1)
	f.python(t, far, "peer.py", "relay", "dial", "10.77.0.1", "1000").awaits(t, "connected", 1)
	listener.awaits(t, "accepted", 1)
	f.python(t, f.ns, "peer.py", "chainsync", "dial-only", relay, "1").awaits(t, "errno 99", 2)

	s := f.look(t)
	s.only(t, "TW107 warn")
	s.noStorm(t)
	c := s.claims("TW107")
	c.says(t, `chainsync`, `10\.77\.0\.2:3001`, `:3001`, `open|established|live`, `accepted|inbound`,
		`(now|fix): .*(another|different|other|chosen by|not bind|without bind|use th(at|e) )`)
	c.never(t, `ip_local_port_range=`, `tcp_tw_reuse=`, `keep-alive`, `used up`, `run out`)
}

// fixedPortTimeWait: the same, where the connection has been closed and its four numbers are
// in TIME_WAIT, which a peer without timestamps cannot shorten.
func fixedPortTimeWait(t *testing.T, f *incident) {
	far := twoPeers(t, f)
	far.Sysctl(t, "net.ipv4.tcp_timestamps", "0")
	f.python(t, far, "peer.py", "relay", "listen").awaits(t, "serves", 1)
	p := f.python(t, f.ns, "peer.py", "chainsync", "dial", relay, "0.1")
	p.awaits(t, "closed", 1)
	p.awaits(t, "errno 99", 2)

	s := f.look(t)
	s.only(t, "TW107 warn")
	s.noStorm(t)
	c := s.claims("TW107")
	c.says(t, `chainsync`, `10\.77\.0\.2:3001`, `:3001`, `TIME_WAIT`, `(expires?|free|until|ends?)\b.*\d+ ?s|\d+ ?s.*(expires?|free|until)`,
		`(now|fix): .*(another|different|other|chosen by|not bind|without bind|timestamps)`)
	c.never(t, `ip_local_port_range=`, `keep-alive`, `used up`, `run out`)
}

// serverPortTaken: a server cannot bind its port, which an outgoing connection of another
// process has; then it is in TIME_WAIT. As reported of Istio, Rancher and CockroachDB.
func serverPortTaken(t *testing.T, f *incident) {
	f.ns.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 40031")
	f.serves(t, f.ns, "etcd", "127.0.0.1:2379")
	client, orders := f.ordered(t, "apiserver.py", "40010")
	client.awaits(t, "has it", 1)
	server := f.python(t, f.ns, "ingress.py", "40010")
	server.awaits(t, "errno 98", 2)

	s := f.look(t)
	s.only(t, "TW104 crit")
	s.noStorm(t)
	c := s.claims("TW104")
	c.says(t, `ingress`, `40010`, `apiserver`, `127\.0\.0\.1:2379`, `open|established|live`, `outgoing|connected to|connection to`, `(now|fix): .*ip_local_reserved_ports`)
	c.never(t, `(now|fix): .*set SO_REUSEADDR`, `TIME_WAIT`, `old server`)

	_, err := io.WriteString(orders, "close\n")
	must(t, err)
	client.awaits(t, "closed", 1)
	server.awaits(t, "errno 98", len(server.said(t))/len("errno 98\n")+2)
	s = f.look(t)
	s.only(t, "TW104 crit")
	s.noStorm(t)
	c = s.claims("TW104")
	// It was closed before the trace: nobody knows any more who had it.
	c.says(t, `ingress`, `40010`, `apiserver|not known`, `127\.0\.0\.1:2379`, `TIME_WAIT`, `(expires?|free|until|ends?)\b.*\d+ ?s|\d+ ?s.*(expires?|free|until)`,
		`(now|fix): .*ip_local_reserved_ports`)
	c.never(t, `old server`)
}
