package main

import (
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// transparentProxy: connections to another address are redirected to a proxy, while a
// program listens on their port that has nothing to do with them.
func transparentProxy(t *testing.T, f *incident) {
	kerneltest.RequireTool(t, "ip", "iproute2")
	for _, args := range [][]string{
		{"addr", "add", "10.1.1.1/32", "dev", "lo"},
		{"route", "add", "10.9.9.9/32", "dev", "lo", "src", "10.1.1.1"},
		{"rule", "add", "fwmark", "1", "lookup", "100"},
		{"route", "add", "local", "0.0.0.0/0", "dev", "lo", "table", "100"},
	} {
		runIn(t, f.ns, append([]string{"ip"}, args...)...)
	}
	netfilter(t, f.ns, "add table ip t; "+
		"add chain ip t o { type route hook output priority -150; }; add rule ip t o ip daddr 10.9.9.9 tcp dport 80 meta mark set 1; "+
		"add chain ip t p { type filter hook prerouting priority -150; }; "+
		"add rule ip t p ip daddr 10.9.9.9 tcp dport 80 meta mark 1 tproxy to 127.0.0.1:9999 accept")
	f.python(t, f.ns, "tproxy.py").awaits(t, "serves", 1)
	f.serves(t, f.ns, "innocent", "0.0.0.0:80")
	var traces []*trace
	for _, syscalls := range []string{"off", "on"} {
		traces = append(traces, startTrace(t, "-N", f.ns.Path(), "--syscalls", syscalls, "--states", "all"))
	}
	for end, rate := range map[string]string{"close": "15", "reset": "3"} { // more resets would be a finding
		f.python(t, f.ns, "callers.py", "10.9.9.9", "80", rate, end).awaits(t, "connected 9", 1)
	}
	s := f.look(t)
	s.only(t)
	s.noStorm(t)
	for _, row := range rowsOf(s.top) {
		if row["GROUP"] == "innocent" {
			t.Errorf("top: %v", row)
		}
	}
	for _, tr := range traces {
		tr.stop()
		servers := 0
		for _, r := range tr.all() {
			if r.Role != "server" || r.Laddr.String() != "10.9.9.9" {
				continue
			}
			servers++
			for _, comm := range []string{r.Comm, r.OpenerComm, r.AcceptComm, r.CloserComm} {
				if comm == "innocent" {
					t.Fatalf("a connection of the proxy is innocent's: %+v", r)
				}
			}
		}
		if servers < 40 {
			t.Errorf("%d records of the proxy's sockets", servers)
		}
	}
}
