package main

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestDoctorSearches: while ports of the first parity are free, a client may be as busy as
// it likes. Once all of them are taken each connect() passes over them, and it is said
// whose. It is not for company: it is about CPU.
func TestDoctorSearches(t *testing.T) {
	kerneltest.RequireRoot(t)
	const ports = 28232
	for _, tt := range []struct {
		name  string
		share int     // of the ports that are held, in percent
		rate  float64 // connections per second of another client
		found bool
	}{
		{"busy, below half of the range", 45, 2500, false},
		{"above half of the range", 55, 250, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			held := ports * tt.share / 100
			a := &act{ns: kerneltest.NetNS(t), dir: t.TempDir()}
			a.ns.Sysctl(t, "net.ipv4.ip_local_port_range", fmt.Sprintf("30000 %d", 30000+ports-1))
			// It keeps as many connections as are held, and closes the others at once: those hold
			// no port.
			a.start(t, "sh", "-c", fmt.Sprintf(`ulimit -n $(ulimit -Hn); exec perl -e 'use IO::Socket::INET; `+
				`my $s = IO::Socket::INET->new(Listen => 4000, LocalAddr => "127.0.0.7", LocalPort => 3306) or die; `+
				`while (my $c = $s->accept) { if (@kept < %d) { push @kept, $c } else { close $c } }'`, held))
			a.serves(t, 3306)
			for _, c := range []workload.Spec{
				{Comm: "pool", CountOnly: true, Connect: &workload.Connect{To: one, End: workload.Hold, Count: held}},
				caller("seeker", tt.rate, workload.WaitEOF, one),
			} {
				p := start(t, a.ns, c)
				t.Cleanup(func() { _ = p.Kill(); _, _ = p.Wait() })
				_, err := p.Ready()
				must(t, err)
				must(t, p.Go())
				awaitSockets(t, a.ns, held, "state", "established", "dport", "=", ":3306")
			}
			v := inspected(t, a.ns, "--window", "6s")
			if !tt.found {
				if v.ExitCode != 0 || len(v.of("TW103", a.ns)) != 0 {
					t.Errorf("exit code %d:%s", v.ExitCode, v.words())
				}
				return
			}
			found := v.of("TW103", a.ns)
			if !slices.Equal(v.alarms(), []string{"TW103 warn"}) || len(found) != 1 || found[0].Scope.Comm != "seeker" || found[0].Scope.Raddr != "127.0.0.7" {
				t.Fatalf("alarms %v:%s", v.alarms(), v.words())
			}
			if want := "skips 14,116 ports"; !strings.Contains(found[0].Reason, want) {
				t.Errorf("no %q in %q", want, found[0].Reason)
			}
			t.Log(found[0].What, "; ", found[0].Who)
		})
	}
}
