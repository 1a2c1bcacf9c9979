package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// trouble is one load in a namespace of its own, and what doctor is to find there.
type trouble struct {
	name  string
	ports int
	play  func(t *testing.T, a *act)
	want  []string // all findings of warn and above: severity, ID, comm
	also  []string // some of the lesser ones, or of those under others
	not   []string // rules that find nothing
	says  []string // in any of them
}

// troubles go on for as long as doctor watches. They are slow: what is found is a
// matter of shares and limits, and they run all at once.
var troubles = []trouble{
	{name: "ports exhausted", ports: 150, play: goesOn(caller("checkout", 40, workload.HalfClose, one), database),
		want: []string{"crit TW101 checkout"},
		says: []string{"127.0.0.7:3306 holds 150 of 150 ports", "failed with EADDRNOTAVAIL (99)"}},
	{name: "ports run out", ports: 1600, play: goesOn(caller("checkout", 40, workload.HalfClose, one), database),
		want: []string{"crit TW101 checkout"}, also: []string{"under TW201 checkout"},
		says: []string{"of 1,600 ports", "and keeps none of them", "100% closed by this side first", "100% of the recent ones use TCP timestamps"}},
	{name: "86 %", ports: 600, play: goesOn(caller("worker", 600*0.86/61, workload.HalfClose, one), database),
		want: []string{"warn TW101 worker"}, says: []string{"at this rate it settles at about"}},
	{name: "a leak of connections", ports: 300, play: goesOn(leaking(caller("leaker", 25, workload.Hold, one)), database),
		want: []string{"crit TW106 leaker"}, says: []string{"most are ESTABLISHED"}},
	{name: "bind before connect", ports: 200, play: goesOn(bindsFirst(caller("binder", 30, workload.HalfClose, many)), servers),
		want: []string{"crit TW102 binder"}, says: []string{"calls found no free port"}},
	{name: "a restart without SO_REUSEADDR", ports: 20000, play: restarts,
		want: []string{"crit TW104 perl"}, says: []string{"bind() to 127.0.0.1:7070 failed with EADDRINUSE (98)", "accepted connections are in TIME_WAIT"}},
	{name: "a program that looks for a free port", ports: 20000, play: looksForPort,
		also: []string{"info TW104 perl"}, says: []string{"bind() to 127.0.0.1:7080 failed with EADDRINUSE (98)", "it has bound 127.0.0.1:7081 since"}},
	{name: "out of descriptors", ports: 20000, play: lacksFiles,
		want: []string{"crit TW105 perl"}, says: []string{"of 40 file descriptors", "EMFILE (24)"}},
	{name: "IPv6 is off", ports: 20000, play: withoutIPv6,
		want: []string{"warn TW107 perl"}, says: []string{"to [::1]:3306 failed with EADDRNOTAVAIL (99)", "net.ipv6.conf.lo.disable_ipv6 is 1", "then 127.0.0.7:3306 works"}},
	{name: "the address of another host", ports: 20000, play: program(`while (1) { socket(my $s, PF_INET, SOCK_STREAM, 0); bind($s, pack_sockaddr_in(0, inet_aton("192.0.2.9"))); select(undef, undef, undef, 0.2) }`),
		want: []string{"warn TW107 perl"}, says: []string{"192.0.2.9 is not an address of this network namespace"}},
	{name: "the same four numbers", ports: 20000, play: program(dialsTwice),
		want: []string{"warn TW107 perl"}, says: []string{"127.0.0.1:7096 -> 127.0.0.7:3306 is taken by a connection in ESTABLISHED", "perl["}},
	{name: "the range is bound", ports: 100, play: program(bindsRange + `listen($k[$_], 1) for 30000 .. 30099; ` + connects),
		want: []string{"crit TW108 perl"}, says: []string{"ports, 30000 to 30099, are free for no destination: programs have bound"}},
	{name: "a leak of CLOSE_WAIT takes the range", ports: 100, play: program(leaksCloseWait),
		want: []string{"crit TW207 perl"}, also: []string{"under TW106 perl"}, says: []string{"most are in CLOSE_WAIT"}},
	{name: "no pool", ports: 20000, play: goesOn(caller("checkout", 40, workload.HalfClose, one), database),
		also: []string{"info TW201 checkout"}, says: []string{"to 127.0.0.7:3306 and keeps none of them", "at most 1 connection is open at once", "usually MySQL"}},
	{name: "a pool that is too small", ports: 20000, play: pooled(2),
		also: []string{"info TW201 twtrace.test"}, says: []string{"keeps 2 connections to 127.0.0.7:8080, has 10 at once", "MaxIdleConnsPerHost = 10"}},
	{name: "a pool of the right size", ports: 20000, play: pooled(10), not: []string{"TW201"}},
	{name: "a swarm", ports: 20000, play: swarms,
		also: []string{"info TW202 bash"}, says: []string{"to 127.0.0.7:3306", "started by bash["}},
	{name: "a crawler", ports: 20000, play: goesOn(caller("crawler", 30, workload.HalfClose, many), servers),
		also: []string{"info TW203 crawler"}, says: []string{"200 destinations"}},
	{name: "a server that closes first", ports: 20000, play: serverFirst,
		also: []string{"info TW204 server"}, says: []string{"it closed 100% first"}},
	{name: "buckets", ports: 20000, play: fewBuckets,
		want: []string{"crit TW205 checkout"}, also: []string{"info TW303"}, says: []string{"of 100 TIME_WAIT sockets", "refused in"}},
	{name: "resets", ports: 20000, play: goesOn(caller("resetter", 40, workload.Abort, one), database),
		want: []string{"warn TW206 resetter"}, says: []string{"it sent the resets itself"}},
	{name: "a leak of CLOSE_WAIT", ports: 20000, play: goesOn(caller("caller", 8, workload.Close, one), hoarder),
		want: []string{"warn TW207 hoarder"}, also: []string{"under TW207 caller"},
		says: []string{"stuck in CLOSE_WAIT", "stuck in FIN_WAIT2", "has the other end of"}},
	{name: "a leak of CLOSE_WAIT behind a proxy", ports: 20000, play: leaksBehindProxy,
		want: []string{"warn TW207 hoarder"}, also: []string{"under TW207 proxy", "under TW207 caller"},
		says: []string{"on 127.0.0.7:3306 stuck in CLOSE_WAIT", "this process passes a close on"}},
	{name: "nobody listens", ports: 20000, play: refuses,
		want: []string{"warn TW210 caller"}, says: []string{"ECONNREFUSED (111) (100%)"}},
	{name: "nobody answers", ports: 20000, play: drops,
		want: []string{"warn TW210 caller"}, says: []string{"127.0.0.7:3306 failed with ETIMEDOUT (110)", "it did not answer at all"}},
	{name: "a NAT without ports", ports: 20000, play: behindNAT,
		want: []string{"warn TW305 caller"}, says: []string{"connects to 198.51.100.7:443 got no answer, though 5 connections open now got one before"}},
	{name: "idle timeouts that race", ports: 20000, play: idleRace,
		want: []string{"warn TW212 pool"}, says: []string{"shop[", "closed them after about 0.4 s without data", "have pool close connections"}},
	{name: "a client that waits for half a second", ports: 20000, play: impatient,
		want: []string{"warn TW210 impatient"}, says: []string{"connects of impatient to 127.0.0.7:3306 got no answer: it gave up after 5"}},
	{name: "health checks that end with a reset", ports: 20000, play: checksHealth,
		also: []string{"info TW206 checker"}, says: []string{"no data was lost by them"}},
	{name: "idle", ports: 300, play: func(*testing.T, *act) {}},
	{name: "long connections", ports: 20000, play: goesOn(leaking2000(caller("pool", 0, workload.Hold, one)), database)},
}

