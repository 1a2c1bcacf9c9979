package main

import (
	"errors"
	"io/fs"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// conntrackMax is the limit of the whole host.
const conntrackMax = "/proc/sys/net/netfilter/nf_conntrack_max"

// TestDoctorConntrack has more connections kept than conntrack has room for. The limit is
// lowered for it, where the host follows next to nothing of its own.
func TestDoctorConntrack(t *testing.T) {
	kerneltest.RequireRoot(t)
	home, err := kernel.CurrentNetNS()
	must(t, err)
	own, err := home.Conntrack()
	if errors.Is(err, fs.ErrNotExist) {
		t.Skip("this kernel has no conntrack")
	}
	must(t, err)
	const room = 200
	if own.Count > room/2 {
		t.Skipf("this host follows %d connections of its own", own.Count)
	}
	a := &act{ns: kerneltest.NetNS(t), dir: t.TempDir()}
	hold(t, a.ns)
	netfilter(t, a.ns, "add table inet t; add chain inet t o { type filter hook output priority 0; ct state invalid drop; }")
	must(t, os.WriteFile(conntrackMax, []byte(strconv.Itoa(room)), 0))
	t.Cleanup(func() { must(t, os.WriteFile(conntrackMax, []byte(strconv.FormatUint(own.Max, 10)), 0)) })
	goesOn(leaking(caller("pool", 60, workload.Hold, one)), database)(t, a)
	awaitSockets(t, a.ns, room, "state", "established", "dport", "=", ":3306")
	v := inspected(t, a.ns, "--window", "6s")
	found := v.of("TW301", a.ns)
	if len(found) != 1 || found[0].Status != "crit" || len(v.alarms()) != 1 {
		t.Fatalf("alarms %v:%s", v.alarms(), v.words())
	}
	for _, want := range []string{"of 200 conntrack entries", "packets of new connections dropped in", "are in ESTABLISHED"} {
		if said := found[0].What + found[0].When + found[0].Reason; !strings.Contains(said, want) {
			t.Errorf("no %q in %q", want, said)
		}
	}
}
