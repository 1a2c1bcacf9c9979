package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// twoIdle: a Go client with ten goroutines and the default Transport, which keeps two idle
// connections per host and closes the others. As reported of Go, boulder and redigo.
func twoIdle(t *testing.T, f *incident) {
	f.ports(t, 40000, 44999)
	shop := filepath.Join(f.dir, "shop") // the name that it has
	self, err := os.Executable()
	must(t, err)
	must(t, os.Symlink(self, shop))
	run := func(mode string) *actor {
		cmd := exec.Command(shop)
		cmd.Env = append(os.Environ(), asShop+"="+mode)
		return f.play(t, f.ns, cmd)
	}
	run("serve").awaits(t, "serves", 1)
	run("2").awaits(t, `fresh [1-9][0-9]{2,}`, 1)

	s := f.look(t)
	s.only(t, "TW101 crit", "TW101 warn", "TW201 warn")
	c := s.claims("TW101", "TW201")
	c.says(t, `shop`, `127\.0\.0\.1:8080`, `MaxIdleConnsPerHost`, `keeps? (about |only )?(2|two)\b`, `(needs|has|keep) (about )?(8|9|10|11|12)\b`)
	c.never(t, `reuses none`, `no pool`, `pool is missing`)
}

// keepAliveRace: node closes a connection after 1 s without a request, and the pool in front
// of it writes on one later. As reported of Node, Puma behind nginx, and load balancers.
func keepAliveRace(t *testing.T, f *incident) {
	kerneltest.RequireTool(t, "node", "nodejs")
	script, err := filepath.Abs("testdata/field/keepalive.js")
	must(t, err)
	f.play(t, f.ns, exec.Command("node", script)).awaits(t, "serves", 1)
	f.python(t, f.ns, "loadbalancer.py").awaits(t, `failed [1-9]`, 1)

	s := f.look(t)
	s.only(t, "TW212 warn")
	s.noStorm(t)
	c := s.claims("TW212")
	c.says(t, `loadbalancer`, `\b(node|MainThread)\b`, `127\.0\.0\.1:3000`, `\b(1|1\.\d|0\.9\d?) ?s\b`, `idle`, `reset`,
		`(now|fix): .*(server|node|keep-?alive ?timeout)`, `(now|fix): .*(pool|client)`)
	c.never(t, `crash`, `queue`)
}

// threeServices: three programs use up the ports to one database together; a fourth one has
// four processes. As reported of clients of Redis, PostgreSQL and MySQL.
func threeServices(t *testing.T, f *incident) {
	f.ports(t, 40000, 41999)
	f.serves(t, f.ns, "mysqld", "127.0.0.1:3306", "127.0.0.1:6379")
	var clients []*actor
	for _, c := range [][]string{{"orders", "3306", "40"}, {"billing", "3306", "30"}, {"search", "3306", "25"},
		{"worker", "6379", "20"}, {"worker", "6379", "20"}, {"worker", "6379", "20"}, {"worker", "6379", "20"}} {
		clients = append(clients, f.python(t, f.ns, "clients.py", c...))
	}
	awaitSockets(t, f.ns, 300, "state", "time-wait")
	shares := func() {
		t.Helper()
		s := f.look(t)
		s.only(t, "TW101 crit")
		s.storming(t)
		c := s.claims("TW101")
		c.shares(t, map[string]float64{"orders": 40, "billing": 30, "search": 25})
		c.says(t, `worker`, `(4|four) processes|(x|×) ?4|4 ?(x|×)`)
		c.rates(t, "worker", 80)
	}
	shares()
	for _, p := range clients {
		p.awaits(t, "errno 99", 20)
	}
	shares() // of what is refused, too
}

// shares wants the words to name each program with its rate and its share of all.
func (c claim) shares(t *testing.T, perSecond map[string]float64) {
	t.Helper()
	all := 0.0
	for _, r := range perSecond {
		all += r
	}
	for comm, r := range perSecond {
		c.rates(t, comm, r)
		share := 100 * r / all
		if !c.gives(comm, `%`, share-5, share+5) {
			t.Errorf("%s does not give %s a share of about %.0f %%:\n%s", c.id, comm, share, c.words)
		}
	}
}

// rates wants the words to give a program's own rate.
func (c claim) rates(t *testing.T, comm string, perSecond float64) {
	t.Helper()
	if !c.gives(comm, `/s`, 0.8*perSecond, 1.2*perSecond) {
		t.Errorf("%s does not give %s about %.0f/s:\n%s", c.id, comm, perSecond, c.words)
	}
}

// gives reports whether a number within bounds is, with its unit, the first such number
// behind a name, or the sum of two: what is wanted is opened in part and refused in part,
// where ports have come free meanwhile.
func (c claim) gives(comm, unit string, low, high float64) bool {
	sums := []float64{0}
	for _, m := range regexp.MustCompile(comm+`\b[^;\n]*?\b(\d+(?:\.\d+)?) ?`+unit).FindAllStringSubmatch(c.words, -1) {
		n, _ := strconv.ParseFloat(m[1], 64) // digits
		for _, other := range sums {
			if n+other > low && n+other < high {
				return true
			}
		}
		sums = append(sums, n)
	}
	return false
}
