package main

import (
	"fmt"
	"maps"
	"math/rand/v2"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/netns"
	"github.com/twtrace/twtrace/internal/tracer"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestNamespacesComeAndGo makes, uses and removes 200 namespaces during a trace, one
// after the other: the kernel gives most of them the inode number of one that is
// gone. twtrace may hold nothing of them, and its totals have to add up. Other processes
// may make namespaces meanwhile, and get these numbers too: it is their address that
// tells the test's connections from others.
func TestNamespacesComeAndGo(t *testing.T) {
	t.Attr("row", "namespaces that come and go")
	const each, warm, fewThreads = 5, 20, 8
	namespaces := 200
	if kerneltest.InVM() {
		namespaces = 50 // each takes a second there
	}
	// Twice the live heap may be kept else, and what starting took was given back.
	t.Setenv("GOMEMLIMIT", "32MiB")
	// What twtrace holds of the connections of others is no matter of this test.
	at := unusedAddr()
	tr := startTrace(t, "--raddr", at.Addr().String())
	var made, total int
	inums := make(map[uint32]bool)
	use := func(n int) {
		for range n {
			inum, births := useNetNS(t, at, each)
			inums[inum] = true
			made += births
			total++
		}
	}
	use(warm)
	before := usageOf(t, tr.cmd.Process.Pid)
	use(namespaces - warm)

	ended := func() (begins, ends int) {
		for _, r := range tr.all() {
			switch {
			case r.Raddr != at.Addr():
			case r.Event == "time_wait_enter":
				begins++
			case r.Event == "time_wait_exit" && r.Reason == "netns_exit":
				ends++
			}
		}
		return begins, ends
	}
	hidden := 0
	if kerneltest.PID1Artefact() {
		hidden = made / 200
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		begins, ends := ended()
		return begins >= made-hidden && ends >= made-hidden, fmt.Sprintf("%d begins and %d ends of %d", begins, ends, made)
	})
	// A survey is at most surveyEvery away from the last new namespace, and holds threads
	// and descriptors while it runs. The runtime keeps a thread that it once made for a call
	// that blocked; a leak would be one for each namespace.
	kerneltest.Eventually(t, patience, func() (bool, string) {
		now := usageOf(t, tr.cmd.Process.Pid)
		return now.threads <= before.threads+fewThreads && now.files <= before.files && now.memory <= before.memory+16<<20,
			fmt.Sprintf("%+v, before %+v", now, before)
	})
	living := livingNetNS(t)
	end := tr.stop()
	maps.Copy(living, livingNetNS(t))
	begins, ends := ended()
	t.Logf("%d namespaces with %d inode numbers: %d births, %d begins, %d ends; %+v", total, len(inums), made,
		begins, ends, before)
	if begins > made || ends > made {
		t.Errorf("%d begins and %d ends of %d births", begins, ends, made)
	}
	checkLost(t, end)
	if int(end.Births) < begins {
		t.Errorf("the end has %d births, and there were %d", end.Births, begins)
	}
	for _, d := range end.Drift {
		if inums[d.Netns] && !living[d.Netns] { // of a living one it is another's
			t.Errorf("drift of a namespace that is gone: %+v", d)
		}
	}
}

// unusedAddr is an address that nobody else on this host is likely to connect to.
func unusedAddr() netip.AddrPort {
	ip := netip.AddrFrom4([4]byte{127, byte(64 + rand.N(128)), byte(rand.N(256)), byte(1 + rand.N(254))})
	return netip.AddrPortFrom(ip, workload.IPv4.Port())
}

// livingNetNS has the inode numbers that namespaces have now.
func livingNetNS(t *testing.T) map[uint32]bool {
	t.Helper()
	list, err := kernel.ListNetNS()
	must(t, err)
	living := make(map[uint32]bool)
	for _, n := range list {
		living[n.Inum] = true
	}
	return living
}

// useNetNS makes a namespace, has n connections to at in it end in TIME_WAIT, and gives
// it up. It returns what the kernel counted.
func useNetNS(t *testing.T, at netip.AddrPort, n int) (inum uint32, births int) {
	t.Helper()
	ns, err := netns.New()
	must(t, err)
	defer func() { must(t, ns.Close()) }()
	must(t, ns.Sysctl("net.ipv4.tcp_rfc1337", "1"))
	if _, err := workload.ActiveClose(at, n).Run(t.Context(), ns.Path()); err != nil {
		t.Fatal(err)
	}
	must(t, ns.Do(func() error {
		data, err := os.ReadFile("/proc/thread-self/net/sockstat")
		if err != nil {
			return err
		}
		_, rest, _ := strings.Cut(string(data), " tw ")
		births, err = strconv.Atoi(strings.Fields(rest)[0])
		return err
	}))
	return ns.Inum(), births
}

// usage is what a process holds.
type usage struct {
	threads, files int
	memory         int // bytes, but for files and the ring
}

func usageOf(t *testing.T, pid int) usage {
	t.Helper()
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	count := func(name string) int {
		list, err := os.ReadDir(filepath.Join(dir, name))
		must(t, err)
		return len(list)
	}
	return usage{count("task"), count("fd"), memoryOf(t, pid, "RssAnon")}
}

// TestTalliesOfGoneNamespaces wants the kernel's map to forget namespaces that are
// gone, for it has room for 1,024, and the totals to keep what happened there. If another
// process has made a namespace that lives on with the number of the test's, the entry is
// that one's, and the test uses another.
func TestTalliesOfGoneNamespaces(t *testing.T) {
	t.Attr("row", "totals of namespaces that are gone")
	const each = 5
	kept := kerneltest.NetNS(t)
	r := startReader(t, kept, tracer.Options{})
	account := func() (a tracer.Account) {
		r.do(func() {
			list, err := kernel.ListNetNS()
			must(t, err)
			_, err = r.trace.Compare(list)
			must(t, err)
			a, err = r.trace.Account()
			must(t, err)
		})
		return a
	}
	born := 0
	use := func() uint32 {
		inum, births := useNetNS(t, unusedAddr(), each)
		born += births
		return inum
	}
	inum, seen := use(), false
	kerneltest.Eventually(t, patience, func() (bool, string) {
		tally, ok := account().Tallies[inum]
		seen = seen || ok
		switch {
		case seen && !ok:
			return true, ""
		case livingNetNS(t)[inum]:
			t.Logf("number %d is another's now", inum)
			inum, seen = use(), false
		}
		return false, fmt.Sprintf("seen %v, in the map: %v %+v", seen, ok, tally)
	})
	hidden := 0
	if kerneltest.PID1Artefact() {
		hidden = 1
	}
	if total := account().Total; int(total.Births) < born-hidden || int(total.TimeWait.By(event.NetnsExit)) < born-hidden {
		t.Errorf("totals %+v, want at least the %d births", total, born)
	}
}
