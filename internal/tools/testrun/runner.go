package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"
)

// quiet is for how long nothing may be printed.
const quiet = 15 * time.Second

// runner runs go test and prints what comes of it.
type runner struct {
	out     io.Writer
	signals <-chan os.Signal
	results *results
	start   time.Time

	printed     time.Time // when a line was last printed
	interrupted bool
}

// goEvent is a line of go test -json; the names are test2json's.
type goEvent struct {
	Action     string
	Package    string
	ImportPath string // of a package that is built
	Test       string
	Elapsed    float64 // seconds
	Output     string
}

// goTest runs go test once. What goes wrong is a result like others.
func (r *runner) goTest(a arguments) {
	r.printf("== go test %s", strings.Join(append(quoted(a.flags), short(a.packages)...), " "))
	cmd := exec.Command("go", append(append([]string{"test", "-json"}, a.flags...), a.packages...)...)
	cmd.Stderr = os.Stderr
	out, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		r.results.broke(err.Error())
		r.printf("%v", err)
		return
	}
	failedBefore := len(r.results.failed())
	lines := make(chan string)
	go func() {
		defer close(lines)
		for in := bufio.NewReader(out); ; {
			line, err := in.ReadString('\n')
			if line != "" {
				lines <- line
			}
			if err != nil {
				return
			}
		}
	}()
	r.follow(a, lines, cmd.Process)
	for _, u := range r.results.unfinished() {
		u.outcome = "fail"
		u.output = append(u.output, "it did not end\n")
		r.show(u)
	}
	if err := cmd.Wait(); err != nil && len(r.results.failed()) == failedBefore {
		r.results.broke(fmt.Sprintf("go test %s: %v", strings.Join(a.packages, " "), err))
	}
}

// follow reads the lines of go test to their end.
func (r *runner) follow(a arguments, lines <-chan string, process *os.Process) {
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for {
		select {
		case line, ok := <-lines:
			if !ok {
				return
			}
			r.take(a, line)
		case s := <-r.signals:
			r.interrupted = true
			_ = process.Signal(s) // it may have it already, or have ended
		case now := <-tick.C:
			if now.Sub(r.printed) >= quiet {
				r.printf("    %s", r.results.running(now, now.Sub(r.start)))
			}
		}
	}
}

// take adds a line to the results, and prints what is worth a line.
func (r *runner) take(a arguments, line string) {
	var e goEvent
	if json.Unmarshal([]byte(line), &e) != nil || e.Action == "" {
		r.printf("%s", strings.TrimRight(line, "\n")) // of what -exec runs, or of go itself
		return
	}
	if done := r.results.take(a, e, time.Now()); done != nil {
		r.show(done)
	}
}

// show prints the end of a package, and of a test that failed.
func (r *runner) show(t *result) {
	switch {
	case t.outcome == "fail":
		for _, line := range t.output {
			r.printf("%s", strings.TrimRight(line, "\n"))
		}
		if t.test == "" {
			r.printf("%s", t.line())
		}
	case t.test == "" && !t.empty():
		r.printf("%s", t.line())
	}
}

func (r *runner) printf(format string, args ...any) {
	r.printed = time.Now()
	fmt.Fprintf(r.out, format+"\n", args...)
}
