package process

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"strconv"
	"strings"
	"syscall"

	"golang.org/x/sys/unix"
)

// directory is an open /proc/PID. It belongs to one process: after its end every
// read fails, even if another process has the pid.
type directory struct {
	fd    int
	name  string
	reads *uint64 // counts opened files, read links and opened directories
}

func openProcess(root string, pid uint32, reads *uint64) (directory, error) {
	name := root + "/" + strconv.FormatUint(uint64(pid), 10)
	*reads++
	fd, err := openat(unix.AT_FDCWD, name, unix.O_PATH|unix.O_DIRECTORY)
	if err != nil {
		return directory{}, processError("open", name, err)
	}
	return directory{fd, name, reads}, nil
}

func (d directory) close() { unix.Close(d.fd) }

// read returns at most limit bytes of a file.
func (d directory) read(file string, limit int64) ([]byte, error) {
	*d.reads++
	fd, err := openat(d.fd, file, unix.O_RDONLY)
	if err != nil {
		return nil, processError("open", d.name+"/"+file, err)
	}
	defer unix.Close(fd)
	var b bytes.Buffer
	if _, err = b.ReadFrom(io.LimitReader(descriptor(fd), limit)); err != nil {
		return nil, processError("read", d.name+"/"+file, err)
	}
	return b.Bytes(), nil
}

// link returns the target of a symbolic link; "" if there is none, for kernel
// threads and zombies, or if this process may not read it.
func (d directory) link(file string) string {
	*d.reads++
	var buf [unix.PathMax]byte
	n, err := unix.Readlinkat(d.fd, file, buf[:])
	if err != nil {
		return ""
	}
	return string(buf[:n])
}

// namespace returns the inode number of a namespace, 0 if this process may not read
// it.
func (d directory) namespace(kind string) uint32 {
	_, s, _ := strings.Cut(d.link("ns/"+kind), ":[")
	n, err := strconv.ParseUint(strings.TrimSuffix(s, "]"), 10, 32)
	if err != nil {
		return 0
	}
	return uint32(n)
}

// stat reads PPID, Start and Comm of the process.
func (d directory) stat() (Info, error) {
	b, err := d.read("stat", 4096)
	if err != nil {
		return Info{}, err
	}
	info, err := parseStat(b)
	if err != nil {
		return Info{}, fmt.Errorf("parse %s/stat: %w", d.name, err)
	}
	return info, nil
}

// readStat reads PID, PPID, Start and Comm of a process.
func readStat(root string, pid uint32, reads *uint64) (Info, error) {
	d, err := openProcess(root, pid, reads)
	if err != nil {
		return Info{}, err
	}
	defer d.close()
	info, err := d.stat()
	if err != nil {
		return Info{}, err
	}
	info.PID = pid
	return info, nil
}

// processReads is how often readProcess reads at most, without the command line.
const processReads = 7

// readProcess reads all facts about a process but its Place, which is in the returned
// hierarchies; its command line only if cmdline is set. The error is ErrGone if /proc
// has another start time for the pid.
func readProcess(root string, k Key, cmdline bool, reads *uint64) (Info, hierarchies, error) {
	d, err := openProcess(root, k.PID, reads)
	if err != nil {
		return Info{}, hierarchies{}, err
	}
	defer d.close()
	info, err := d.stat()
	if err != nil {
		return Info{}, hierarchies{}, err
	}
	info.PID = k.PID
	if k.Start != 0 && info.Start != k.Start {
		return Info{}, hierarchies{}, fmt.Errorf("process %d started at tick %d, not %d: %w", k.PID, info.Start, k.Start, ErrGone)
	}
	b, err := d.read("status", 4096) // Uid comes before Groups, the only line that may be long
	if err != nil {
		return Info{}, hierarchies{}, err
	}
	if info.UID, err = parseUID(b); err != nil {
		return Info{}, hierarchies{}, fmt.Errorf("parse %s/status: %w", d.name, err)
	}
	info.HasUID = true
	if b, err = d.read("cgroup", 64<<10); err != nil {
		return Info{}, hierarchies{}, err
	}
	where, err := parseCgroup(bytes.NewReader(b))
	if err != nil {
		return Info{}, hierarchies{}, fmt.Errorf("parse %s/cgroup: %w", d.name, err)
	}
	info.Exe = d.link("exe")
	if cmdline {
		info.Cmdline = d.cmdline()
	}
	if k.Comm != "" && k.Comm != info.Comm {
		info.Comm, info.Exe, info.Cmdline = k.Comm, "", "" // it runs another program now
	}
	info.PComm = parentComm(root, &info, reads)
	return info, where, nil
}

// parentComm is "" if the parent has ended in the meantime: a process that started
// later than the child, and has the pid now, is not the parent.
func parentComm(root string, child *Info, reads *uint64) string {
	if child.PPID == 0 {
		return ""
	}
	parent, err := readStat(root, child.PPID, reads)
	if err != nil || parent.Start > child.Start {
		return ""
	}
	return parent.Comm
}

// processError returns ErrGone if err means that the process has ended: there is no
// such file, or the read came too late (ESRCH).
func processError(op, name string, err error) error {
	if gone(err) {
		return fmt.Errorf("%s %s: %w", op, name, ErrGone)
	}
	return fmt.Errorf("%s %s: %w", op, name, err)
}

func gone(err error) bool {
	return errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ESRCH)
}

// descriptor reads from a file descriptor, and never closes it. An os.File would
// cost a registration with the poller for every small file.
type descriptor int

func (d descriptor) Read(p []byte) (int, error) {
	for {
		n, err := unix.Read(int(d), p)
		switch {
		case err == unix.EINTR:
			continue
		case err != nil:
			return 0, err
		case n == 0 && len(p) > 0:
			return 0, io.EOF
		}
		return n, nil
	}
}

func openat(dir int, name string, flags int) (int, error) {
	for {
		fd, err := unix.Openat(dir, name, flags|unix.O_CLOEXEC, 0)
		if err != unix.EINTR {
			return fd, err
		}
	}
}
