// Package demo is what `twtrace demo` shows: a network namespace in which a client
// uses up the ports towards a database, beside a well-behaved neighbour.
//
// The processes are this program again, each started with a hidden command of its own
// that works for nobody but the demo; see [Main].
package demo

import (
	"errors"
	"fmt"
	"net/netip"

	"github.com/twtrace/twtrace/internal/netns"
)

// The namespace has 2,000 ports towards a destination and no early reuse. The client
// opens 133 connections a second, and uses them up in 15 s.
const (
	ports         = "40000 41999"
	checkoutRate  = 133
	neighbourRate = 5
)

var (
	database = netip.MustParseAddrPort("127.0.0.7:3306")
	cache    = netip.MustParseAddrPort("127.0.0.8:6379")
)

// role is what one process does: it accepts connections at Listen, or opens Rate
// connections a second to Connect and closes each first.
type role struct {
	Comm    string         `json:"comm"` // name of the process, at most 15 bytes
	Listen  netip.AddrPort `json:"listen,omitzero"`
	Connect netip.AddrPort `json:"connect,omitzero"`
	Rate    float64        `json:"rate,omitempty"` // connections per second
}

// roles are the servers first, then their clients.
func roles() []role {
	return []role{
		{Comm: "database", Listen: database},
		{Comm: "cache", Listen: cache},
		{Comm: "checkout", Connect: database, Rate: checkoutRate},
		{Comm: "cron-job", Connect: cache, Rate: neighbourRate},
	}
}

// Demo is a network namespace and the processes in it. Its methods are for one
// goroutine at a time.
type Demo struct {
	ns        *netns.NS
	processes []*process
	clients   []*process // of these
}

// New makes the namespace. Nothing runs in it yet. It needs CAP_SYS_ADMIN; the error
// is then in the chain. The caller must call Close.
func New() (*Demo, error) {
	ns, err := netns.New()
	if err != nil {
		return nil, err
	}
	d := &Demo{ns: ns}
	for name, value := range map[string]string{
		"net.ipv4.ip_local_port_range": ports,
		"net.ipv4.tcp_tw_reuse":        "0",
	} {
		if err := ns.Sysctl(name, value); err != nil {
			return nil, errors.Join(err, d.Close())
		}
	}
	return d, nil
}

// Path names the namespace to other processes, until Close.
func (d *Demo) Path() string { return d.ns.Path() }

// Start starts the processes. It returns once the servers listen and the clients have
// started to connect.
func (d *Demo) Start() error {
	for _, r := range roles() {
		p, err := startProcess(d.ns.Do, r)
		if err != nil {
			return fmt.Errorf("start %s: %w", r.Comm, err)
		}
		d.processes = append(d.processes, p)
		if r.Connect.IsValid() {
			d.clients = append(d.clients, p)
		}
	}
	return nil
}

// Stop kills the clients. Their sockets stay in TIME_WAIT, as they do elsewhere.
func (d *Demo) Stop() {
	for _, p := range d.clients {
		p.end()
	}
	d.clients = nil
}

// Close kills the processes and gives the namespace up.
func (d *Demo) Close() error {
	for _, p := range d.processes {
		p.end()
	}
	return d.ns.Close()
}
