package main

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/conn/conntest"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/live"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
	"github.com/twtrace/twtrace/internal/tracer"
)

// besides is what two processes do at once, of which the hooks follow the first. It lasts
// until it is stopped.
func besides() *sessiontest.Source {
	mine, others := busyClient(20), busyClient(30)
	mine.Process = event.Proc{PID: 5001, Comm: "curl", Who: &event.Who{Start: 7, PPID: 5000, PComm: "sh", Followed: true}}
	others.Process = event.Proc{PID: 6001, Comm: "curl", Who: &event.Who{Start: 8, PPID: 6000, PComm: "sh"}}
	src := played(1000, 2*time.Second, until(time.Second, mine), until(time.Second, others))
	src.Until = conntest.Start.Add(100000 * time.Hour)
	return src
}

// checkFollowed wants the records to be those of the process that is followed, each
// connection opened and ended, and of nobody else.
func checkFollowed(t *testing.T, all []record) {
	t.Helper()
	opens, ends := only("open", all), only("time_wait_enter", all)
	if len(opens) < 15 || len(opens) != len(ends) {
		t.Errorf("%d opens and %d ends", len(opens), len(ends))
	}
	for _, r := range append(opens, ends...) {
		if r.PID != 5001 || r.Comm != "curl" || r.PComm != "sh" || r.PIDStart != 7 {
			t.Errorf("a record of %s[%d], child of %s[%d]: %+v", r.Comm, r.PID, r.PComm, r.PPID, r)
		}
	}
	if all[0].Event != "start" || all[len(all)-1].Event != "end" || len(all) != 2+len(opens)+len(ends) {
		t.Errorf("%d records, from %q to %q", len(all), all[0].Event, all[len(all)-1].Event)
	}
}

// cue is a made trace that says when all its events were read.
type cue struct {
	made
	left int
	read func() error
}

func (c *cue) Next(ctx context.Context, e *event.Event) error {
	err := c.made.Next(ctx, e)
	if err == nil {
		if c.left--; c.left == 0 {
			err = c.read()
		}
	}
	return err
}

// TestCommand traces a command beside another that does the same and is nobody's
// business: what the command prints goes to stderr, and its exit code is the trace's.
func TestCommand(t *testing.T) {
	t.Parallel()
	fifo := filepath.Join(t.TempDir(), "cue")
	must(t, unix.Mkfifo(fifo, 0o600))
	file, err := os.OpenFile(fifo, os.O_RDWR, 0)
	must(t, err)
	defer file.Close()
	src := besides()
	var follow []tracer.Root
	attach := func(o live.Options) (running, error) {
		follow = o.Tracer.Follow
		return &cue{made{Source: src}, len(src.Events), func() error { _, err := file.WriteString("go\n"); return err }}, nil
	}
	o := attachedBy(attach, "trace", "-o", "json", "--", "sh", "-c", "read go < "+fifo+"; echo it runs; exit 7")
	if o.code != 7 || o.stderr != "it runs\n" || !src.Closed {
		t.Errorf("exit code %d, want the command's; closed: %v; stderr: %s", o.code, src.Closed, o.stderr)
	}
	if want := []tracer.Root{{PID: uint32(os.Getpid()), Children: true}}; !slices.Equal(follow, want) {
		t.Errorf("followed are %+v, want %+v", follow, want)
	}
	all := recordsIn(t, o.stdout)
	checkFollowed(t, all)
	if why := all[len(all)-1].Why; why != "command" {
		t.Errorf("it ended for %q", why)
	}
}

// TestFollow has processes followed from some that run already: the hooks get all of them,
// and only what is followed is printed.
func TestFollow(t *testing.T) {
	t.Parallel()
	src := besides()
	src.Until = conntest.Start.Add(2 * time.Second)
	o, asked := overAsked(t, src, "trace", "-o", "json", "-p", "5000,77", "--follow")
	if o.code != exitOK || o.stderr != "" {
		t.Errorf("exit code %d: %s", o.code, o.stderr)
	}
	if want := []tracer.Root{{PID: 5000}, {PID: 77}}; !slices.Equal(asked.Tracer.Follow, want) {
		t.Errorf("followed are %+v, want %+v", asked.Tracer.Follow, want)
	}
	checkFollowed(t, recordsIn(t, o.stdout))

	src = besides()
	src.Until = conntest.Start.Add(2 * time.Second)
	o, asked = overAsked(t, src, "trace", "-o", "json", "-p", "6001") // without --follow its records alone
	for _, r := range recordsIn(t, o.stdout) {
		if r.Event != "start" && r.Event != "end" && r.PID != 6001 {
			t.Errorf("a record of %d", r.PID)
		}
	}
	if asked.Tracer.Follow != nil {
		t.Errorf("followed are %+v, and nobody asked", asked.Tracer.Follow)
	}
	gone := func(live.Options) (running, error) { return nil, errors.New("follow process 4194303: it is gone") }
	attachedBy(gone, "trace", "--follow", "-p", "4194303").failed(t, exitFailed, "process 4194303")
}

