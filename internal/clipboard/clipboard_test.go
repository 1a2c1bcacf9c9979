package clipboard

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// childEnv has the test binary copy its value, write the sequence to its terminal, and
// the result to a file.
const (
	childEnv  = "TWTRACE_TEST_COPY"
	resultEnv = "TWTRACE_TEST_RESULT"
)

func TestMain(m *testing.M) {
	if text := os.Getenv(childEnv); text != "" {
		os.Unsetenv("TMUX") // as sudo does
		os.Unsetenv("STY")
		r := Find().Copy(context.Background(), text)
		fmt.Print(r.Sequence)
		b, err := json.Marshal(r)
		if err == nil {
			path := os.Getenv(resultEnv)
			if err = os.WriteFile(path+".new", b, 0o600); err == nil {
				err = os.Rename(path+".new", path)
			}
		}
		if err != nil {
			panic(err)
		}
		return
	}
	m.Run()
}

// text has all that a multiplexer might take for its own.
const text = `ip netns exec ux-web sysctl -w net.ipv4.ip_local_port_range="1024 65535" 'a b' \n ^A $HOME %n`

// outer is a tmux that stands for a terminal with a clipboard: what is sent to it comes
// into its buffer.
type outer struct {
	t      *testing.T
	socket string
	dir    string
}

