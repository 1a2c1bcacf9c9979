package advice

import (
	"net/netip"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// TestReuseInTheClientsWords: the cure names what the client calls it.
func TestReuseInTheClientsWords(t *testing.T) {
	for _, tt := range []struct {
		comm, exe string
		port      string
		want      string
	}{
		{"nginx", "/usr/sbin/nginx", "8080", "usually HTTP: nginx: `keepalive N`"},
		{"worker", "/usr/sbin/haproxy", "9999", "in the client: HAProxy: `http-reuse"},
		{"java", "", "3306", "usually MySQL: Java: HikariCP"},
		{"java", "", "443", "usually HTTPS: Java: one pooled HttpClient"},
		{"java", "", "9999", "in the client: Java: one pooled client object"},
		{"gunicorn: worke", "/usr/bin/python3.11", "5432", "usually PostgreSQL: Python: SQLAlchemy"},
		{"php-fpm8.2", "", "3306", "pgbouncer"},
		{"ab", "", "80", "usually HTTP: ab: -k"},
		{"abacus", "", "80", "usually HTTP: one client object for all requests (Go:"},
		{"redis-benchmark", "", "6379", "usually Redis: redis-benchmark: -k 1"},
		{"worker", "", "6379", "usually Redis: one client object per process"},
		{"worker", "", "9999", "in the client: a pool, or keep-alive"},
	} {
		d := Destination{Local: netip.MustParseAddr(here), Remote: netip.MustParseAddrPort("10.2.0.9:" + tt.port),
			Owner: event.Proc{PID: 7, Comm: tt.comm, Who: &event.Who{Exe: tt.exe}}}
		if got := reuseConnections(d)[0].Text; !strings.Contains(got, tt.want) {
			t.Errorf("%s (%s) to %s: %s; want %q", tt.comm, tt.exe, tt.port, got, tt.want)
		}
	}
}

// TestNeverSays: what harms, or does nothing for TIME_WAIT, is no cure of any finding.
func TestNeverSays(t *testing.T) {
	n := 0
	for _, tt := range traces {
		for _, x := range Diagnose(tt.facts()) {
			for _, r := range append(x.Now, x.Fix...) {
				n++
				if words := r.Text + " " + r.Command; harmful.MatchString(words) {
					t.Errorf("%s: %s advises %s", tt.name, x.ID, words)
				}
			}
			tuning := strings.Contains(all(x), "tcp_tw_reuse=") || strings.Contains(all(x), "ip_local_port_range=")
			switch x.ID {
			case "TW106", "TW203", "TW204", "TW207", "TW210":
				if strings.Contains(all(x), "tcp_tw_reuse=") {
					t.Errorf("%s: %s is tuned for TIME_WAIT: %s", tt.name, x.ID, all(x))
				}
			case "TW201":
				if tuning {
					t.Errorf("%s: TW201 tunes the kernel: %s", tt.name, all(x))
				}
			}
			if x.ID == "TW203" && tuning {
				t.Errorf("%s: a crawler needs no more ports: %s", tt.name, all(x))
			}
		}
	}
	if n == 0 {
		t.Error("nothing was advised")
	}
}

// all is every command of a finding.
func all(x Finding) string {
	var commands []string
	for _, r := range append(x.Now, x.Fix...) {
		commands = append(commands, r.Command)
	}
	return strings.Join(commands, "\n")
}
