package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/kerneltest"
)

// runningAgent is a running agent.
type runningAgent struct {
	t      *testing.T
	cmd    *exec.Cmd
	socket string
	stderr talk
}

// serveAgent starts an agent with a socket of its own, and returns once it answers. Its
// directory is open to all.
func serveAgent(t *testing.T, args ...string) *runningAgent {
	t.Helper()
	kerneltest.RequireRoot(t)
	dir, err := os.MkdirTemp("", "twtrace-agent")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	return serveAgentAt(t, filepath.Join(dir, "agent.sock"), args...)
}

// serveAgentAt starts an agent with that socket, and returns once it answers.
func serveAgentAt(t *testing.T, socket string, args ...string) *runningAgent {
	t.Helper()
	if set := os.Getenv(hooksVariable); set != "" {
		args = append(args, "--hooks", set)
	}
	if !slices.Contains(args, "--listen") {
		args = append(args, "--listen", "off") // there is one such port, and many tests
	}
	a := &runningAgent{t: t, socket: socket}
	a.cmd = exec.Command(shipped(t), append([]string{"serve", "--socket", a.socket}, args...)...)
	a.cmd.Stderr = &a.stderr
	must(t, a.cmd.Start())
	t.Cleanup(func() { a.cmd.Process.Kill() })
	kerneltest.Eventually(t, patience, func() (bool, string) {
		return strings.Contains(a.stderr.String(), "answers at "+a.socket), "stderr: " + a.stderr.String()
	})
	return a
}

// shipped is twtrace as it is built for users: without cgo, which a speaker cannot do with.
func shipped(t *testing.T) string {
	t.Helper()
	path, err := buildShipped()
	must(t, err)
	return path
}

// shippedDir is where that is, until all tests have run; "" if none needed it.
var shippedDir string

var buildShipped = sync.OnceValues(func() (path string, err error) {
	if shippedDir, err = os.MkdirTemp("", "twtrace-shipped"); err != nil {
		return "", err
	}
	path = filepath.Join(shippedDir, "twtrace")
	build := exec.Command("go", "build", "-o", path, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build twtrace: %w: %s", err, out)
	}
	return path, os.Chmod(shippedDir, 0o755)
})

// stop has the agent drain, and checks that it ends well.
func (a *runningAgent) stop() {
	a.t.Helper()
	must(a.t, a.cmd.Process.Signal(unix.SIGTERM))
	defer expire(a.cmd)()
	if err := a.cmd.Wait(); err != nil {
		a.t.Errorf("the agent: %v; stderr: %s", err, a.stderr.String())
	}
	if _, err := os.Lstat(a.socket); !os.IsNotExist(err) {
		a.t.Errorf("its socket stays: %v", err)
	}
}

// knows waits until the agent has read what happened up to now.
func (a *runningAgent) knows(now time.Time) {
	a.t.Helper()
	kerneltest.Eventually(a.t, patience, func() (bool, string) {
		answer, err := agent.NewClient(a.socket).Get(a.t.Context(), "/v1/status")
		must(a.t, err)
		var s struct{ Past struct{ To time.Time } }
		must(a.t, json.Unmarshal(answer, &s))
		return s.Past.To.After(now), fmt.Sprintf("the agent is at %v", s.Past.To)
	})
}

// asNobody has cmd run as nobody, in one group beside its own. It runs a copy of this
// program that nobody may run.
func asNobody(t *testing.T, cmd *exec.Cmd, group uint32) *exec.Cmd {
	t.Helper()
	dir, err := os.MkdirTemp("", "twtrace-user")
	must(t, err)
	t.Cleanup(func() { os.RemoveAll(dir) })
	must(t, os.Chmod(dir, 0o755))
	cmd.Path = filepath.Join(dir, "twtrace")
	// Not by this process: a child that it forks meanwhile would have the file open, and
	// what is open for writing does not run.
	if out, err := exec.Command("cp", "--", self(t), cmd.Path).CombinedOutput(); err != nil {
		t.Fatalf("copy this program: %v: %s", err, out)
	}
	cmd.Dir = "/"
	cmd.SysProcAttr.Credential = &syscall.Credential{Uid: 65534, Gid: 65534, Groups: []uint32{group}}
	return cmd
}
