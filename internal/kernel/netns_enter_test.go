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

// TestEnter pastes the prefix into a shell and checks where the command ran.
func TestEnter(t *testing.T) {
	n := newNetNS(t)
	pid, _ := startCat(t, "ip", "netns", "exec", n.Name)
	eventually(t, func() error {
		if !n.holds(procNS(pid)) {
			return errors.New("ip has not joined the namespace")
		}
		return nil
	})
	home, err := CurrentNetNS()
	if err != nil {
		t.Fatal(err)
	}
	unnamed := n
	unnamed.Name, unnamed.PID = "", pid
	byPath := unnamed
	byPath.PID = 0
	for _, tt := range []struct {
		n      NetNS
		prefix string
	}{
		{home, ""},
		{n, "ip netns exec " + n.Name + " "},
		{unnamed, "nsenter --net=/proc/" + strconv.Itoa(pid) + "/ns/net "},
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

// TestEnterPrefix: the prefix names a namespace by its name if a user can paste it.
func TestEnterPrefix(t *testing.T) {
	for n, want := range map[NetNS]string{
		{Inum: 12, Name: "web"}:                                "ip netns exec web ",
		{Inum: 12, Name: "two words", PID: 7}:                  "ip netns exec 'two words' ",
		{Inum: 12, Name: "new\nline", PID: 7}:                  "nsenter --net=/proc/7/ns/net ",
		{Inum: 12, Name: "new\nline"}:                          "ip netns exec 'new\nline' ",
		{Inum: 12, PID: 7}:                                     "nsenter --net=/proc/7/ns/net ",
		{Inum: 12, path: "/run/docker/netns/it's"}:             `nsenter --net='/run/docker/netns/it'\''s' `,
		{Inum: threadInum(t), Name: "ours", path: "/absent/x"}: "",
	} {
		if got := n.Enter(); got != want {
			t.Errorf("%+v: prefix %q, want %q", n, got, want)
		}
	}
}
