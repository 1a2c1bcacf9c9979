// Command testrun runs go test and shows how far it is.
//
//	testrun [--name NAME] -- GO-TEST-ARGUMENT... [--and-- GO-TEST-ARGUMENT...]...
//
// It prints a line for each package that ends, the output of each test that fails when
// it does, and what runs if nothing was printed for a while. At the end it lists the
// tests that failed and those that were skipped, with the reason and the command that
// runs each again, and the packages as go test lists them.
//
// Each list of arguments is one run of go test, one after the other, whether or not the
// one before failed. An argument that starts with a dash is a flag, and has its value in
// it (-timeout=5m); any other is a package.
//
// The exit code is 0 if all tests passed, 1 if not, and 2 if the arguments are wrong.
package main

import (
	"fmt"
	"os"
	"os/signal"
	"slices"
	"strings"
	"syscall"
	"time"
)

func main() { os.Exit(run(os.Args[1:])) }

// run is main. It returns the exit code.
func run(args []string) int {
	name, runs, err := parse(args)
	if err != nil {
		fmt.Fprintln(os.Stderr, "testrun:", err)
		return 2
	}
	// A terminal sends SIGINT to go test as well, which ends; the summary follows.
	signals := make(chan os.Signal, 1)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	r := &runner{out: os.Stdout, signals: signals, results: newResults(), start: time.Now()}
	for _, args := range runs {
		r.goTest(args)
		if r.interrupted {
			break
		}
	}
	r.results.summarize(os.Stdout, name, time.Since(r.start))
	switch {
	case r.interrupted:
		fmt.Printf("%s: interrupted\n", name)
		return 1
	case !r.results.passed():
		return 1
	}
	return 0
}

// arguments are those of one run of go test.
type arguments struct{ flags, packages []string }

// parse splits the command line.
func parse(args []string) (name string, runs []arguments, err error) {
	name = "go test"
	at := slices.Index(args, "--")
	if at < 0 {
		return "", nil, fmt.Errorf("no arguments for go test; use testrun [--name NAME] -- ARGUMENT [ARGUMENT]")
	}
	switch own := args[:at]; {
	case len(own) == 2 && own[0] == "--name":
		name = own[1]
	case len(own) > 0:
		return "", nil, fmt.Errorf("unknown argument %q", own[0])
	}
	var a arguments
	for _, arg := range append(slices.Clone(args[at+1:]), "--and--") {
		switch {
		case arg == "--and--":
			if len(a.packages) == 0 {
				return "", nil, fmt.Errorf("go test %s: no packages", strings.Join(a.flags, " "))
			}
			runs = append(runs, a)
			a = arguments{}
		case strings.HasPrefix(arg, "-"):
			a.flags = append(a.flags, arg)
		default:
			a.packages = append(a.packages, arg)
		}
	}
	return name, runs, nil
}
