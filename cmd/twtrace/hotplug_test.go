package main

import (
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// cpu1 takes a CPU away and gives it back.
const cpu1 = "/sys/devices/system/cpu/cpu1/online"

// requireVM skips a test that only the VM's own kernel should go through.
func requireVM(t *testing.T) {
	t.Helper()
	if !kerneltest.InVM() {
		t.Skip("for the VM only")
	}
}

// TestHotplug takes a CPU away again and again, and its timers with it, while 10,000
// connections come and go. The balance is exact.
func TestHotplug(t *testing.T) {
	requireVM(t)
	alone(t)
	t.Attr("row", "10,000 connections and CPU hot-unplug: the balance")
	const rounds = 5
	b := startBalance(t, 10000)
	stop, times := make(chan struct{}), make(chan int)
	go func() {
		n := 0
		defer func() { times <- n }()
		for {
			for _, online := range []string{"0", "1"} {
				if err := os.WriteFile(cpu1, []byte(online), 0); err != nil {
					t.Errorf("set %s to %s: %v", cpu1, online, err)
					return
				}
			}
			n++
			select {
			case <-stop:
				return
			case <-time.After(200 * time.Millisecond):
			}
		}
	}()
	b.churn()
	close(stop)
	if n := <-times; n < rounds {
		t.Errorf("the CPU was away %d times, want at least %d", n, rounds)
	}
	b.check()
}

// balance compares all begins and ends in a namespace with the kernel's counters.
type balance struct {
	t           *testing.T
	ns          *kerneltest.NS
	tr          *trace
	connections int
}

func startBalance(t *testing.T, connections int) *balance {
	t.Helper()
	ns := churnNS(t)
	// Opens and passive closes are TestChurn's.
	tr := startTrace(t, "-N", ns.Path(), "--event", "time_wait_enter,time_wait_exit,snapshot")
	return &balance{t, ns, tr, connections}
}

func (b *balance) churn() {
	b.t.Helper()
	c := churn
	c.Connections = b.connections
	c.To = workload.Destinations(40, 4)
	result, err := c.Scenario().Run(b.t.Context(), b.ns.Path())
	must(b.t, err)
	if result.Opened() != uint64(b.connections) {
		b.t.Fatalf("%d connections, want %d: %v", result.Opened(), b.connections, result.Failed())
	}
}

// check waits for the last end.
func (b *balance) check() {
	b.t.Helper()
	kerneltest.Eventually(b.t, timeWaitLength+patience, func() (bool, string) {
		tw := b.ns.Sockstat(b.t)["TCP tw"]
		return tw == 0, fmt.Sprintf("%d mini-sockets alive", tw)
	})
	end := b.tr.stop()
	checkLost(b.t, end)
	for _, d := range end.Drift {
		if d.Netns == b.ns.Inum() {
			b.t.Errorf("drift: %+v", d)
		}
	}
	begun, ended := make(map[string]int), make(map[string]int)
	for _, r := range b.tr.of("time_wait_enter", b.ns.Inum()) {
		begun[r.Cookie]++
	}
	if n := len(b.tr.of("snapshot", b.ns.Inum())); n != 0 {
		b.t.Errorf("%d sockets were found before their begin was read", n)
	}
	for _, r := range b.tr.of("time_wait_exit", b.ns.Inum()) {
		ended[r.Cookie]++
	}
	wrong := 0
	for c, n := range begun {
		if n != 1 || ended[c] != 1 {
			wrong++
		}
	}
	// The servers close as well: no mini-socket stays in FIN_WAIT2.
	b.t.Logf("%d births: %d begins, %d ends, lost %v", births(b.t, b.ns), len(begun), len(ended), end.Lost)
	if total := births(b.t, b.ns); len(begun) != total || len(ended) != total || wrong != 0 {
		b.t.Errorf("%d births, %d begins, %d ends, %d not once each", total, len(begun), len(ended), wrong)
	}
}
