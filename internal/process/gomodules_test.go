package process

import (
	"os"
	"os/exec"
	"testing"
)

// TestGoModules: this test is a Go program, and a shell is not.
func TestGoModules(t *testing.T) {
	_, ok := GoModules(uint32(os.Getpid()))
	if !ok {
		t.Error("a Go program is not known as one")
	}
	sh := exec.Command("sh", "-c", "read x")
	in, err := sh.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := sh.Start(); err != nil {
		t.Fatal(err)
	}
	defer sh.Wait()
	defer in.Close()
	if got, ok := GoModules(uint32(sh.Process.Pid)); ok {
		t.Errorf("a shell is built from %v", got)
	}
	if _, ok := GoModules(1 << 30); ok {
		t.Error("no process is a Go program")
	}
}
