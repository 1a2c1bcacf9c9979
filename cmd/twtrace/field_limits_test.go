package main

import (
	"regexp"
	"strings"
	"testing"
)

// rangeBound: the whole range is bound by another program, so that nobody can connect
// anywhere.
func rangeBound(t *testing.T, f *incident) {
	f.ports(t, 40000, 40199)
	f.serves(t, f.ns, "servers", "127.0.0.1:80", "127.0.0.1:81")
	f.python(t, f.ns, "binder.py", "40000", "40199").awaits(t, "bound", 1)
	s := f.refused(t)
	s.says(t, `binder`, `\b200\b`)
}

// rangeReserved: the whole range is reserved.
func rangeReserved(t *testing.T, f *incident) {
	f.ports(t, 40000, 40199)
	f.serves(t, f.ns, "servers", "127.0.0.1:80", "127.0.0.1:81")
	f.ns.Sysctl(t, "net.ipv4.ip_local_reserved_ports", "40000-40199")
	s := f.refused(t)
	s.says(t, `ip_local_reserved_ports`, `\b200\b`)
}

// refused has a program fail to connect to two destinations for lack of any port.
func (f *incident) refused(t *testing.T) claim {
	t.Helper()
	for _, port := range []string{"80", "81"} {
		f.python(t, f.ns, "clients.py", "caller", port, "10").awaits(t, "errno 99", 2)
	}
	s := f.look(t)
	s.only(t, "TW108 crit")
	c := s.claims("TW108")
	c.says(t, `caller`, `(all|every|any) destination`)
	c.never(t, `other destinations still work`, `tcp_tw_reuse=`, `reuse connections`, `(held|holds?|are) (by|in) TIME_WAIT`)
	return c
}

// closeWaitLeak: a client does not close what the server has closed, until it has no port
// for more.
func closeWaitLeak(t *testing.T, f *incident) {
	f.ns.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 40199")
	f.python(t, f.ns, "leaker.py", "server").awaits(t, "serves", 1)
	f.python(t, f.ns, "leaker.py", "client").awaits(t, "errno 99", 2)
	check := func(v verdict) {
		t.Helper()
		v.only(t, "TW106 crit", "TW207 crit", "TW207 warn") // the leak may be first, with the ports under it
		c := v.claims("TW106", "TW207")
		c.says(t, `CLOSE_WAIT`, `127\.0\.0\.1:80`, `200 of 200`, `never (does|closes)|does not close`, `(now|fix): .*clos`)
		c.never(t, `ESTABLISHED`, `too large`, `tcp_tw_reuse=`)
	}
	s := f.look(t)
	check(s.verdict)
	s.claims("TW106", "TW207").says(t, `leaker`)
	o := ended(t, command("doctor", "--no-bpf", "-o", "json", "--window", "3s", "-N", f.ns.Path()))
	honest(t, "doctor --no-bpf", o.stdout)
	check(verdictOf(t, o))
}

// noBucketLimit: -1 is no limit of TIME_WAIT, and -1 is what undoes a change of it.
func noBucketLimit(t *testing.T, f *incident) {
	f.ns.Sysctl(t, "net.ipv4.tcp_max_tw_buckets", "-1")
	f.serves(t, f.ns, "backend", "127.0.0.1:8080")
	f.python(t, f.ns, "clients.py", "client", "8080", "20")
	awaitSockets(t, f.ns, 100, "state", "time-wait")

	s := f.look(t)
	s.only(t)
	s.noStorm(t)
	all := []string{s.report, s.ports, s.top}
	for _, args := range [][]string{{"--no-bpf", "-o", "json"}, {"--no-bpf"}, {"--sysctl"}, {"--no-bpf", "--sysctl"}} {
		o := ended(t, command(append([]string{"doctor", "--window", "1s", "-N", f.ns.Path()}, args...)...))
		if o.code != 0 {
			t.Errorf("doctor %s: exit code %d: %s", strings.Join(args, " "), o.code, o.stdout)
		}
		all = append(all, o.stdout)
	}
	zero := regexp.MustCompile(`tcp_max_tw_buckets(=| is |: )0|TIME_WAIT is allowed|of 0 TIME_WAIT|\d[0-9]* of -1`)
	for _, said := range all {
		if at := zero.FindStringIndex(said); at != nil {
			t.Errorf("%q in\n%s", said[at[0]:at[1]], said)
		}
	}
}
