package main

import (
	"bufio"
	"bytes"
	"context"
	"debug/elf"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"runtime/debug"
	"slices"
	"strings"

	"github.com/twtrace/twtrace/internal/tools/vm/plan"
)

// programs are in every guest: those that tests check their results against,
// and the shell. Busybox's would run its own ip when asked for ip.
var programs = []string{"ip", "nstat", "sh", "ss"}

// conveniences are taken along if they are installed.
var conveniences = []string{"bpftool"}

// etc is what little of /etc Go's resolver and the programs read.
var etc = map[string]string{
	"/etc/group":         "root:x:0:\nnogroup:x:65534:\n",
	"/etc/hosts":         "127.0.0.1 localhost\n::1 localhost\n",
	"/etc/nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
	"/etc/passwd":        "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n",
}

// hostFile is a file or a directory to take along.
type hostFile struct{ host, guest string }

// image is an initramfs in the making.
type image struct {
	*cpioWriter
	plan plan.Plan
}

// writeInitramfs writes the guest's whole file system to a file.
func writeInitramfs(ctx context.Context, name string, k *kernel, init string, o *runOptions) error {
	out, err := os.Create(name)
	if err != nil {
		return err
	}
	defer out.Close()
	w := bufio.NewWriterSize(out, 1<<20)
	im := &image{newCpioWriter(w), plan.Plan{Hostname: "twtrace-" + k.Suite, Env: o.env}}
	if err := im.addBase(ctx, init); err != nil {
		return err
	}
	if err := im.addModules(ctx, k, append(defaultModules[:len(defaultModules):len(defaultModules)], o.modules...)); err != nil {
		return err
	}
	for _, c := range o.commands {
		if err := im.addCommand(ctx, c.args, c.env); err != nil {
			return err
		}
	}
	for _, f := range o.files {
		if err := im.addTree(ctx, f.host, f.guest); err != nil {
			return err
		}
	}
	b, err := json.Marshal(im.plan)
	if err != nil {
		return err
	}
	im.File(plan.Path, 0o644, int64(len(b)), bytes.NewReader(b))
	if err := im.Close(); err != nil {
		return err
	}
	return errors.Join(w.Flush(), out.Close())
}

// addBase adds init, and the programs of this machine that every guest has.
func (im *image) addBase(ctx context.Context, init string) error {
	for _, dir := range []string{"/proc", "/sys", "/dev", "/run", "/tmp", "/root", "/usr/bin", "/usr/sbin"} {
		im.Dir(dir)
	}
	im.CharDevice("/dev/console", 0o600, 5, 1) // the kernel opens it for init, before devtmpfs
	im.Symlink("/run", "/var/run")
	for _, name := range slices.Sorted(maps.Keys(etc)) {
		im.File(name, 0o644, int64(len(etc[name])), strings.NewReader(etc[name]))
	}
	if err := im.addFile(init, "/init"); err != nil {
		return err
	}
	for _, name := range programs {
		file, err := toolPath(name)
		if err != nil {
			return err
		}
		if err := im.addProgram(ctx, file, "/bin/"+name); err != nil {
			return err
		}
	}
	for _, name := range conveniences {
		if file, err := toolPath(name); err == nil {
			if err := im.addProgram(ctx, file, "/bin/"+name); err != nil {
				return err
			}
		}
	}
	return im.addBusybox(ctx)
}

// addBusybox adds what goes with a shell, if this machine has a busybox.
func (im *image) addBusybox(ctx context.Context) error {
	file, err := toolPath("busybox")
	if err != nil {
		return nil // for debugging only; no test may need it
	}
	if err := im.addProgram(ctx, file, "/bin/busybox"); err != nil {
		return err
	}
	applets, err := output(exec.CommandContext(ctx, file, "--list"))
	if err != nil {
		return err
	}
	for _, name := range strings.Fields(string(applets)) {
		if name := "/bin/" + name; !im.Has(name) {
			im.Symlink("busybox", name)
		}
	}
	return nil
}

