package kernel

import (
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// TestUnprivileged runs again in a child without any capability, which must see
// everything of its own namespace and say why it cannot see another's.
func TestUnprivileged(t *testing.T) {
	const other = "TWTRACE_TEST_OTHER_NETNS"
	if name := os.Getenv(other); name != "" {
		withoutCapabilities(t, name)
		return
	}
	mine, foreign := newNetNS(t), newNetNS(t)
	makeTimeWaits(t, mine, "127.0.0.1", 3)
	cmd := exec.Command("ip", "netns", "exec", mine.Name, "setpriv", "--bounding-set=-all", "--inh-caps=-all",
		os.Args[0], "-test.run=^TestUnprivileged$")
	cmd.Env = append(os.Environ(), other+"="+foreign.Name)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func withoutCapabilities(t *testing.T, other string) {
	if caps, err := Capabilities(); err != nil || caps != 0 {
		t.Fatalf("capabilities are %x, %v", uint64(caps), err)
	}
	n, err := FindNetNS("pid:" + strconv.Itoa(os.Getpid()))
	if err != nil {
		t.Fatal(err)
	}
	if got := collect(t, n, States(event.TimeWait)); len(got) != 3 {
		t.Errorf("%d sockets in TIME_WAIT, made 3", len(got))
	}
	if c, err := n.Counters(); err != nil || c.TimeWait != 3 {
		t.Errorf("counters: %d mini-sockets, %v", c.TimeWait, err)
	}
	if _, err := n.Limits(); err != nil {
		t.Error(err)
	}

	foreign, err := FindNetNS(other)
	if err != nil {
		t.Fatal(err)
	}
	_, limits := foreign.Limits()
	sockets := foreign.Sockets(AllStates, func(Socket) error { return nil })
	for _, err := range []error{limits, sockets} {
		if err == nil || !strings.Contains(err.Error(), "CAP_SYS_ADMIN") || !strings.Contains(err.Error(), other) {
			t.Errorf("another namespace: %v, want the capability and %s", err, other)
		}
	}
}
