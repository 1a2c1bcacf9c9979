package view

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// tmux is a real terminal with a shell in it.
type tmux struct {
	t      *testing.T
	socket string
}

func openTmux(t *testing.T) *tmux {
	t.Helper()
	kerneltest.RequireTool(t, "tmux", "tmux")
	m := &tmux{t, filepath.Join(t.TempDir(), "s")}
	m.run("-f", "/dev/null", "new-session", "-d", "-x", "80", "-y", "24", "env PS1='$ ' HISTFILE= bash --norc --noprofile")
	t.Cleanup(func() { exec.Command("tmux", "-S", m.socket, "kill-server").Run() })
	m.until("the prompt", func() bool { return strings.HasPrefix(m.text(), "$") })
	return m
}

func (m *tmux) run(args ...string) string {
	m.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", m.socket}, args...)...).CombinedOutput()
	if err != nil {
		m.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

func (m *tmux) text() string { m.t.Helper(); return m.run("capture-pane", "-p") }

func (m *tmux) typed(keys ...string) { m.t.Helper(); m.run(append([]string{"send-keys"}, keys...)...) }

// until asks the terminal again and again: it tells nobody when it has changed.
func (m *tmux) until(what string, ok func() bool) {
	m.t.Helper()
	deadline := time.Now().Add(20 * time.Second)
	for !ok() {
		if time.Now().After(deadline) {
			m.t.Fatalf("not so: %s; the screen is\n%s", what, m.text())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

func (m *tmux) await(want string) {
	m.t.Helper()
	m.until(fmt.Sprintf("%q is on the screen", want), func() bool { return strings.Contains(m.text(), want) })
}

// normal waits until the shell has its own screen again, with the cursor and every
// mode as they were.
func (m *tmux) normal(modes string) {
	m.t.Helper()
	m.until("the shell has the terminal", func() bool {
		return m.run("display-message", "-p", "#{alternate_on} #{cursor_flag} #{mouse_any_flag} #{pane_current_command}") == "0 1 0 bash\n"
	})
	m.typed("clear; echo modes `stty -g`", "Enter")
	m.await("modes " + modes)
}

// modes are the shell's, as stty has them.
func (m *tmux) modes() string {
	m.t.Helper()
	m.typed("clear; echo modes `stty -g`", "Enter")
	modes := ""
	m.until("the modes", func() bool {
		for l := range strings.Lines(m.text()) {
			if s, ok := strings.CutPrefix(l, "modes "); ok {
				modes = strings.TrimSpace(s)
			}
		}
		return modes != ""
	})
	return modes
}

// Whatever happens to it, the program leaves the terminal as it was.
func TestTmux(t *testing.T) {
	t.Parallel()
	exe, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	m := openTmux(t)
	modes := m.modes()
	begin := func(mode string) {
		t.Helper()
		m.typed("clear; "+childEnv+"="+mode+" "+exe, "Enter")
		m.await("child  up")
	}
	kill := func(signal string) {
		t.Helper()
		m.run("run-shell", "kill -"+signal+" $(ps -o pid= --ppid #{pane_pid})")
	}

	begin("keys")
	m.run("resize-window", "-x", "160", "-y", "45")
	m.await("opened per second")
	m.run("resize-window", "-x", "59", "-y", "11")
	m.await("(more at")
	m.run("resize-window", "-x", "80", "-y", "24")
	m.await("? help  q quit")
	m.typed("q")
	m.await("lost      0")
	m.normal(modes)

	for _, signal := range []string{"TERM", "INT"} {
		begin("signal")
		kill(signal)
		m.await("lost      0")
		m.normal(modes)
	}
	begin("signal")
	kill("HUP")
	m.normal(modes)

	begin("panic")
	kill("USR1")
	m.await("goroutine")
	m.normal(modes)

	for _, stop := range []func(){func() { kill("TSTP") }, func() { m.typed("C-z") }} {
		begin("stop")
		stop()
		m.await("Stopped")
		m.normal(modes)
		m.typed("fg", "Enter")
		m.await("child  up")
		m.typed("?")
		m.await("twtrace: keys")
		m.typed("q")
		m.normal(modes)
	}

	m.typed("clear; "+childEnv+"=batch "+exe+" | head -1; echo ${PIPESTATUS[0]}", "Enter")
	m.await("# 1970-")
	m.await("\n0\n")
	m.normal(modes)
}
