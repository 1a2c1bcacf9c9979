package main

import (
	"fmt"
	"io"
	"os"
	"path"
	"strings"

	"golang.org/x/sys/unix"
)

// cpioWriter writes a cpio archive of the "newc" kind, which is what the kernel
// unpacks as its first root file system; see
// Documentation/driver-api/early-userspace/buffer-format.rst. Everything in it
// belongs to root, and bears the time 0. The parents of a file are made where
// they are missing. The first error sticks, and Close returns it.
type cpioWriter struct {
	w    io.Writer
	n    int64 // bytes written
	ino  int
	seen map[string]bool // names in the archive
	err  error
}

func newCpioWriter(w io.Writer) *cpioWriter {
	return &cpioWriter{w: w, seen: map[string]bool{".": true}}
}

// Has says whether the name is in the archive.
func (c *cpioWriter) Has(name string) bool { return c.seen[cpioName(name)] }

// Dir adds a directory, unless it is there.
func (c *cpioWriter) Dir(name string) {
	name = cpioName(name)
	if c.seen[name] {
		return
	}
	c.entry(name, unix.S_IFDIR|0o755, 0, 0)
}

// File adds a file of size bytes.
func (c *cpioWriter) File(name string, perm os.FileMode, size int64, r io.Reader) {
	c.entry(cpioName(name), unix.S_IFREG|uint32(perm.Perm()), size, 0)
	if c.err != nil {
		return
	}
	n, err := io.Copy(c, io.LimitReader(r, size))
	if err == nil && n != size {
		err = fmt.Errorf("add %s: %d of %d bytes: %w", name, n, size, io.ErrUnexpectedEOF)
	}
	c.fail(err)
	c.pad()
}

// Symlink adds a symbolic link.
func (c *cpioWriter) Symlink(target, name string) {
	c.entry(cpioName(name), unix.S_IFLNK|0o777, int64(len(target)), 0)
	c.write(target)
	c.pad()
}

// CharDevice adds a device node.
func (c *cpioWriter) CharDevice(name string, perm os.FileMode, major, minor uint32) {
	c.entry(cpioName(name), unix.S_IFCHR|uint32(perm.Perm()), 0, unix.Mkdev(major, minor))
}

// Close ends the archive. The writer below stays open.
func (c *cpioWriter) Close() error {
	c.header("TRAILER!!!", 0, 0, 0)
	return c.err
}

// entry adds a header and the directories above it.
func (c *cpioWriter) entry(name string, mode uint32, size int64, dev uint64) {
	if c.seen[name] {
		c.fail(fmt.Errorf("add %s: it is in the archive already", name))
		return
	}
	if size >= 1<<32 {
		c.fail(fmt.Errorf("add %s: %d bytes are too many for cpio", name, size))
		return
	}
	c.Dir(path.Dir(name))
	c.seen[name] = true
	c.header(name, mode, size, dev)
}

func (c *cpioWriter) header(name string, mode uint32, size int64, dev uint64) {
	c.ino++
	nlink := 1
	c.write(fmt.Sprintf("070701%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x%08x",
		c.ino, mode, 0, 0, nlink, 0, size, 0, 0, unix.Major(dev), unix.Minor(dev), len(name)+1, 0))
	c.write(name + "\x00")
	c.pad()
}

// pad fills up to the next multiple of four.
func (c *cpioWriter) pad() {
	c.write("\x00\x00\x00"[:-c.n&3])
}

func (c *cpioWriter) write(s string) { _, _ = io.WriteString(c, s) }

// Write writes bytes that belong to the entry begun last.
func (c *cpioWriter) Write(p []byte) (int, error) {
	if c.err != nil {
		return 0, c.err
	}
	n, err := c.w.Write(p)
	c.n += int64(n)
	c.fail(err)
	return n, err
}

func (c *cpioWriter) fail(err error) {
	if c.err == nil {
		c.err = err
	}
}

// cpioName is a name as an archive has it: with no slash in front.
func cpioName(name string) string {
	name = strings.TrimPrefix(path.Clean("/"+name), "/")
	if name == "" {
		return "."
	}
	return name
}
