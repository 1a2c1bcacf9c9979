package demo

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"

	"golang.org/x/sys/unix"
)

// command is the hidden command that makes this program a process of the demo.
const command = "demo-process"

// parentFD is the descriptor of such a process that leads to its parent.
const parentFD = 3

// reply is what a process answers to its role: that it has started, or why not.
type reply struct {
	Err string `json:"err,omitempty"`
}

// process is a running process of the demo. It ends when its parent does: the socket
// between them is then closed.
type process struct {
	cmd    *exec.Cmd
	socket *os.File
}

// startProcess starts a process where do runs its function, in a network namespace, and
// waits until it has taken up its role.
func startProcess(do func(func() error) error, r role) (*process, error) {
	pair, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("make a socket pair: %w", err)
	}
	theirs := os.NewFile(uintptr(pair[1]), "child")
	defer theirs.Close()
	p := &process{
		cmd:    exec.Command("/proc/self/exe", command),
		socket: os.NewFile(uintptr(pair[0]), "parent"),
	}
	p.cmd.ExtraFiles = []*os.File{theirs}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for the parent
	if err := do(p.cmd.Start); err != nil {
		return nil, errors.Join(err, p.socket.Close())
	}
	theirs.Close() // so that the end of the child is the end of the socket
	if err := p.assign(r); err != nil {
		p.end()
		return nil, err
	}
	return p, nil
}

// assign sends the role and waits for the answer.
func (p *process) assign(r role) error {
	if err := json.NewEncoder(p.socket).Encode(r); err != nil {
		return fmt.Errorf("send its role: %w", err)
	}
	var answer reply
	err := json.NewDecoder(p.socket).Decode(&answer)
	switch {
	case errors.Is(err, io.EOF):
		return errors.New("it ended before it had started")
	case err != nil:
		return fmt.Errorf("wait until it has started: %w", err)
	case answer.Err != "":
		return errors.New(answer.Err)
	}
	return nil
}

// end kills the process. It may be called again.
func (p *process) end() {
	_ = p.cmd.Process.Kill() // it may have ended by itself
	_ = p.cmd.Wait()         // with the signal as its error
	p.socket.Close()
}
