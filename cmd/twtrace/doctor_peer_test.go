package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestDoctorEarlyPeersTraced has the ports of connections that the server closed first come back
// with sequence numbers of which about half are old.
func TestDoctorEarlyPeersTraced(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	comesBack := workload.ServerCloses(workload.IPv4, 60)
	// A namespace is known as long as a process lives in it.
	serve(t, ns, comesBack.Server)
	loud, _, words := whileWatched(t, ns, "12s", func() { comeBackEarly(t, ns, comesBack.Client) })
	if want := []string{"warn TW209 " + workload.ServerComm}; !slices.Equal(loud, want) || !strings.Contains(words, "a RST from the client ended") {
		t.Errorf("found %q, want %q:\n%s", loud, want, words)
	}
}

// TestSlowDoctorLatePeers has the peers send something more, ten seconds after the end.
func TestSlowDoctorLatePeers(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	ns.KeepTimeWait(t) // their sockets are gone, and answer the answer with a RST
	sendsMore := workload.ActiveClose(workload.IPv4, 11)
	serve(t, ns, sendsMore.Server)
	loud, quiet, words := whileWatched(t, ns, "85s", func() { sendLate(t, ns, sendsMore.Client) })
	if want := "info TW208 " + workload.ClientComm; len(loud) != 0 || !slices.Contains(quiet, want) {
		t.Errorf("found %q and %q, want %q:\n%s", loud, quiet, want, words)
	}
	if !strings.Contains(words, "the server at "+workload.IPv4.String()+": it still sends") {
		t.Errorf("the peer is not named:\n%s", words)
	}
}

// whileWatched has doctor watch what happens, and returns its findings.
func whileWatched(t *testing.T, ns *kerneltest.NS, window string, happens func()) (loud, quiet []string, words string) {
	t.Helper()
	cmd := command("doctor", "-o", "json", "--window", window, "-N", fmt.Sprint(ns.Inum()))
	var out strings.Builder
	var said talk
	cmd.Stdout, cmd.Stderr = &out, &said
	must(t, cmd.Start())
	tracing(t, cmd)
	happens()
	_ = cmd.Wait() // its exit code is the verdict
	var d diagnosed
	if err := json.Unmarshal([]byte(out.String()), &d); err != nil {
		t.Fatalf("%v: %s%s", err, out.String(), said.String())
	}
	return d.in(ns.Inum())
}

// serve runs a server until the test ends.
func serve(t *testing.T, ns *kerneltest.NS, s workload.Spec) {
	t.Helper()
	p := start(t, ns, s)
	t.Cleanup(func() { _ = p.Kill(); _, _ = p.Wait() })
	_, err := p.Ready()
	must(t, err)
}

// call runs a client to its end.
func call(t *testing.T, ns *kerneltest.NS, s workload.Spec) workload.Log {
	t.Helper()
	p := start(t, ns, s)
	_, err := p.Ready()
	must(t, err)
	must(t, p.Go())
	log := finish(t, p)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		tw := len(ns.Sockets(t, "state", "time-wait"))
		return tw >= s.Connect.Count, fmt.Sprintf("%d of %d in TIME_WAIT", tw, s.Connect.Count)
	})
	return log
}

// comeBackEarly makes connections that the server closes first, and then sends a SYN
// from the port of each.
func comeBackEarly(t *testing.T, ns *kerneltest.NS, client workload.Spec) {
	t.Helper()
	ns.KeepTimeWait(t)
	log := call(t, ns, client)
	ns.Sysctl(t, "net.ipv4.tcp_rfc1337", "0") // what comes back is to end it
	for _, r := range log.Records {
		must(t, workload.Send(ns.Path(), workload.Segment{From: r.Local, To: r.Remote, Seq: 1, Flags: workload.SYN}))
	}
}

// sendLate makes connections that the client closes first, and has the other end of each
// send a segment when the timer of TIME_WAIT has run for a while.
func sendLate(t *testing.T, ns *kerneltest.NS, client workload.Spec) {
	t.Helper()
	log := call(t, ns, client)
	<-time.After(2 * otherBucket)
	for _, r := range log.Records {
		must(t, workload.Send(ns.Path(), workload.Segment{From: r.Remote, To: r.Local, Seq: 1, Ack: 1, Flags: workload.ACK}))
	}
}
