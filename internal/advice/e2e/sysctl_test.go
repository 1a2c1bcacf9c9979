package e2e

import (
	"bytes"
	"context"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/doctor"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// TestSysctlIsValid has sysctl(8) apply a file to a namespace, as its head says, and
// then its undo.
func TestSysctlIsValid(t *testing.T) {
	ns, n := private(t, "32768 60999")
	ns.Sysctl(t, "net.ipv4.tcp_fin_timeout", "15")
	before, err := n.Limits()
	if err != nil {
		t.Fatal(err)
	}
	f := troubled(t, n)
	var b bytes.Buffer
	if err := doctor.WriteSysctl(&b, "0.1.0", f.Host, advice.Diagnose(f)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "50-twtrace.conf")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	_, apply, _ := strings.Cut(b.String(), "# Until the next boot: ")
	apply, _, _ = strings.Cut(apply, "\n")
	out, err := exec.Command("sh", "-c", strings.Replace(apply, "FILE", file, 1)).CombinedOutput()
	if err != nil || strings.Contains(string(out), "sysctl:") {
		t.Fatalf("%s: %v: %s\n%s", apply, err, out, b.String())
	}
	after, err := n.Limits()
	if err != nil || after.TWReuse != 1 || after.PortLow != 1024 || after.ReservedPorts != "8080" || after.FinTimeout != time.Minute {
		t.Errorf("after it: %+v, %v", after, err)
	}
	for line := range strings.Lines(b.String()) {
		if undo, ok := strings.CutPrefix(strings.TrimSpace(line), "# undo: "); ok {
			shell(t, undo)
		}
	}
	if after, err := n.Limits(); err != nil || after != before {
		t.Errorf("after the undo %+v, before %+v (%v)", after, before, err)
	}
}

// troubled is n with a destination that has no ports left, and servers that listen
// inside its range of ports.
func troubled(t *testing.T, n kernel.NetNS) advice.Facts {
	t.Helper()
	f, err := advice.ReadFacts(context.Background(), n, 0)
	if err != nil {
		t.Fatal(err)
	}
	d := advice.Destination{Local: netip.MustParseAddr("10.0.0.7"), Remote: netip.MustParseAddrPort("10.2.0.9:5432")}
	d.Expiry.Add(27900, 59*time.Second)
	d.States.Full[event.TimeWait] = 27900
	f.Destinations = []advice.Destination{d}
	f.HostAfter.Queues = []advice.Queue{{Local: netip.MustParseAddrPort("0.0.0.0:33060")}, {Local: netip.MustParseAddrPort("0.0.0.0:8080")}}
	f.Listeners = []advice.Listener{{Local: netip.MustParseAddrPort("0.0.0.0:8080")}}
	return f
}