// program starts a Perl program that uses sockets, and a server to which it may connect.
func program(text string) func(*testing.T, *act) {
	return func(t *testing.T, a *act) {
		t.Helper()
		goesOn(caller("idle", 0.001, workload.Close, one), database)(t, a)
		a.start(t, "perl", "-e", "use Socket qw(:all); "+text)
	}
}

func withoutIPv6(t *testing.T, a *act) {
	a.ns.Sysctl(t, "net.ipv6.conf.lo.disable_ipv6", "1")
	program(`socket(my $k, PF_INET, SOCK_STREAM, 0); connect($k, pack_sockaddr_in(3306, inet_aton("127.0.0.7"))); `+
		`while (1) { socket(my $s, PF_INET6, SOCK_STREAM, 0); connect($s, pack_sockaddr_in6(3306, inet_pton(AF_INET6, "::1"))); select(undef, undef, undef, 0.2) }`)(t, a)
}

const (
	// connects goes on calling connect().
	connects = `while (1) { socket(my $s, PF_INET, SOCK_STREAM, 0); connect($s, pack_sockaddr_in(3306, inet_aton("127.0.0.7"))); select(undef, undef, undef, 0.1) }`

	bindsRange = `for my $p (30000 .. 30099) { socket($k[$p], PF_INET, SOCK_STREAM, 0); bind($k[$p], pack_sockaddr_in($p, INADDR_LOOPBACK)) } `

	// dialsTwice connects from one port to the same server again and again.
	dialsTwice = `my $n = 0; while (1) { socket($k[$n], PF_INET, SOCK_STREAM, 0); setsockopt($k[$n], SOL_SOCKET, SO_REUSEADDR, 1); ` +
		`setsockopt($k[$n], SOL_SOCKET, SO_REUSEPORT, 1); bind($k[$n], pack_sockaddr_in(7096, INADDR_LOOPBACK)); ` +
		`connect($k[$n], pack_sockaddr_in(3306, inet_aton("127.0.0.7"))); $n = 1; select(undef, undef, undef, 0.2) }`

	// leaksCloseWait keeps connections that its own server has closed.
	leaksCloseWait = `socket(my $l, PF_INET, SOCK_STREAM, 0); bind($l, pack_sockaddr_in(7097, INADDR_LOOPBACK)); listen($l, 99); ` +
		`while (1) { socket(my $c, PF_INET, SOCK_STREAM, 0); if (connect($c, pack_sockaddr_in(7097, INADDR_LOOPBACK))) { push @k, $c; accept(my $a, $l); close $a } ` +
		`else { select(undef, undef, undef, 0.1) } }`
)