func openOuter(t *testing.T) *outer {
	t.Helper()
	kerneltest.RequireTool(t, "tmux", "tmux")
	dir := t.TempDir()
	o := &outer{t, filepath.Join(dir, "outer"), dir}
	conf := filepath.Join(dir, "conf")
	must(t, os.WriteFile(conf, []byte("set -g set-clipboard on\nset -g default-terminal xterm-256color\n"), 0o600))
	o.tmux("-f", conf, "new-session", "-d", "-x", "120", "-y", "30", "env PS1='$ ' HISTFILE= bash --norc --noprofile")
	t.Cleanup(func() { exec.Command("tmux", "-S", o.socket, "kill-server").Run() })
	return o
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func (o *outer) tmux(args ...string) string {
	o.t.Helper()
	out, err := exec.Command("tmux", append([]string{"-S", o.socket}, args...)...).CombinedOutput()
	if err != nil {
		o.t.Fatalf("tmux %q: %v: %s", args, err, out)
	}
	return string(out)
}

// typed has a line typed in what runs in the terminal.
func (o *outer) typed(line string) { o.t.Helper(); o.tmux("send-keys", line, "Enter") }

// buffer is what came into the terminal's clipboard, "" for nothing.
func (o *outer) buffer() string {
	out, err := exec.Command("tmux", "-S", o.socket, "show-buffer").Output()
	if err != nil {
		return "" // no buffers
	}
	return string(out)
}

// copied has the test binary copy the text in the terminal, and returns the result.
func (o *outer) copied() (r Result) {
	o.t.Helper()
	exe, err := os.Executable()
	must(o.t, err)
	result := filepath.Join(o.dir, "result")
	script := filepath.Join(o.dir, "copy.sh")
	must(o.t, os.WriteFile(script, fmt.Appendf(nil, "%s='%s' %s=%s exec %s\n", childEnv, strings.ReplaceAll(text, "'", `'\''`), resultEnv, result, exe), 0o600))
	o.typed("sh " + script)
	o.until("the result is there", func() bool { _, err := os.Stat(result); return err == nil })
	b, err := os.ReadFile(result)
	must(o.t, err)
	must(o.t, json.Unmarshal(b, &r))
	return r
}

func (o *outer) until(what string, ok func() bool) {
	o.t.Helper()
	kerneltest.Eventually(o.t, 20*time.Second, func() (bool, string) {
		return ok(), what + "; the screen is\n" + o.tmux("capture-pane", "-p")
	})
}

// inner starts a multiplexer in the terminal, and waits for its shell.
func (o *outer) inner(command string) {
	o.t.Helper()
	o.typed("clear; " + command)
	o.typed("echo in''ner")
	o.until("the inner shell", func() bool { return strings.Contains(o.tmux("capture-pane", "-p"), "\ninner") })
}

// A bare terminal has the text sent to it, which is not to be called copied.
func TestBareTerminal(t *testing.T) {
	o := openOuter(t)
	// tmux is above this process in truth: what a terminal would do is in terminal.Copy.
	r := terminal("xterm-256color").Copy(t.Context(), text)
	if r.Words != "sent to the terminal's clipboard" || r.ByHand {
		t.Errorf("%+v", r)
	}
	file := filepath.Join(o.dir, "sequence")
	must(t, os.WriteFile(file, []byte(r.Sequence), 0o600))
	o.typed("cat " + file)
	o.until("the terminal has it", func() bool { return o.buffer() == text })
}

func TestNoClipboard(t *testing.T) {
	for _, term := range []string{"", "linux", "dumb", "vt220"} {
		if r := terminal(term).Copy(t.Context(), text); !r.ByHand || r.Sequence != "" {
			t.Errorf("TERM=%s: %+v", term, r)
		}
	}
	for _, term := range []string{"tmux-256color", "screen"} { // with nobody to ask
		if r := terminal(term).Copy(t.Context(), text); !r.ByHand || r.Sequence == "" {
			t.Errorf("TERM=%s: %+v", term, r)
		}
	}
}

// tmux has the text, and passes it on unless it is set not to.
func TestTmux(t *testing.T) {
	for set, words := range map[string]string{
		"external": "copied to tmux, C-b ] pastes it; sent to the terminal's clipboard too",
		"on":       "copied to tmux, C-b ] pastes it; sent to the terminal's clipboard too",
		"off":      "copied to tmux, C-b ] pastes it",
	} {
		t.Run(set, func(t *testing.T) {
			t.Parallel()
			o := openOuter(t)
			socket := filepath.Join(o.dir, "inner")
			conf := filepath.Join(o.dir, "inner.conf")
			must(t, os.WriteFile(conf, []byte("set -g set-clipboard "+set+"\nset -g prefix C-b\n"), 0o600))
			o.inner("TMUX= tmux -S " + socket + " -f " + conf + " new-session 'bash --norc --noprofile'")
			t.Cleanup(func() { exec.Command("tmux", "-S", socket, "kill-server").Run() })
			if r := o.copied(); r.Words != words || r.ByHand || r.Sequence != "" {
				t.Errorf("%+v, want %s", r, words)
			}
			held, err := exec.Command("tmux", "-S", socket, "show-buffer").Output()
			if err != nil || string(held) != text {
				t.Errorf("tmux holds %q: %v", held, err)
			}
			if set == "off" {
				if got := o.buffer(); got != "" {
					t.Errorf("the terminal has %q", got)
				}
				return
			}
			o.until("the terminal has it", func() bool { return o.buffer() == text })
		})
	}
}

// screen has the text, as it is, and lets it pass to the terminal.
func TestScreen(t *testing.T) {
	kerneltest.RequireTool(t, "screen", "screen")
	o := openOuter(t)
	dir := filepath.Join(o.dir, "S")
	must(t, os.Mkdir(dir, 0o700))
	rc := filepath.Join(o.dir, "rc")
	must(t, os.WriteFile(rc, []byte("startup_message off\n"), 0o600))
	o.inner("SCREENDIR=" + dir + " screen -c " + rc + " -S copy bash --norc --noprofile")
	t.Cleanup(func() { o.tmux("send-keys", "exit", "Enter") })
	if r := o.copied(); r.Words != "copied to screen, C-a ] pastes it; sent to the terminal's clipboard too" || r.ByHand {
		t.Errorf("%+v", r)
	}
	o.until("the terminal has it", func() bool { return o.buffer() == text })
	// screen pastes it: cat shows what it gets.
	o.typed("clear; cat > " + filepath.Join(o.dir, "pasted"))
	o.tmux("send-keys", "C-a", "]")
	o.tmux("send-keys", "Enter", "C-d")
	o.until("it is pasted", func() bool {
		b, _ := os.ReadFile(filepath.Join(o.dir, "pasted"))
		return string(b) == text+"\n"
	})
}

// A multiplexer that is gone, or refuses, has nothing.
func TestMultiplexerGone(t *testing.T) {
	gone := multiplexer{server: ancestor{pid: 1 << 30, comm: "no-such-program"}, inner: ancestor{pid: 1 << 30}}
	for _, b := range []Board{&tmux{gone}, &screen{gone}} {
		if r := b.Copy(t.Context(), text); !r.ByHand {
			t.Errorf("%T: %+v", b, r)
		}
	}
}
