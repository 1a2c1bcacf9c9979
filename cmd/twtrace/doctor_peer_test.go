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

// TestDoctorPeers has peers misbehave in two namespaces while doctor watches. In one the
// ports of connections that the server closed first come back with sequence numbers of
// which about half are old; in the other the peers send something more, ten seconds
// after the end.
func TestDoctorPeers(t *testing.T) {
	t.Parallel()
	early, late := kerneltest.NetNS(t), kerneltest.NetNS(t)
	late.KeepTimeWait(t) // their sockets are gone, and answer the answer with a RST
	cmd := command("doctor", "-o", "json", "--window", "85s", "-N", fmt.Sprintf("%d,%d", early.Inum(), late.Inum()))
	var out strings.Builder
	var said talk
	cmd.Stdout, cmd.Stderr = &out, &said
	must(t, cmd.Start())
	tracing(t, cmd)

	comeBackEarly(t, early, 60)
	sendLate(t, late, 7)

	_ = cmd.Wait() // its exit code is the verdict
	var d diagnosed
	if err := json.Unmarshal([]byte(out.String()), &d); err != nil {
		t.Fatalf("%v: %s%s", err, out.String(), said.String())
	}
	loud, _, words := d.in(early.Inum())
	if want := []string{"warn TW209 " + workload.ServerComm}; !slices.Equal(loud, want) || !strings.Contains(words, "were ended by a RST of the client") {
		t.Errorf("found %q, want %q:\n%s", loud, want, words)
	}
	loud, quiet, words := d.in(late.Inum())
	if want := "info TW208 " + workload.ClientComm; len(loud) != 0 || !slices.Contains(quiet, want) {
		t.Errorf("found %q and %q, want %q:\n%s", loud, quiet, want, words)
	}
	if !strings.Contains(words, "the server at "+workload.IPv4.String()+": it still sends") {
		t.Errorf("the peer is not named:\n%s", words)
	}
}

// comeBackEarly makes connections that the server closes first, and then sends a SYN
// from the port of each.
func comeBackEarly(t *testing.T, ns *kerneltest.NS, n int) {
	t.Helper()
	s := workload.ServerCloses(workload.IPv4, n)
	server := start(t, ns, s.Server)
	_, err := server.Ready()
	must(t, err)
	client := start(t, ns, s.Client)
	_, err = client.Ready()
	must(t, err)
	must(t, client.Go())
	log := finish(t, client)
	kerneltest.Eventually(t, patience, func() (bool, string) {
		tw := len(ns.Sockets(t, "state", "time-wait"))
		return tw >= n, fmt.Sprintf("%d of %d in TIME_WAIT", tw, n)
	})
	for _, r := range log.Records {
		must(t, workload.Send(ns.Path(), workload.Segment{From: r.Local, To: r.Remote, Seq: 1, Flags: workload.SYN}))
	}
}

// sendLate makes connections that the client closes first, and has the other end of each
// send a segment when the timer of TIME_WAIT has run for a while.
func sendLate(t *testing.T, ns *kerneltest.NS, n int) {
	t.Helper()
	result, err := workload.ActiveClose(workload.IPv4, n).Run(t.Context(), ns.Path())
	must(t, err)
	<-time.After(2 * otherBucket)
	for _, r := range result.Clients[0].Records {
		must(t, workload.Send(ns.Path(), workload.Segment{From: r.Remote, To: r.Local, Seq: 1, Ack: 1, Flags: workload.ACK}))
	}
}
