package main

import (
	"os/exec"
	"testing"
)

// TestTakeTurns has another program in qemu's place: it receives the interruption, and is forgotten once gone.
func TestTakeTurns(t *testing.T) {
	cmd := exec.Command("sh", "-c", "head -c 10 <&3; sleep 0.1")
	turns, err := monitor(cmd)
	if err != nil {
		t.Fatal(err)
	}
	over := make(chan struct{})
	go func() { takeTurns(turns); close(over) }()
	out, err := cmd.Output()
	cmd.ExtraFiles[0].Close()
	if err != nil || string(out) != interrupt {
		t.Errorf("it received %q, %v; want %q", out, err, interrupt)
	}
	<-over
}
