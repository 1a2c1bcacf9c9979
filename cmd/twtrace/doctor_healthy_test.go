package main

import (
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// TestHealthy: where TIME_WAIT is not the problem, it says so and nothing else.
func TestHealthy(t *testing.T) {
	kerneltest.RequireRoot(t)
	database := t.TempDir()
	installMariaDB(t, database)
	for _, tt := range []struct {
		name string
		play func(t *testing.T, a *act)
	}{
		{"idle", func(*testing.T, *act) {}},
		{"nginx, wrk with keep-alive", func(t *testing.T, a *act) {
			nginx(t, a, true)
			a.start(t, "nice", "-n", "10", "wrk", "-t", "1", "-c", "20", "-d", "60s", served)
			awaitSockets(t, a.ns, 20, "state", "established", "sport", "=", ":8081")
		}},
		{"MariaDB, a pool", func(t *testing.T, a *act) {
			mariadb(t, a)
			queries(t, a, true)
		}},
		{"2,000 long connections", func(t *testing.T, a *act) { holdPorts(t, a.ns, 2000) }},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := &act{stage: &stage{database: database}, ns: kerneltest.NetNS(t), dir: t.TempDir()}
			hold(t, a.ns)
			tt.play(t, a)
			v := diagnose(t, a.ns)
			if v.ExitCode != 0 || v.Verdict != "ok" || len(v.of("TW000", a.ns)) != 1 || len(v.alarms()) != 0 || !v.Traced {
				t.Errorf("exit code %d, alarms %v:%s", v.ExitCode, v.alarms(), v.words())
			}
		})
	}
}