// goesOn starts a server and a client that last as long as the test.
func goesOn(c, server workload.Spec) func(*testing.T, *act) {
	return func(t *testing.T, a *act) {
		t.Helper()
		for _, s := range []workload.Spec{server, c} {
			p, err := workload.Start(context.Background(), a.ns.Path(), s)
			must(t, err)
			t.Cleanup(func() { _ = p.Kill(); _, _ = p.Wait() })
			_, err = p.Ready()
			must(t, err)
			if s.Connect != nil {
				must(t, p.Go())
			}
		}
	}
}

// leaking holds its connections, and does not stop at a failure.
func leaking(s workload.Spec) workload.Spec {
	s.Connect.Fails = 1 << 30
	return s
}

func leaking2000(s workload.Spec) workload.Spec {
	s.Connect.Count = 2000
	return s
}

func restarts(t *testing.T, a *act) {
	const server = `use IO::Socket::INET; my $s; $s = IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1", LocalPort => 7070) or sleep 1 until $s; close $s->accept while 1`
	first := a.start(t, "perl", "-e", server)
	a.serves(t, 7070)
	// The server closes first: what it leaves is on its port.
	clients := exec.Command("bash", "-c", `for i in 1 2 3; do cat < /dev/tcp/127.0.0.1/7070; done`)
	must(t, a.ns.NetNS().Do(clients.Start))
	must(t, clients.Wait())
	must(t, first.Process.Kill())
	_ = first.Wait() // it was killed
	a.start(t, "perl", "-e", server)
}

// looksForPort has a program find its port taken, and take the next one: two or three times
// while it is watched.
func looksForPort(t *testing.T, a *act) {
	a.start(t, "perl", "-e", `use IO::Socket::INET; sub on { IO::Socket::INET->new(Listen => 5, LocalAddr => "127.0.0.1", LocalPort => shift) } `+
		`my $s = on(7080); while (1) { my $t = on(7080) || on(7081); sleep 5 }`)
}

func lacksFiles(t *testing.T, a *act) {
	goesOn(caller("idle", 0.001, workload.Close, one), hoarder)(t, a)
	a.start(t, "sh", "-c", `ulimit -n 40; exec perl -e 'use Socket; while (1) { socket($s[$n], PF_INET, SOCK_STREAM, 0) and connect($s[$n], pack_sockaddr_in(3306, inet_aton("127.0.0.7"))) and $n++ or select(undef, undef, undef, 0.5) }'`)
}

