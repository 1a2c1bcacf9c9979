package main

import (
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// leftByEarlierRun: a load test has taken all ports and ended; another program cannot
// connect now. As reported of FrameworkBenchmarks and siege.
func leftByEarlierRun(t *testing.T, f *incident) {
	f.ports(t, 40000, 40499)
	f.serves(t, f.ns, "backend", "127.0.0.1:8080")
	bench := f.python(t, f.ns, "clients.py", "bench", "8080", "200", "ends")
	must(t, bench.Wait())
	if !strings.Contains(bench.said(t), "errno 99 opened 500") {
		t.Fatalf("bench: %s", bench.said(t))
	}
	f.python(t, f.ns, "clients.py", "api", "8080", "2").awaits(t, "errno 99", 1)

	s := f.look(t)
	s.only(t, "TW101 crit")
	c := s.claims("TW101")
	c.says(t, `500 of 500 ports`, `127\.0\.0\.1:8080`, `\bapi\b`, `(older than|before) the trace|before the trace started`,
		`(entered|began|started|opened)\b.*(\d\d:\d\d:\d\d|ago)`, `(free|expires?|come)\b.*(\d\d:\d\d:\d\d|\d+ ?s)`)
	c.never(t, `api\[\d+\] (holds|opened|opens|closed)`, `only 2/s would`, `settles`)
}

// ownTimeout: the NAT on the way out has no port left, so SYNs vanish, and the program gives
// up after 2 s, long before the kernel would. As reported of Azure's SNAT.
func ownTimeout(t *testing.T, f *incident) {
	router, far := kerneltest.NetNS(t), kerneltest.NetNS(t)
	hold(t, router)
	hold(t, far)
	veth(t, f.ns, "e0", "10.83.1.2/24", router, "c0", "10.83.1.1/24")
	runIn(t, f.ns, "ip", "route", "add", "default", "via", "10.83.1.1")
	veth(t, far, "e0", "203.0.113.10/24", router, "s0", "203.0.113.1/24")
	router.Sysctl(t, "net.ipv4.ip_forward", "1")
	netfilter(t, router, `add table ip nat; add chain ip nat post { type nat hook postrouting priority 100; }; `+
		`add rule ip nat post oifname "s0" ip protocol tcp masquerade to :50000-50015`)
	f.serves(t, far, "tokens", "203.0.113.10:443")
	f.python(t, f.ns, "tokens.py").awaits(t, `timeouts [1-9][0-9]`, 1)

	s := f.look(t)
	check := func(v verdict) {
		t.Helper()
		v.only(t, "TW305 warn", "TW210 warn")
		c := v.claims("TW305", "TW210")
		c.says(t, `203\.0\.113\.10:443`, `NAT`)
		if v.Traced {
			c.says(t, `token-client`, `(gave|gives?|given) up`, `\b(about )?2(\.\d)? ?s\b`)
		}
		c.never(t, `ip_local_port_range=`, `tcp_tw_reuse=`)
	}
	check(s.verdict)
	s.noStorm(t)
	// One snapshot may find most of them asleep between two connects.
	for tries := 1; ; tries++ {
		o := ended(t, command("doctor", "--no-bpf", "-o", "json", "--window", "1s", "-N", f.ns.Path()))
		honest(t, "doctor --no-bpf", o.stdout)
		if v := verdictOf(t, o); len(v.alarms()) > 0 || tries == 5 {
			check(v)
			return
		}
	}
}

// oneReport: the headline of a report and its findings are about the same ports, and say the
// same of them, where ports are reused after a second.
func oneReport(t *testing.T, f *incident) {
	const wanted, tries = 2, 6
	filled := 0
	for range tries {
		if filled == wanted {
			return
		}
		ns := kerneltest.NetNS(t)
		ns.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 40999")
		ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "2")
		f.serves(t, ns, "backend", "127.0.0.1:8080")
		file := filepath.Join(t.TempDir(), "burst.ndjson.zst")
		cmd := command("record", "-w", file, "-N", ns.Path(), "--syscalls", "on")
		cmd.Stdout, cmd.Stderr = os.Stderr, os.Stderr
		must(t, cmd.Start())
		tracing(t, cmd)
		burst := f.python(t, ns, "burst.py")
		must(t, burst.Wait())
		must(t, cmd.Process.Signal(unix.SIGINT))
		must(t, cmd.Wait())
		if !strings.Contains(burst.said(t), "failed 100\n") {
			t.Logf("it did not fill the range within a second: %s", burst.said(t))
			continue
		}
		filled++
		said := ran("report", "-o", "md", "-r", file)
		honest(t, "report", said.stdout)
		for _, pattern := range []string{`ran out at [\d:]+ \(([\d,]+) of ([\d,]+) in use\)`, `\*\*what\*\*: .* held ([\d,]+) of ([\d,]+) ports`} {
			all := regexp.MustCompile(pattern).FindAllStringSubmatch(said.stdout, -1)
			if len(all) == 0 {
				t.Errorf("no %q in the report:\n%s", pattern, said.stdout)
			}
			for _, m := range all {
				if m[1] != "1,000" || m[2] != "1,000" {
					t.Errorf("%q: all of 1,000 ports were in use, or no call would have failed:\n%s", m[0], said.stdout)
				}
			}
		}
		honest(t, "ports -r", ran("ports", "-r", file).stdout)
	}
	if filled == 0 {
		t.Errorf("the range was not filled within a second in any of %d tries", tries)
	}
}
