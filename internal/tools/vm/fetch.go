package main

import (
	"archive/tar"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// suites are the Debian releases whose kernels can be had: 5.10, 6.1, 6.12,
// and the newest there is.
var suites = []string{"bullseye", "bookworm", "trixie", "sid"}

// metaPackage depends on the newest kernel image of its suite.
const metaPackage = "linux-image-amd64"

// kernel is a Debian kernel unpacked in the cache.
type kernel struct {
	Suite   string `json:"suite"`
	Package string `json:"package"` // that holds vmlinuz
	Version string `json:"version"` // of the package
	Release string `json:"release"` // as uname -r prints it

	dir string
}

func (k *kernel) vmlinuz() string { return filepath.Join(k.dir, "vmlinuz") }
func (k *kernel) vmlinux() string { return filepath.Join(k.dir, "vmlinux") }
func (k *kernel) modules() string { return filepath.Join(k.dir, "modules") }

// fetchKernel returns the kernel of the suite from the cache, downloading it
// first if it is not there or refresh is set.
func fetchKernel(ctx context.Context, cache, suite string, refresh bool) (*kernel, error) {
	if !contains(suites, suite) {
		return nil, usagef("unknown kernel %q: it is one of %s", suite, strings.Join(suites, ", "))
	}
	root := filepath.Join(cache, "kernels")
	if err := os.MkdirAll(root, 0o755); err != nil {
		return nil, err
	}
	unlock, err := lockFile(filepath.Join(root, suite+".lock"))
	if err != nil {
		return nil, fmt.Errorf("lock the kernel cache: %w", err)
	}
	defer unlock()

	dir := filepath.Join(root, suite)
	if !refresh {
		k, err := readKernel(dir)
		if err == nil || !errors.Is(err, fs.ErrNotExist) {
			return k, err
		}
	}
	k, err := downloadKernel(ctx, root, suite)
	if err != nil {
		return nil, fmt.Errorf("fetch the %s kernel: %w", suite, err)
	}
	if err := os.RemoveAll(dir); err != nil {
		return nil, err
	}
	if err := os.Rename(k.dir, dir); err != nil {
		return nil, err
	}
	k.dir = dir
	return k, nil
}

// readKernel reads back what downloadKernel left in dir.
func readKernel(dir string) (*kernel, error) {
	b, err := os.ReadFile(filepath.Join(dir, "kernel.json"))
	if err != nil {
		return nil, err
	}
	k := &kernel{dir: dir}
	if err := json.Unmarshal(b, k); err != nil {
		return nil, fmt.Errorf("read %s/kernel.json: %w", dir, err)
	}
	return k, nil
}

// downloadKernel unpacks the suite's kernel in a new directory next to its
// final place, complete with its vmlinux.
func downloadKernel(ctx context.Context, root, suite string) (*kernel, error) {
	a, err := newApt(ctx, filepath.Join(root, suite+".apt"), suite)
	if err != nil {
		return nil, err
	}
	if err := a.update(ctx); err != nil {
		return nil, err
	}
	pkgs, err := kernelPackages(metaPackage, func(name string) (stanza, error) { return a.show(ctx, name) })
	if err != nil {
		return nil, err
	}
	debs, err := os.MkdirTemp(root, suite+".debs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(debs)
	if err := a.download(ctx, debs, pkgs); err != nil {
		return nil, err
	}

	k := &kernel{Suite: suite, dir: filepath.Join(root, suite+".new")}
	if err := os.RemoveAll(k.dir); err != nil {
		return nil, err
	}
	if err := os.Mkdir(k.dir, 0o755); err != nil {
		return nil, err
	}
	if err := k.unpack(ctx, debs, pkgs); err != nil {
		return nil, errors.Join(err, os.RemoveAll(k.dir))
	}
	return k, nil
}

// unpack fills the kernel's directory from the packages' files in debs.
func (k *kernel) unpack(ctx context.Context, debs string, pkgs []stanza) error {
	for _, p := range pkgs {
		files, err := filepath.Glob(filepath.Join(debs, p["Package"]+"_*.deb"))
		if err != nil || len(files) != 1 {
			return fmt.Errorf("apt-get downloaded %d files for %s", len(files), p["Package"])
		}
		release, err := unpackDeb(ctx, files[0], k.dir)
		if err != nil {
			return fmt.Errorf("unpack %s: %w", p["Package"], err)
		}
		if release != "" {
			k.Package, k.Version, k.Release = p["Package"], p["Version"], release
		}
	}
	if k.Release == "" {
		return fmt.Errorf("no vmlinuz in the packages that %s depends on", metaPackage)
	}
	if _, _, err := moduleIndex(k.modules()); err != nil {
		return fmt.Errorf("list the modules: %w", err)
	}
	if err := extractVmlinuxFile(ctx, k.vmlinuz(), k.vmlinux()); err != nil {
		return err
	}
	b, err := json.MarshalIndent(k, "", "\t")
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(k.dir, "kernel.json"), append(b, '\n'), 0o644)
}

// kernelPackages returns the packages that make up the kernel which meta
// depends on. Up to Debian 13 that is one; later the image, the modules and what
// describes them are packages of their own.
func kernelPackages(meta string, show func(name string) (stanza, error)) ([]stanza, error) {
	var pkgs []stanza
	seen := map[string]bool{meta: true}
	for queue := []string{meta}; len(queue) > 0; queue = queue[1:] {
		p, err := show(queue[0])
		if err != nil {
			return nil, err
		}
		if queue[0] != meta {
			pkgs = append(pkgs, p)
		}
		for _, dep := range p.depends() {
			part := hasAnyPrefix(dep, "linux-image-", "linux-base-", "linux-binary-", "linux-modules-")
			if part && !seen[dep] {
				seen[dep] = true
				queue = append(queue, dep)
			}
		}
	}
	if len(pkgs) == 0 {
		return nil, fmt.Errorf("%s depends on no kernel image", meta)
	}
	return pkgs, nil
}

// unpackDeb extracts the kernel image and the modules a test may need from a
// Debian package to dir. It returns the release of the image, if there is one.
func unpackDeb(ctx context.Context, deb, dir string) (release string, err error) {
	cmd, err := tool(ctx, "dpkg-deb", "--fsys-tarfile", deb)
	if err != nil {
		return "", err
	}
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.StdoutPipe()
	if err != nil {
		return "", err
	}
	if err := cmd.Start(); err != nil {
		return "", err
	}
	release, err = unpackTar(out, dir)
	if err != nil {
		_ = cmd.Process.Kill() // it would wait for a reader for ever
	}
	if werr := cmd.Wait(); err == nil && werr != nil {
		err = fmt.Errorf("%w: %s", werr, bytes.TrimSpace(stderr.Bytes()))
	}
	return release, err
}

func unpackTar(r io.Reader, dir string) (release string, err error) {
	for tr := tar.NewReader(r); ; {
		h, err := tr.Next()
		if err == io.EOF {
			// The archive ends in padding, which dpkg-deb wants read.
			_, err = io.Copy(io.Discard, r)
			return release, err
		}
		if err != nil {
			return "", err
		}
		to, rel := unpackPath(path.Clean("/" + h.Name))
		if h.Typeflag != tar.TypeReg || to == "" {
			continue
		}
		if rel != "" {
			release = rel
		}
		if err := writeFile(filepath.Join(dir, filepath.FromSlash(to)), tr); err != nil {
			return "", err
		}
	}
}

// unpackPath says where in the cache a file of a kernel package goes, or
// nowhere (""), and for the image its release. Drivers, file systems and sound
// are most of a kernel package, and of them only virtual network devices are of
// use in a VM with no hardware.
func unpackPath(name string) (to, release string) {
	if rel, ok := strings.CutPrefix(name, "/boot/vmlinuz-"); ok {
		return "vmlinuz", rel
	}
	// Later releases have a merged /usr, and the image with the modules.
	rest, ok := strings.CutPrefix(strings.TrimPrefix(name, "/usr"), "/lib/modules/")
	if !ok {
		return "", ""
	}
	rel, rest, _ := strings.Cut(rest, "/")
	switch {
	case rest == "vmlinuz":
		return rest, rel
	case rest == "modules.builtin", path.Dir(rest) == "kernel/drivers/net":
	case hasAnyPrefix(rest, "kernel/drivers/", "kernel/fs/", "kernel/sound/"), !strings.HasPrefix(rest, "kernel/"):
		return "", ""
	}
	return path.Join("modules", rest), ""
}

func writeFile(name string, r io.Reader) error {
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		return err
	}
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(f, r)
	return errors.Join(err, f.Close())
}

// lockFile takes an exclusive lock, so that two runs started together fetch a
// kernel once.
func lockFile(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o644)
	if err != nil {
		return nil, err
	}
	for {
		err = unix.Flock(int(f.Fd()), unix.LOCK_EX)
		if err != unix.EINTR {
			break
		}
	}
	if err != nil {
		f.Close()
		return nil, err
	}
	return func() { f.Close() }, nil
}
