package main

import (
	"encoding/json"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// TestScenarioHealthy: where TIME_WAIT is not the problem, it says so and nothing else.
func TestScenarioHealthy(t *testing.T) {
	kerneltest.RequireRoot(t)
	database := t.TempDir()
	installMariaDB(t, database)
	places := make(chan struct{}, onStageAtOnce)
	for _, tt := range []struct {
		name string
		play func(t *testing.T, a *act)
	}{
		{"idle", func(*testing.T, *act) {}},
		{"health checks that end in RST", func(t *testing.T, a *act) {
			nginx(t, a, true)
			checks(t, a, "reset", "127.0.0.1:8081")
		}},
		{"probes of 12 pods", func(t *testing.T, a *act) {
			var pods []string
			for i := range 12 {
				pods = append(pods, fmt.Sprintf("127.88.0.%d:8080", i+1))
			}
			f := &incident{a.ns, a.dir}
			f.serves(t, a.ns, "pod", pods...)
			checks(t, a, "close", pods...)
		}},
		{"nginx, wrk with keep-alive", func(t *testing.T, a *act) {
			nginx(t, a, true)
			a.start(t, "nice", "-n", "10", "wrk", "-t", "1", "-c", "20", "-d", "60s", served)
			awaitSockets(t, a.ns, 20, "state", "established", "sport", "=", ":8081")
		}},
		{"MariaDB, a pool", func(t *testing.T, a *act) {
			mariadb(t, a)
			queries(t, a, true)
		}},
		{"nginx as a proxy with keep-alive", func(t *testing.T, a *act) {
			nginx(t, a, true)
			a.start(t, "nice", "-n", "10", "wrk", "-t", "1", "-c", "6", "-d", "60s", proxied)
			awaitSockets(t, a.ns, 12, "state", "established", "(", "sport", "=", ":8080", "or", "sport", "=", ":8081", ")")
		}},
		{"a pool as large as its bursts", pooled(burstSize)},
		{"2,000 long connections", func(t *testing.T, a *act) { holdPorts(t, a.ns, 2000) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			places <- struct{}{}
			defer func() { <-places }()
			a := &act{stage: &stage{database: database}, ns: kerneltest.NetNS(t), dir: t.TempDir()}
			hold(t, a.ns)
			tt.play(t, a)
			s := (&incident{a.ns, a.dir}).look(t)
			s.healthy(t, a.ns)
			s.noStorm(t)
		})
	}
}

// healthy wants the verdict that nothing is wrong, and nothing else that needs care.
func (v verdict) healthy(t *testing.T, ns *kerneltest.NS) {
	t.Helper()
	if v.ExitCode != 0 || v.Verdict != "ok" || len(v.of("TW000", ns)) != 1 || len(v.alarms()) != 0 || len(v.of("TW201", ns)) != 0 || !v.Traced {
		t.Errorf("exit code %d, verdict %s, traced %v, alarms %v:%s", v.ExitCode, v.Verdict, v.Traced, v.alarms(), v.words())
	}
}

// checks has a program look every second whether servers are there, and waits until it has
// twice.
func checks(t *testing.T, a *act, end string, at ...string) {
	t.Helper()
	f := &incident{a.ns, a.dir}
	f.python(t, a.ns, "checker.py", append([]string{end}, at...)...).awaits(t, "checked", 2)
}

// TestScenarioHealthyNamespaces has 200 namespaces come and go while doctor watches one of
// its own, and the host.
func TestScenarioHealthyNamespaces(t *testing.T) {
	kerneltest.RequireRoot(t)
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	kept := command("doctor", "-o", "json", "--window", "8s", "-N", ns.Path())
	host := command("doctor", "-o", "json", "--window", "8s")
	storms := command("storms", "-o", "json", "--duration", "8s")
	var said [3]outcome
	var all sync.WaitGroup
	for i, cmd := range []*exec.Cmd{kept, host, storms} {
		all.Go(func() { said[i] = ended(t, cmd) })
	}
	gone := make(map[uint32]bool)
	at := unusedAddr()
	for range 200 {
		inum, _ := useNetNS(t, at, 5)
		gone[inum] = true
	}
	all.Wait()
	verdictOf(t, said[0]).healthy(t, ns)
	v := verdictOf(t, said[1])
	for _, x := range v.Checks {
		if (x.Status == "warn" || x.Status == "crit") && (gone[x.Scope.Netns] || x.Scope.Netns == 0 || x.Scope.Netns == ns.Inum()) {
			t.Errorf("%s %s: %s; %s; %s", x.Status, x.ID, x.What, x.Who, x.Reason)
		}
	}
	for line := range strings.Lines(said[2].stdout) {
		var r record
		must(t, json.Unmarshal([]byte(line), &r))
		if begun(r) && (gone[r.Netns] || r.Raddr == at.Addr()) {
			t.Errorf("a storm: %s", line)
		}
	}
	for i, o := range said {
		honest(t, []string{"doctor -N", "doctor", "storms"}[i], o.stdout)
	}
}
