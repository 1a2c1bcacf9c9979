package main

import (
	"bytes"
	"context"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
)

// toolPackage is the Debian package that brings a program this one runs.
var toolPackage = map[string]string{
	"apt-cache":          "apt",
	"apt-get":            "apt",
	"bpftool":            "bpftool",
	"dpkg-deb":           "dpkg",
	"gzip":               "gzip",
	"ip":                 "iproute2",
	"ldd":                "libc-bin",
	"lz4":                "lz4",
	"nstat":              "iproute2",
	"qemu-system-x86_64": "qemu-system-x86",
	"ss":                 "iproute2",
	"xz":                 "xz-utils",
	"zstd":               "zstd",
}

// tool prepares a run of a program of the host. If it is not installed the
// error names the package to install.
func tool(ctx context.Context, name string, args ...string) (*exec.Cmd, error) {
	file, err := toolPath(name)
	if err != nil {
		return nil, err
	}
	return exec.CommandContext(ctx, file, args...), nil
}

// toolPath finds a program also where only root's PATH leads.
func toolPath(name string) (string, error) {
	file, err := exec.LookPath(name)
	for _, dir := range []string{"/usr/sbin", "/sbin"} {
		if err == nil {
			break
		}
		var err2 error
		if file, err2 = exec.LookPath(filepath.Join(dir, name)); err2 == nil {
			err = nil
		}
	}
	if err != nil {
		if pkg := toolPackage[name]; pkg != "" {
			return "", fmt.Errorf("find %s (Debian package %s): %w", name, pkg, err)
		}
		return "", err
	}
	return file, nil
}

// output runs cmd and returns its stdout; the error has its stderr.
func output(cmd *exec.Cmd) ([]byte, error) {
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("run %s: %w: %s", strings.Join(cmd.Args, " "), err, bytes.TrimSpace(stderr.Bytes()))
	}
	return stdout.Bytes(), nil
}