// TestCmdline has command lines in the records only if they were asked for.
func TestCmdline(t *testing.T) {
	t.Parallel()
	start, err := process.StartOf(uint32(os.Getpid()))
	must(t, err)
	comm, err := os.ReadFile("/proc/self/comm")
	must(t, err)
	self := event.Proc{PID: uint32(os.Getpid()), Comm: strings.TrimSpace(string(comm)), Who: &event.Who{Start: start}}
	for _, asked := range []bool{false, true} {
		src := played(1000, time.Second, busyClient(50))
		attach := func(o live.Options) (running, error) {
			names := process.NewResolver(o.Process)
			defer names.Stop()
			for i := range src.Events {
				src.Events[i].Opener = names.Describe(self)
			}
			return &made{Source: src}, nil
		}
		args := []string{"trace", "-o", "json", "--event", "open,time_wait_enter"}
		if asked {
			args = append(args, "--cmdline")
		}
		o := attachedBy(attach, args...)
		all := recordsIn(t, o.stdout)
		with := 0
		for _, r := range all {
			if r.Cmdline != "" {
				with++
			}
			if r.Cmdline != "" && !strings.HasPrefix(r.Cmdline, os.Args[0]) {
				t.Errorf("command line %q of %s[%d]", r.Cmdline, r.Comm, r.PID)
			}
			if r.Event == "open" && r.Exe == "" {
				t.Fatalf("nothing is known of %+v", r)
			}
		}
		if o.code != exitOK || len(all) < 90 || asked != (with > 0) || asked && with != len(all)-2 {
			t.Errorf("asked for: %v, and %d records of %d have a command line; exit code %d: %s", asked, with, len(all), o.code, o.stderr)
		}
	}
}

// TestSyscallHooks: nothing is called for system calls, unless it was asked for; doctor
// asks for it by itself, and does without where the host does not let it.
func TestSyscallHooks(t *testing.T) {
	t.Parallel()
	for _, verb := range []string{"trace", "top -b -c 1", "record -w - -o json", "storms"} {
		for flags, want := range map[string]bool{"": false, "--syscalls auto": false, "--syscalls off": false, "--syscalls on": true} {
			_, asked := overAsked(t, played(1000, time.Second, busyClient(5)), strings.Fields(verb+" "+flags)...)
			if asked.Tracer.Syscalls != want {
				t.Errorf("%s %s: hooks on system calls: %v", verb, flags, asked.Tracer.Syscalls)
			}
		}
	}
	refused := &tracer.HostError{What: "system calls", Err: errors.New("no")}
	for _, tt := range []struct {
		flags string
		able  bool
		tries []bool // whether each was with system calls
		works bool
	}{
		{"", true, []bool{true}, true},
		{"", false, []bool{true, false}, true},
		{"--syscalls on", false, []bool{true}, false},
		{"--syscalls off", false, []bool{false}, true},
	} {
		src, err := inOwnNetNS(played(1000, time.Second, busyClient(5)))
		must(t, err)
		var tries []bool
		attach := func(o live.Options) (running, error) {
			tries = append(tries, o.Tracer.Syscalls)
			if o.Tracer.Syscalls && !tt.able {
				return nil, refused
			}
			return &made{Source: src}, nil
		}
		v := verdictOf(t, attachedBy(attach, strings.Fields("doctor -o json --window 10ms -N "+ownNetNS+" "+tt.flags)...))
		if !slices.Equal(tries, tt.tries) || v.Traced != tt.works {
			t.Errorf("doctor %s: tried %v, want %v; traced %v", tt.flags, tries, tt.tries, v.Traced)
		}
	}
}
