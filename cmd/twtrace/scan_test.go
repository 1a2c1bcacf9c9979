package main

import (
	"fmt"
	"net/netip"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// scanMemory is what docs/ports.md says that a command takes at most, resident.
const scanMemory = 320 << 20

// TestPortScanTraced has every port of 16 addresses connected to, of which 65,536 are open: more
// destinations than are held. The storm of another client is flagged all the same, what
// is not held is counted, and memory stays within its bound.
func TestPortScanTraced(t *testing.T) {
	const addrs, open = 16, 4096
	ns := kerneltest.NetNS(t)
	hold(t, ns)
	ns.Sysctl(t, "net.ipv4.ip_local_port_range", "40000 40599")
	ns.Sysctl(t, "net.ipv4.tcp_tw_reuse", "0")
	ns.Sysctl(t, "net.ipv4.tcp_max_tw_buckets", "1000000")
	tr := startTrace(t, "-N", ns.Path(), "--event", "storm_start,storm_update")
	ports := filepath.Join(t.TempDir(), "ports")
	out, err := os.Create(ports)
	must(t, err)
	defer out.Close()
	pressure := command("ports", "-N", ns.Path(), "-i", "1s", "-n", "5")
	pressure.Stdout, pressure.Stderr = out, os.Stderr
	must(t, pressure.Start())
	t.Cleanup(func() { _ = pressure.Process.Kill() })

	doors := workload.Spec{Comm: "doors", Workers: 2, CountOnly: true, Serve: &workload.Serve{End: workload.WaitEOF}}
	for port := range uint16(open) {
		doors.Serve.At = append(doors.Serve.At, netip.AddrPortFrom(netip.IPv4Unspecified(), 50000+port))
	}
	_, err = start(t, ns, doors).Ready()
	must(t, err)
	_, err = start(t, ns, database).Ready()
	must(t, err)
	victim := start(t, ns, failing5(caller("checkout", 40, workload.HalfClose, one)))
	var opened, refused uint64
	for a := range byte(addrs) {
		if a == addrs/4 { // there is no room any more
			must(t, victim.Go())
		}
		p := start(t, ns, scanner(netip.AddrFrom4([4]byte{127, 0, 2, a})))
		must(t, p.Go())
		log := finish(t, p)
		opened += log.Opened
		for f, n := range log.Failed {
			if f.Errno != unix.ECONNREFUSED {
				t.Errorf("%d of %v", n, f)
			}
			refused += n
		}
	}
	if opened != addrs*open || opened+refused != addrs<<16 {
		t.Fatalf("%d of %d connections were refused", refused, opened+refused)
	}
	finish(t, victim)
	want := []string{"churn warn scanner", "ports crit checkout 127.0.0.7:3306"}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		storms := stormsOf(tr.all())
		return slices.Equal(storms, want), fmt.Sprintf("storms %q, want %q", storms, want)
	})
	for _, cmd := range []struct {
		name string
		pid  int
	}{{"trace", tr.cmd.Process.Pid}, {"ports", pressure.Process.Pid}} {
		peak := memoryOf(t, cmd.pid, "VmHWM")
		t.Logf("twtrace %s: %d MiB at most", cmd.name, peak>>20)
		if peak > scanMemory {
			t.Errorf("twtrace %s has taken %d MiB, want at most %d", cmd.name, peak>>20, scanMemory>>20)
		}
	}
	must(t, pressure.Process.Signal(unix.SIGINT))
	must(t, pressure.Wait())
	tables, err := os.ReadFile(ports)
	must(t, err)
	folded := 0
	for _, m := range unheld.FindAllStringSubmatch(string(tables), -1) {
		n, err := strconv.Atoi(strings.ReplaceAll(m[1], ",", ""))
		must(t, err)
		folded = max(folded, n)
	}
	// On a slow machine the first ones are gone when the last ones come.
	t.Logf("%d of %d open destinations in no line", folded, opened)
	if folded > int(opened) || folded < int(opened)/4 {
		t.Errorf("%d of %d are counted as not held", folded, opened)
	}
	end := tr.stop()
	t.Logf("lost: %v", end.Lost)
}

// unheld is how many connections have no destination, in the words of `twtrace ports`.
var unheld = regexp.MustCompile(`([0-9,]+) connections to destinations not tracked one by one`)

// scanner connects to all ports of an address, once.
func scanner(a netip.Addr) workload.Spec {
	s := caller("scanner", 0, workload.Close, nil)
	s.Workers, s.Connect.Count = 2, 1<<16
	for port := range 1 << 16 {
		s.Connect.To = append(s.Connect.To, netip.AddrPortFrom(a, uint16(port)))
	}
	return s
}

// memoryOf is a line in kB of what /proc/PID/status has of a process, in bytes.
func memoryOf(t *testing.T, pid int, field string) int {
	t.Helper()
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	must(t, err)
	_, line, _ := strings.Cut(string(b), "\n"+field+":")
	line, _, _ = strings.Cut(line, "kB")
	kib, err := strconv.Atoi(strings.TrimSpace(line))
	must(t, err)
	return kib << 10
}
