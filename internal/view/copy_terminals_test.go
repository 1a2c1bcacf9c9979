package view

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// showCure starts the view in what runs in the terminal, and opens the page that has the
// cure on it.
func (m *tmux) showCure() {
	m.t.Helper()
	exe, err := os.Executable()
	if err != nil {
		m.t.Fatal(err)
	}
	m.typed("clear; "+childEnv+"=copy "+exe, "Enter")
	m.await("child  up")
	m.typed("Enter")
	m.await("first seen")
}

// pasted is what cat gets when the keys paste it.
func (m *tmux) pasted(keys func()) string {
	m.t.Helper()
	file := filepath.Join(m.t.TempDir(), "pasted")
	m.typed("clear; cat > "+file, "Enter")
	m.until("cat waits", func() bool { _, err := os.Stat(file); return err == nil })
	keys()
	m.typed("Enter", "C-d")
	got := ""
	m.until("it is pasted", func() bool {
		b, _ := os.ReadFile(file)
		got = strings.TrimSuffix(string(b), "\n")
		return strings.HasSuffix(string(b), "\n")
	})
	return got
}

// Under tmux the cure, and what takes it back, are tmux's to paste, with the mouse
// captured or not.
func TestCopyUnderTmux(t *testing.T) {
	t.Parallel()
	m := openTmux(t)
	modes := m.modes()
	for key, want := range map[string]string{"y": cure, "Y": cureUndo} {
		m.showCure()
		if got := m.run("display-message", "-p", "#{mouse_any_flag}"); got != "1\n" {
			t.Errorf("the mouse is not the view's: %s", got)
		}
		m.typed(key)
		m.await("copied to tmux, C-b ] pastes it")
		m.typed("q")
		m.normal(modes)
		if got := m.pasted(func() { m.run("paste-buffer") }); got != want {
			t.Errorf("%s: pasted %q, want %q", key, got, want)
		}
	}
}

// Under screen it is screen's to paste.
func TestCopyUnderScreen(t *testing.T) {
	t.Parallel()
	kerneltest.RequireTool(t, "screen", "screen")
	m := openTmux(t)
	dir := t.TempDir()
	sockets, rc := filepath.Join(dir, "S"), filepath.Join(dir, "rc")
	if err := os.Mkdir(sockets, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(rc, []byte("startup_message off\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	m.typed("clear; SCREENDIR="+sockets+" screen -c "+rc+" -S copy bash --norc --noprofile", "Enter")
	t.Cleanup(func() {
		quit := exec.Command("screen", "-S", "copy", "-X", "quit")
		quit.Env = append(os.Environ(), "SCREENDIR="+sockets)
		quit.Run()
	})
	m.typed("echo in''ner", "Enter")
	m.await("\ninner")
	m.showCure()
	m.typed("y")
	m.await("copied to screen, C-a ] pastes it")
	m.typed("q")
	m.await("lost      0")
	if got := m.pasted(func() { m.typed("C-a", "]") }); got != cure {
		t.Errorf("pasted %q, want %q", got, cure)
	}
}
