// Command vm runs test binaries as root on Debian's kernels, in a virtual
// machine that takes seconds to boot and is gone afterwards.
//
//	vm run --kernel trixie [flags] -- PROGRAM [ARG...] [--and-- PROGRAM [ARG...]]...
//	vm matrix [--kernels trixie,sid] [--hooks fentry,timer] [--jobs 2] [flags] -- TEST [ARG...] [--and-- PROGRAM [ARG...]]...
//	vm vmlinux --kernel trixie -o vmlinux.h
//	vm fetch --kernel trixie [--refresh]
//
// The kernels are bullseye (5.10), bookworm (6.1), trixie (6.12) and sid (the
// newest). They are fetched from the Debian mirror that this machine's apt
// uses, else from the one in TWTRACE_DEBIAN_MIRROR, and kept in TWTRACE_CACHE,
// or in twtrace in the user's cache directory.
//
// A PROGRAM that is a file on this machine is taken along, with the shared
// libraries it needs; any other name is looked up in the guest, which has ss,
// nstat, ip and a shell, and if this machine has them, bpftool and busybox.
// Each runs in a directory of its own, /test/NAME (NAME less .test), so that
// --file internal/x/testdata:/test/x/testdata puts a package's testdata where
// its tests expect it. Call vm from inside the module: it builds the guest's
// init.
//
// matrix boots every kernel once for each hook set (in TWTRACE_TEST_HOOKS) and
// runs TEST, a test binary that is given -test.v, and with the first set the
// other programs. On the kernel that twtrace refuses it runs TestOldKernel
// alone. It prints a table of the tests and their subtests, and exits 1 if one
// failed. A test can put another word than "ok" there: t.Attr("matrix",
// "absent").
//
// A guest's time is its own: it passes with the instructions that are executed,
// and where there is nothing to do it leaps.
//
// It exits with the code of the first program that failed, else with 0; with
// 125 if there is no such code: the guest panicked, ran into the timeout, or
// never started. Usage errors exit 2.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// Exit codes of the harness; those of the programs are passed through.
const (
	exitUsage   = 2
	exitHarness = 125
)

// usageError is a wrong command line.
type usageError struct{ msg string }

func (e *usageError) Error() string { return e.msg }

func usagef(format string, args ...any) error { return &usageError{fmt.Sprintf(format, args...)} }

// exitError is the code of a program that failed in the guest.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit %d in the guest", int(e)) }

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := dispatch(ctx, os.Args[1:])
	stop()
	os.Exit(exitCode(err))
}

// exitCode says on stderr what err is about, if nobody has yet.
func exitCode(err error) int {
	var usage *usageError
	var guest exitError
	switch {
	case err == nil, errors.Is(err, flag.ErrHelp):
		return 0
	case errors.As(err, &guest):
		return int(guest)
	case errors.As(err, &usage):
		fmt.Fprintln(os.Stderr, "vm:", err)
		return exitUsage
	default:
		fmt.Fprintln(os.Stderr, "vm:", err)
		return exitHarness
	}
}

func dispatch(ctx context.Context, args []string) error {
	verbs := map[string]func(context.Context, []string) error{
		"fetch":   fetchMain,
		"matrix":  matrixMain,
		"run":     runMain,
		"vmlinux": vmlinuxMain,
	}
	if len(args) > 0 {
		if verb := verbs[args[0]]; verb != nil {
			return verb(ctx, args[1:])
		}
	}
	return usagef("usage: vm run|matrix|fetch|vmlinux [flags]; see the source's package comment")
}

// newFlags returns a flag set that has --kernel.
func newFlags(verb string) (*flag.FlagSet, *string) {
	fs := flag.NewFlagSet("vm "+verb, flag.ContinueOnError)
	return fs, fs.String("kernel", "trixie", "Debian suite whose kernel to use: "+strings.Join(suites, ", "))
}

// parse prints the flags if they are asked for. A wrong one is the caller's to
// report, with no page of help around it.
func parse(fs *flag.FlagSet, args []string) error {
	fs.SetOutput(io.Discard)
	err := fs.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fs.SetOutput(os.Stdout)
		fs.PrintDefaults()
	case err != nil:
		return usagef("%v", err)
	}
	return err
}

func fetchMain(ctx context.Context, args []string) error {
	fs, suite := newFlags("fetch")
	refresh := fs.Bool("refresh", false, "look for a newer kernel than the one in the cache")
	if err := parse(fs, args); err != nil {
		return err
	}
	k, err := openKernel(ctx, *suite, *refresh)
	if err != nil {
		return err
	}
	fmt.Printf("%s %s %s\n", k.Release, k.Version, k.dir)
	return nil
}

func vmlinuxMain(ctx context.Context, args []string) error {
	fs, suite := newFlags("vmlinux")
	out := fs.String("o", "vmlinux.h", "file to write")
	refresh := fs.Bool("refresh", false, "look for a newer kernel than the one in the cache")
	if err := parse(fs, args); err != nil {
		return err
	}
	k, err := openKernel(ctx, *suite, *refresh)
	if err != nil {
		return err
	}
	if err := writeHeader(ctx, k, *out); err != nil {
		return fmt.Errorf("write %s: %w", *out, err)
	}
	return nil
}

func openKernel(ctx context.Context, suite string, refresh bool) (*kernel, error) {
	cache, err := cacheDir()
	if err != nil {
		return nil, err
	}
	return fetchKernel(ctx, cache, suite, refresh)
}

// cacheDir is where what was fetched and built is kept. It is outside the tree.
func cacheDir() (string, error) {
	if dir := os.Getenv("TWTRACE_CACHE"); dir != "" {
		return filepath.Abs(dir)
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("find the cache directory: %w", err)
	}
	return filepath.Join(dir, "twtrace"), nil
}

func contains(list []string, s string) bool { return slices.Contains(list, s) }

func hasAnyPrefix(s string, prefixes ...string) bool {
	return slices.ContainsFunc(prefixes, func(p string) bool { return strings.HasPrefix(s, p) })
}