func swarms(t *testing.T, a *act) {
	goesOn(caller("idle", 0.001, workload.Close, one), database)(t, a)
	a.start(t, "bash", "-c", `exec -a swarm.sh bash -c 'while :; do bash -c "exec 3<>/dev/tcp/127.0.0.7/3306"; sleep 0.02; done'`)
}

func serverFirst(t *testing.T, a *act) {
	server := workload.Spec{Comm: "server", CountOnly: true, Serve: &workload.Serve{At: one, End: workload.Close}}
	goesOn(caller("caller", 150, workload.WaitEOF, one), server)(t, a)
}

func fewBuckets(t *testing.T, a *act) {
	a.ns.Sysctl(t, "net.ipv4.tcp_max_tw_buckets", "100")
	goesOn(caller("checkout", 15, workload.HalfClose, one), database)(t, a)
}

func refuses(t *testing.T, a *act) {
	goesOn(caller("caller", 8, workload.Close, []netip.AddrPort{netip.MustParseAddrPort("127.0.0.7:9")}), database)(t, a)
}

// netfilter sets rules, and wants the kernel to have what they take.
func netfilter(t *testing.T, ns *kerneltest.NS, rules string) {
	t.Helper()
	kerneltest.RequireTool(t, "nft", "nftables")
	out, err := exec.Command("nsenter", "--net="+ns.Path(), "nft", rules).CombinedOutput()
	if err != nil {
		t.Fatalf("nft: %v: %s", err, out)
	}
}

// unanswered has connections kept to a destination by twelve threads that give up after two
// or three seconds, however many fail.
func unanswered(t *testing.T, a *act, to []netip.AddrPort) {
	t.Helper()
	a.ns.Sysctl(t, "net.ipv4.tcp_syn_retries", "1")
	if _, err := os.Stat("/proc/sys/net/ipv4/tcp_syn_linear_timeouts"); err == nil { // from 6.5 on it adds to them
		a.ns.Sysctl(t, "net.ipv4.tcp_syn_linear_timeouts", "0")
	}
	c := leaking(caller("caller", 6, workload.Hold, to))
	c.Workers = 12
	p := start(t, a.ns, c)
	t.Cleanup(func() { _ = p.Kill(); _, _ = p.Wait() })
	_, err := p.Ready()
	must(t, err)
	must(t, p.Go())
}

func drops(t *testing.T, a *act) {
	netfilter(t, a.ns, "add table ip t; add chain ip t i { type filter hook input priority 0; }; add rule ip t i tcp dport 3306 drop")
	unanswered(t, a, one)
}

// behindNAT has a server with a public address see its clients through a NAT that has five
// ports for them.
func behindNAT(t *testing.T, a *act) {
	far := kerneltest.NetNS(t)
	w, err := workload.NewWire(a.ns.Path(), far.Path())
	must(t, err)
	t.Cleanup(func() { _ = w.Close() }) // it is cut while SYNs are on their way
	public := netip.MustParseAddrPort("198.51.100.7:443")
	far.AddAddr(t, "lo", public.Addr().String()+"/32")
	for ns, to := range map[*kerneltest.NS]string{a.ns: public.Addr().String(), far: "203.0.113.1"} {
		if out, err := exec.Command("nsenter", "--net="+ns.Path(), "ip", "route", "add", to, "dev", "wire0").CombinedOutput(); err != nil {
			t.Fatalf("ip route: %v: %s", err, out)
		}
	}
	netfilter(t, far, "add table ip t; add chain ip t i { type nat hook input priority 100; }; "+
		"add rule ip t i tcp dport 443 snat to 203.0.113.1:50000-50004")
	serve(t, far, workload.Spec{Comm: "far", CountOnly: true, Serve: &workload.Serve{At: []netip.AddrPort{public}, End: workload.Hold}})
	unanswered(t, a, []netip.AddrPort{public})
	awaitSockets(t, a.ns, 5, "state", "established")
}