func (im *image) addModules(ctx context.Context, k *kernel, names []string) error {
	mods, err := loadModules(ctx, k, names)
	if err != nil {
		return err
	}
	for _, m := range mods {
		name := "/lib/modules/" + m.name + ".ko"
		im.File(name, 0o644, int64(len(m.data)), bytes.NewReader(m.data))
		im.plan.Modules = append(im.plan.Modules, name)
	}
	return nil
}

// addCommand plans a command; see the package comment for where it is found.
func (im *image) addCommand(ctx context.Context, args, env []string) error {
	base := filepath.Base(args[0])
	c := plan.Command{Path: args[0], Args: args[1:], Env: env, Dir: path.Join("/test", strings.TrimSuffix(base, ".test"))}
	if _, err := os.Stat(args[0]); err == nil {
		c.Path = path.Join("/test/bin", base)
		if !im.Has(c.Path) {
			if err := im.addProgram(ctx, args[0], c.Path); err != nil {
				return err
			}
		}
	} else if strings.Contains(args[0], "/") {
		return err
	}
	im.Dir(c.Dir)
	im.plan.Commands = append(im.plan.Commands, c)
	return nil
}

// addTree adds a file, or a directory with all that is in it.
func (im *image) addTree(ctx context.Context, host, guest string) error {
	return filepath.WalkDir(host, func(file string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(host, file)
		if err != nil {
			return err
		}
		to := path.Join(guest, filepath.ToSlash(rel))
		if d.IsDir() {
			im.Dir(to)
			return nil
		}
		return im.addProgram(ctx, file, to)
	})
}

// addProgram adds a file, and the shared libraries if it needs any.
func (im *image) addProgram(ctx context.Context, host, guest string) error {
	if err := im.addFile(host, guest); err != nil {
		return err
	}
	if !dynamic(host) {
		return nil
	}
	cmd, err := tool(ctx, "ldd", host)
	if err != nil {
		return err
	}
	b, err := output(cmd)
	if err != nil {
		return err
	}
	libs, err := parseLdd(string(b))
	if err != nil {
		return fmt.Errorf("find the libraries of %s: %w", host, err)
	}
	for _, lib := range libs {
		if !im.Has(lib) {
			if err := im.addFile(lib, lib); err != nil {
				return err
			}
		}
	}
	return nil
}

func (im *image) addFile(host, guest string) error {
	f, err := os.Open(host)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	if !st.Mode().IsRegular() {
		return fmt.Errorf("add %s to the guest: not a regular file", host)
	}
	im.File(guest, st.Mode(), st.Size(), f)
	return im.err
}

// dynamic says whether a file is a program that wants a loader.
func dynamic(name string) bool {
	f, err := elf.Open(name)
	if err != nil {
		return false
	}
	defer f.Close()
	return slices.ContainsFunc(f.Progs, func(p *elf.Prog) bool { return p.Type == elf.PT_INTERP })
}

// parseLdd takes the files out of what ldd prints.
func parseLdd(s string) ([]string, error) {
	var libs []string
	for line := range strings.Lines(s) {
		name, rest, found := strings.Cut(strings.TrimSpace(line), " => ")
		if strings.HasPrefix(rest, "not found") {
			return nil, fmt.Errorf("%s is missing", name)
		}
		if !found {
			rest = name
		}
		file, _, _ := strings.Cut(rest, " (")
		if strings.HasPrefix(file, "/") { // the vDSO has no file
			libs = append(libs, file)
		}
	}
	return libs, nil
}

// buildInit compiles the guest's init to a file.
func buildInit(ctx context.Context, name string) error {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return errors.New("build init: this program does not know its own import path")
	}
	cmd, err := tool(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", name, info.Path+"/init")
	if err != nil {
		return err
	}
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH=amd64", "GOFLAGS=")
	if _, err := output(cmd); err != nil {
		return fmt.Errorf("build init: %w", err)
	}
	return nil
}
