package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// nextCommand separates commands on the command line.
const nextCommand = "--and--"

// runOptions say what to run, and in what machine.
type runOptions struct {
	suite    string
	memory   int // MiB
	cpus     int
	accel    string
	timeout  time.Duration
	keep     bool
	append   string // to the kernel's command line
	env      []string
	modules  []string
	files    []hostFile
	commands []command
	console  io.Writer // what the guest prints goes there; nil for stdout
}

// command is a program to run in the guest.
type command struct {
	args []string
	env  []string // K=V, after that of all
}

func parseRun(args []string) (*runOptions, error) {
	fs, suite := newFlags("run")
	o := &runOptions{}
	o.flags(fs)
	if err := parse(fs, args); err != nil {
		return nil, err
	}
	o.suite = *suite
	return o, o.check(fs)
}

// flags are those of every verb that boots a guest.
func (o *runOptions) flags(fs *flag.FlagSet) {
	fs.IntVar(&o.memory, "mem", 2048, "memory of the guest, in `MiB`")
	fs.IntVar(&o.cpus, "cpus", 2, "number of CPUs")
	fs.StringVar(&o.accel, "accel", "tcg", "accelerator: tcg (software, works everywhere) or kvm")
	fs.DurationVar(&o.timeout, "timeout", 15*time.Minute, "give up after")
	fs.BoolVar(&o.keep, "keep", false, "keep the initramfs, and say how to boot it again")
	fs.StringVar(&o.append, "append", "", "more for the kernel's command line")
	fs.Func("env", "`K=V` for the programs' environment; repeatable", func(s string) error {
		if !strings.Contains(s, "=") {
			return errors.New("want K=V")
		}
		o.env = append(o.env, s)
		return nil
	})
	fs.Func("module", "load a kernel module, by `name`; repeatable", func(s string) error {
		o.modules = append(o.modules, s)
		return nil
	})
	fs.Func("file", "take a file or a directory along, `host:guest`; repeatable", func(s string) error {
		host, guest, ok := strings.Cut(s, ":")
		if !ok || !strings.HasPrefix(guest, "/") {
			return errors.New("want host:guest, the latter from the root")
		}
		o.files = append(o.files, hostFile{host, guest})
		return nil
	})
}

func (o *runOptions) check(fs *flag.FlagSet) error {
	if o.memory < 256 || o.cpus < 1 {
		return usagef("the guest needs a CPU and 256 MiB")
	}
	if o.accel != "tcg" && o.accel != "kvm" {
		return usagef("unknown accelerator %q: it is tcg or kvm", o.accel)
	}
	o.commands = splitCommands(fs.Args())
	bases := map[string]string{}
	for _, c := range o.commands {
		if len(c.args) == 0 {
			return usagef("nothing to run: end the flags with -- and name a program")
		}
		// In the guest they would be one.
		program := c.args[0]
		base := filepath.Base(program)
		if other, ok := bases[base]; ok && filepath.Clean(other) != filepath.Clean(program) {
			return usagef("%s and %s have the same name", other, program)
		}
		bases[base] = program
	}
	return nil
}

// splitCommands returns at least one command, which may be empty.
func splitCommands(args []string) []command {
	commands := make([]command, 1)
	for _, a := range args {
		if a == nextCommand {
			commands = append(commands, command{})
			continue
		}
		last := &commands[len(commands)-1]
		last.args = append(last.args, a)
	}
	return commands
}

func runMain(ctx context.Context, args []string) error {
	o, err := parseRun(args)
	if err != nil {
		return err
	}
	code, err := o.run(ctx)
	if err == nil && code != 0 {
		err = exitError(code)
	}
	return err
}

// run boots the guest and returns the code of the first command that failed.
func (o *runOptions) run(ctx context.Context) (code int, err error) {
	cache, err := cacheDir()
	if err != nil {
		return 0, err
	}
	k, err := fetchKernel(ctx, cache, o.suite, false)
	if err != nil {
		return 0, err
	}
	dir, err := os.MkdirTemp(cache, "run-")
	if err != nil {
		return 0, err
	}
	if o.keep {
		fmt.Fprintln(os.Stderr, "vm: keeping", dir)
	} else {
		defer os.RemoveAll(dir)
	}
	init := filepath.Join(dir, "init")
	if err := buildInit(ctx, init); err != nil {
		return 0, err
	}
	initramfs := filepath.Join(dir, "initramfs")
	if err := writeInitramfs(ctx, initramfs, k, init, o); err != nil {
		return 0, fmt.Errorf("make the initramfs: %w", err)
	}
	code, err = boot(ctx, k, initramfs, o)
	if err != nil {
		return 0, fmt.Errorf("run on %s (%s): %w", k.Suite, k.Release, err)
	}
	return code, nil
}