// idleRace has a server close what was idle for 0.4 s, and a pool use some of it after 0.7 s.
func idleRace(t *testing.T, a *act) {
	a.start(t, "perl", "-e", `use IO::Socket::INET; $0 = "shop"; $SIG{CHLD} = "IGNORE"; `+
		`my $s = IO::Socket::INET->new(Listen => 50, LocalAddr => "127.0.0.1", LocalPort => 7090); while (my $c = $s->accept) { if (!fork) { close $s; `+
		`while (1) { my $r = ""; vec($r, fileno $c, 1) = 1; last if !select($r, undef, undef, 0.4); sysread $c, my $b, 9 or last; syswrite $c, "ok" } exit } close $c }`)
	a.serves(t, 7090)
	a.start(t, "perl", "-e", `use IO::Socket::INET; $0 = "pool"; $SIG{PIPE} = "IGNORE"; fork for 1 .. 3; while (1) { $c //= IO::Socket::INET->new("127.0.0.1:7090"); `+
		`if (!syswrite $c, "hi" or !sysread $c, my $b, 9) { close $c; undef $c; next } select undef, undef, undef, rand() < 0.3 ? 0.7 : 0.1 }`)
}

// impatient does not wait for the kernel to give up.
func impatient(t *testing.T, a *act) {
	netfilter(t, a.ns, "add table ip t; add chain ip t i { type filter hook input priority 0; }; add rule ip t i tcp dport 3306 drop")
	a.start(t, "perl", "-e", `use IO::Socket::INET; $0 = "impatient"; fork for 1 .. 2; while (1) { `+
		`socket my $s, PF_INET, SOCK_STREAM, 0; $s->blocking(0); connect $s, pack_sockaddr_in(3306, inet_aton("127.0.0.7")); select undef, undef, undef, 0.5; close $s }`)
}

// checksHealth sees whether servers take connections, and no more.
func checksHealth(t *testing.T, a *act) {
	goesOn(caller("idle", 0.001, workload.Close, many), servers)(t, a)
	var to string
	for _, at := range many[:4] {
		to += fmt.Sprintf(`pack_sockaddr_in(%d, inet_aton("%s")),`, at.Port(), at.Addr())
	}
	a.start(t, "perl", "-e", `use Socket; $0 = "checker"; while (1) { socket my $s, PF_INET, SOCK_STREAM, 0; connect $s, (`+to+`)[$n++ % 4]; `+
		`setsockopt $s, SOL_SOCKET, SO_LINGER, pack "ii", 1, 0; close $s; select undef, undef, undef, 0.04 }`)
}

// diagnosed is what the tests read of `twtrace doctor -o json`.
type diagnosed struct {
	Verdict string
	Checks  []diagnosedCheck
}

type diagnosedCheck struct {
	ID, Group, Status, What, Who, When, Reason string
	Scope                                      struct {
		NetNS uint32
		Comm  string
		PID   uint32
	}
	Remedies     []struct{ Kind, Text, Command, Undo string }
	Consequences []diagnosedCheck
}

// said is all that c says, as line has it.
func (c *diagnosedCheck) said(line string) (words string) {
	for _, s := range []string{line, c.What, c.Who, c.When, c.Reason} {
		words += s + "\n"
	}
	for _, r := range c.Remedies {
		words += r.Kind + " " + r.Text + "\n"
	}
	return words
}

func doctorJSON(t *testing.T, args ...string) (d diagnosed, code int) {
	t.Helper()
	out, errs, code := twtrace(t, append([]string{"doctor", "-o", "json"}, args...)...)
	if err := json.Unmarshal([]byte(out), &d); err != nil {
		t.Fatalf("%v: %s%s", err, out, errs)
	}
	return d, code
}

// in returns what was found in a namespace, but for what is about the trace itself. What is
// under another finding is quiet.
func (d *diagnosed) in(netns uint32) (loud, quiet []string, said string) {
	for _, c := range d.Checks {
		if c.Scope.NetNS != netns || c.Group != "host" || c.ID == "TW900" {
			continue
		}
		line := strings.TrimSpace(c.Status + " " + c.ID + " " + c.Scope.Comm)
		if c.Status == "crit" || c.Status == "warn" {
			loud = append(loud, line)
		} else {
			quiet = append(quiet, line)
		}
		said += c.said(line)
		for _, u := range c.Consequences {
			line := strings.TrimSpace("under " + u.ID + " " + u.Scope.Comm)
			quiet = append(quiet, line)
			said += u.said(line)
		}
	}
	slices.Sort(loud)
	return slices.Compact(loud), quiet, said
}

