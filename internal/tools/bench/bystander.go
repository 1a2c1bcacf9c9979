package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"time"

	"golang.org/x/sys/unix"
)

// What this program is when it is its own tool, as its only argument says.
const (
	floor = "floor" // programs that do nothing, where twtrace has its own
	poll  = "poll"  // ss -tan every second
	// and a load
	caller = "caller" // system calls
)

var bystanders = map[string]func() error{floor: beFloor, poll: bePoll, caller: beCaller}

// beFloor attaches programs that do nothing to the tracepoints of the timer hooks.
func beFloor() error {
	all, err := attachNothing("inet_sock_set_state", "timer_start", "timer_cancel", "timer_expire_entry", "kfree_skb")
	if err != nil {
		return err
	}
	defer all.Close()
	fmt.Println("attached")
	<-interrupted()
	return nil
}

// bePoll does what people do who have no tracer.
func bePoll() error {
	stop := interrupted()
	for {
		cmd := exec.Command("ss", "-tan")
		cmd.Stdout = io.Discard
		cmd.Stderr = os.Stderr
		if err := cmd.Run(); err != nil {
			return errors.Join(errors.New("ss -tan"), err)
		}
		fmt.Println("polled")
		select {
		case <-time.After(time.Second):
		case <-stop:
			return nil
		}
	}
}

// beCaller makes system calls for as long as the window, and prints how many.
func beCaller() error {
	n := 0
	for end := time.Now().Add(window); time.Now().Before(end); n += 1000 {
		for range 1000 {
			unix.Getppid()
		}
	}
	fmt.Println(n)
	return nil
}

func interrupted() <-chan os.Signal {
	c := make(chan os.Signal, 1)
	signal.Notify(c, os.Interrupt, unix.SIGTERM)
	return c
}
