package main

import (
	"io"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/workload"
)

// onTerminal runs twtrace on a terminal of that width, and returns all that it writes.
func onTerminal(t *testing.T, width int, env []string, args ...string) string {
	t.Helper()
	var all strings.Builder
	watchTerminal(t, &all, width, env, args...)
	return all.String()
}

// watchTerminal does so, and has to see each piece as it comes.
func watchTerminal(t *testing.T, to io.Writer, width int, env []string, args ...string) {
	t.Helper()
	fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_CLOEXEC, 0)
	must(t, err)
	master := os.NewFile(uintptr(fd), "ptmx")
	defer master.Close()
	must(t, unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0))
	n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
	must(t, err)
	slave, err := os.OpenFile("/dev/pts/"+strconv.Itoa(n), os.O_RDWR|unix.O_NOCTTY, 0)
	must(t, err)
	must(t, unix.IoctlSetWinsize(int(slave.Fd()), unix.TIOCSWINSZ, &unix.Winsize{Col: uint16(width), Row: 40}))
	cmd := command(args...)
	cmd.Env = append(append(cmd.Env, "TERM=xterm", "LC_ALL=C.UTF-8", "NO_COLOR=", "CLICOLOR_FORCE="), env...)
	cmd.Stdout, cmd.Stderr = slave, slave
	must(t, cmd.Start())
	defer expire(cmd)()
	slave.Close()
	_, _ = io.Copy(to, master) // EIO is its end
	_ = cmd.Wait()             // what it writes says it
}

// stopwatch notes when a word was written.
type stopwatch struct {
	word  string
	begun time.Time
	all   strings.Builder
	after time.Duration // 0: not yet
}

func (s *stopwatch) Write(b []byte) (int, error) {
	s.all.Write(b)
	if s.after == 0 && strings.Contains(s.all.String(), s.word) {
		s.after = time.Since(s.begun)
	}
	return len(b), nil
}

// TestDoctorScreen: on a terminal what is known is shown before the report, and gone
// when it comes.
func TestDoctorScreen(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		name  string
		width int
		env   string
		color bool
		bar   string
	}{
		{"80 columns", 80, "LC_ALL=C.UTF-8", true, "█"},
		{"40 columns", 40, "LC_ALL=C", true, "#"},
		{"no colour", 132, "NO_COLOR=1", false, "█"},
		{"dumb", 80, "TERM=dumb", false, ""},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			verdict := "CRITICAL TW101"
			if tt.color {
				verdict = "\x1b[31mCRITICAL\x1b[0m TW101"
			}
			all := onTerminal(t, tt.width, []string{tt.env, asTraced + "=exhausting"}, "doctor", "--window", "3s", "-N", "/proc/self/ns/net")
			before, report, ok := strings.Cut(all, verdict)
			if report = verdict + report; !ok {
				t.Fatalf("no report: %q", all)
			}
			if colored := strings.Contains(report, "\x1b[31mCRIT"); colored != tt.color {
				t.Errorf("colours %v, want %v", colored, tt.color)
			}
			if tt.bar == "" {
				if before != "" || strings.ContainsRune(all, '\x1b') {
					t.Errorf("escapes on a dumb terminal: %q", all)
				}
				return
			}
			if !strings.HasSuffix(before, "\x1b[J") {
				t.Errorf("what was shown is not gone: %q", before)
			}
			shown := strings.Split(before, "\x1b[J")
			if len(shown) < 3 || !strings.Contains(before, "CRIT TW101  ports to 127.0.0.7:3306") || !strings.Contains(before, tt.bar) {
				t.Errorf("%d verdicts: %q", len(shown), before)
			}
			if tt.width >= 80 && !strings.Contains(before, "(checkout[") {
				t.Errorf("no owner before the report: %q", before)
			}
			for _, screen := range shown {
				for line := range strings.SplitSeq(screen, "\n") {
					if n := len([]rune(strings.TrimRight(line, "\r"))); n > tt.width+8 { // an escape to go up
						t.Errorf("%d columns on %d: %q", n, tt.width, line)
					}
				}
			}
		})
	}
}

// TestDoctorScreenAtOnce: what the sockets show is on the terminal before anything is traced.
func TestDoctorScreenAtOnce(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	ns := narrow(t, 300)
	onStage(t, ns, caller("checkout", 40, workload.HalfClose, one), database)
	awaitSockets(t, ns, 300, "state", "time-wait") // no port is left: crit from the first poll on
	all := onTerminal(t, 80, nil, "doctor", "--window", "3s", "-N", ns.Path())
	first, _, _ := strings.Cut(all, "\x1b[J")
	if !strings.Contains(first, "CRIT TW101  ports to 127.0.0.7:3306") || !strings.Contains(all, "(checkout[") {
		t.Errorf("the first verdict: %q", first)
	}
}
