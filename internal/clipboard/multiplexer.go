package clipboard

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"syscall"
)

// multiplexer is a program above this process that has its terminal.
type multiplexer struct {
	server ancestor
	inner  ancestor // what the multiplexer started in the pane or window
}

// run has the multiplexer's own program talk to it, as its user would from the pane:
// twtrace may be root, and the multiplexer another user's.
func (m *multiplexer) run(ctx context.Context, in io.Reader, args ...string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	path, err := os.Readlink(fmt.Sprintf("/proc/%d/exe", m.server.pid))
	if err != nil || strings.HasSuffix(path, " (deleted)") {
		path = strings.TrimSuffix(m.server.comm, ": server")
	}
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = append(m.inner.environ(), "PATH="+os.Getenv("PATH"))
	cmd.Stdin, cmd.WaitDelay = in, patience
	if uid, gid := m.server.uid, m.server.gid; uid != uint32(os.Geteuid()) {
		cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: uid, Gid: gid}}
	}
	out, err := cmd.Output()
	return strings.TrimSuffix(string(out), "\n"), err
}
