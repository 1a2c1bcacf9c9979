package kernel

import (
	"errors"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
)

func TestShellQuote(t *testing.T) {
	for _, s := range []string{"web", "", "two words", "it's", "$(reboot)", "a;b", "-x", "é", "new\nline"} {
		out, err := exec.Command("sh", "-c", "printf %s "+shellQuote(s)).Output()
		if s == "-x" {
			out, err = exec.Command("sh", "-c", "printf -- "+shellQuote(s)).Output()
		}
		if err != nil || string(out) != s {
			t.Errorf("a shell reads %s as %q, not %q (%v)", shellQuote(s), out, s, err)
		}
	}
}

// TestEnter pastes the prefix into a shell and looks where the command ran.
func TestEnter(t *testing.T) {
	n := newNetNS(t)
	cmd := exec.Command("ip", "netns", "exec", n.Name, "cat")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer func() { in.Close(); cmd.Wait() }()
	eventually(t, func() error {
		if !n.holds(procNS(cmd.Process.Pid)) {
			return errors.New("ip has not joined the namespace")
		}
		return nil
	})
	home, err := CurrentNetNS()
	if err != nil {
		t.Fatal(err)
	}
	unnamed := n
	unnamed.Name, unnamed.PID = "", cmd.Process.Pid
	byPath := unnamed
	byPath.PID = 0
	for _, tt := range []struct {
		n      NetNS
		prefix string
	}{
		{home, ""},
		{n, "ip netns exec " + n.Name + " "},
		{unnamed, "nsenter --net=/proc/" + strconv.Itoa(cmd.Process.Pid) + "/ns/net "},
		{byPath, "nsenter --net=/run/netns/" + n.Name + " "},
	} {
		if got := tt.n.Enter(); got != tt.prefix {
			t.Errorf("prefix %q, want %q", got, tt.prefix)
		}
		out := run(t, "sh", "-c", tt.n.Enter()+"readlink /proc/self/ns/net")
		if want := (NetNS{Inum: tt.n.Inum}).String(); strings.TrimSpace(out) != want {
			t.Errorf("%q ran in %s, want %s", tt.n.Enter(), out, want)
		}
	}
}

// TestEnterWhenTheShellIsElsewhere: `ip netns exec web twtrace` has joined web,
// and the shell that gets the advice has not.
func TestEnterWhenTheShellIsElsewhere(t *testing.T) {
	const asked = "TWTRACE_TEST_ENTER"
	if os.Getenv(asked) != "" {
		n, err := CurrentNetNS()
		if err != nil {
			t.Fatal(err)
		}
		os.Stdout.WriteString("prefix=" + n.Enter() + "\n")
		return
	}
	n := newNetNS(t)
	cmd := exec.Command("ip", "netns", "exec", n.Name, os.Args[0], "-test.run=^TestEnterWhenTheShellIsElsewhere$")
	cmd.Env = append(os.Environ(), asked+"=1")
	out, err := cmd.Output()
	if want := "prefix=ip netns exec " + n.Name + " \n"; err != nil || !strings.Contains(string(out), want) {
		t.Errorf("%v: %s, want %q", err, out, want)
	}
}