// TestDoctorRulesTraced has all the troubles at once, and one doctor who looks at them.
func TestDoctorRulesTraced(t *testing.T) {
	var spaces []string
	acts := make([]*act, len(troubles))
	for i, tr := range troubles {
		a := &act{ns: kerneltest.NetNS(t), dir: t.TempDir()}
		hold(t, a.ns)
		a.ns.Sysctl(t, "net.ipv4.ip_local_port_range", fmt.Sprintf("30000 %d", 30000+tr.ports-1))
		a.ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
		tr.play(t, a)
		acts[i] = a
		spaces = append(spaces, fmt.Sprint(a.ns.Inum()))
	}
	awaitTroubles(t, acts)
	d, code := doctorJSON(t, "--window", "12s", "-N", strings.Join(spaces, ","))
	if code != 2 || d.Verdict != "crit" {
		t.Errorf("exit code %d, verdict %s", code, d.Verdict)
	}
	for i, tr := range troubles {
		t.Run(tr.name, func(t *testing.T) {
			loud, quiet, said := d.in(acts[i].ns.Inum())
			if kerneltest.PID1Artefact() { // of a socket whose begin was hidden it is not known
				said = strings.ReplaceAll(said, "99% of the recent ones", "100% of the recent ones")
			}
			if !slices.Equal(loud, tr.want) {
				t.Errorf("found %q, want %q", loud, tr.want)
			}
			for _, line := range tr.also {
				if !slices.Contains(quiet, line) {
					t.Errorf("no %q among %q", line, quiet)
				}
			}
			for _, rule := range tr.not {
				if strings.Contains(said, rule) {
					t.Errorf("%s found something", rule)
				}
			}
			for _, words := range tr.says {
				if !strings.Contains(said, words) {
					t.Errorf("it is not said that %q", words)
				}
			}
			if t.Failed() {
				t.Log(said)
			}
		})
	}
}

// awaitTroubles waits until those are there that take a while.
func awaitTroubles(t *testing.T, acts []*act) {
	t.Helper()
	enough := map[string]int{"ports exhausted": 150, "buckets": 100, "a server that closes first": 1000, "bind before connect": 200}
	for i, tr := range troubles {
		n, ok := enough[tr.name]
		if !ok {
			continue
		}
		kerneltest.Eventually(t, patience, func() (bool, string) {
			tw := acts[i].ns.Sockstat(t)["TCP tw"]
			return tw >= uint64(n), fmt.Sprintf("%s: %d in TIME_WAIT, want %d", tr.name, tw, n)
		})
	}
}

// TestDoctorNamespacesGoneTraced has namespaces go away while doctor watches.
func TestDoctorNamespacesGoneTraced(t *testing.T) {
	kerneltest.RequireRoot(t)
	cmd := command("doctor", "-o", "json", "--window", "12s")
	var out strings.Builder
	var said talk
	cmd.Stdout, cmd.Stderr = &out, &said
	must(t, cmd.Start())
	tracing(t, cmd)
	for range 3 { // the first may come before all hooks are attached
		useNetNS(t, unusedAddr(), 50)
	}
	_ = cmd.Wait() // what its exit code is depends on what else happens on this host
	var d diagnosed
	if err := json.Unmarshal([]byte(out.String()), &d); err != nil {
		t.Fatalf("%v: %s%s", err, out.String(), said.String())
	}
	for _, c := range d.Checks {
		if c.ID == "TW304" {
			if c.Status != "info" || !strings.Contains(c.What, "network namespace") {
				t.Errorf("%s: %s", c.Status, c.What)
			}
			return
		}
	}
	t.Errorf("no TW304 among %+v", d.Checks)
}

// tracing waits until the hooks of a process are there: links are among its descriptors,
// and have not become more for two seconds, nor for twice as long as that took before.
func tracing(t *testing.T, cmd *exec.Cmd) {
	t.Helper()
	links, since, longest := "0", time.Now(), time.Second
	kerneltest.Eventually(t, patience, func() (bool, string) {
		out, _ := exec.Command("sh", "-c", fmt.Sprintf("ls -l /proc/%d/fd | grep -c bpf_link", cmd.Process.Pid)).Output()
		if now := strings.TrimSpace(string(out)); now != links {
			if links != "0" {
				longest = max(longest, time.Since(since))
			}
			links, since = now, time.Now()
		}
		return links != "0" && time.Since(since) > 2*longest, links + " hooks are attached"
	})
}
