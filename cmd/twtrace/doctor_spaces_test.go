package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestDoctorSpaces: without -N every namespace that has sockets is looked at, the
// sick one is named, and the commands are for it. It is not for company: other tests'
// namespaces might be fuller.
func TestDoctorSpaces(t *testing.T) {
	kerneltest.RequireRoot(t)
	sick, well := narrow(t, 600), narrow(t, 600)
	name := fmt.Sprintf("twtrace test's %d", os.Getpid()) // a shell must not trip over it
	sick.Named(t, name)
	hold(t, well)
	holdPorts(t, well, 100)
	onStage(t, sick, caller("checkout", 40, workload.HalfClose, one), database)
	awaitSockets(t, sick, 300, "state", "time-wait")
	for _, args := range [][]string{{"--no-bpf", "--window", "100ms"}, {"--window", "3s"}} {
		v := doctored(t, command(append([]string{"doctor", "-o", "json"}, args...)...))
		for _, ns := range []*kerneltest.NS{sick, well} {
			if !slices.ContainsFunc(v.Namespaces, func(n struct {
				Netns uint32
				Name  string
			}) bool {
				return n.Netns == ns.Inum()
			}) {
				t.Errorf("%v: %v lacks %d", args, v.Namespaces, ns.Inum())
			}
		}
		found := v.of("TW101", sick)
		if len(found) != 1 || len(v.of("TW101", well))+len(v.of("TW106", well)) != 0 {
			t.Fatalf("%v: %s", args, v.words())
		}
		for _, r := range found[0].commands() {
			if !strings.HasPrefix(r.Command, "ip netns exec '") {
				t.Errorf("not for %s: %s", name, r.Command)
			}
		}
		followed(t, sick, found[0], func(remedy) {})
	}
}
