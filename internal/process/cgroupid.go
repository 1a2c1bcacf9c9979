package process

import (
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"
)

// errNoCgroup means that no cgroup has the id (any more), or that this host has no
// way to find it: asking again will not help.
var errNoCgroup = errors.New("no such cgroup")

// cgroupMounts are where cgroup v2 is mounted: alone, and beside v1.
var cgroupMounts = []string{"/sys/fs/cgroup", "/sys/fs/cgroup/unified"}

const (
	fileidKernfs = 0xfe         // FILEID_KERNFS of linux/exportfs.h: the handle is the id
	walkEvery    = time.Second  // a walk reads the whole hierarchy
	walkMax      = 64 << 10     // cgroups that a walk reads, and remembers
	deleted      = " (deleted)" // the kernel's suffix for the name of a directory that was removed
)

// cgroupFS finds the path of a cgroup v2 from its id, the inode number of its
// directory. The kernel opens a directory by its id (5.5 and later, with
// CAP_DAC_READ_SEARCH); where it does not, cgroupFS walks the hierarchy, at most once
// a second. It is not safe for concurrent use.
//
// The kernel never uses an id again, and a cgroup v2 cannot be renamed. So an answer
// stays right, and the caller keeps it when the cgroup is gone.
type cgroupFS struct {
	mount  string
	fd     int  // of the mount, -1 if there is none
	handle bool // the kernel opens directories by their id
	walked time.Time
	paths  *lru[uint64, string] // from walks
	now    func() time.Time
}

// newCgroupFS finds cgroup v2 among mounts. If it is on none of them, path always
// fails.
func newCgroupFS(mounts []string, now func() time.Time) *cgroupFS {
	c := &cgroupFS{fd: -1, now: now, paths: newLRU[uint64, string](walkMax)}
	for _, m := range mounts {
		var st unix.Statfs_t
		if unix.Statfs(m, &st) != nil || st.Type != unix.CGROUP2_SUPER_MAGIC {
			continue
		}
		fd, err := openat(unix.AT_FDCWD, m, unix.O_RDONLY|unix.O_DIRECTORY)
		if err != nil {
			continue
		}
		c.mount, c.fd = m, fd
		c.handle = c.handlesWork()
		break
	}
	return c
}

func (c *cgroupFS) close() {
	if c.fd >= 0 {
		unix.Close(c.fd)
		c.fd = -1
	}
}

// handlesWork tries whether the kernel opens the mount itself by its id.
func (c *cgroupFS) handlesWork() bool {
	var st unix.Stat_t
	if unix.Fstat(c.fd, &st) != nil {
		return false
	}
	path, err := c.open(st.Ino)
	return err == nil && path == "/"
}

// path returns the path of a cgroup below the root of the mount, "/" for the root.
// The error is errNoCgroup, or says why the path is not known.
func (c *cgroupFS) path(id uint64) (string, error) {
	switch {
	case c.fd < 0:
		return "", fmt.Errorf("find cgroup %d: cgroup v2 is not mounted: %w", id, errNoCgroup)
	case c.handle:
		path, err := c.open(id)
		if !errors.Is(err, fs.ErrPermission) {
			return path, err
		}
		c.handle = false // the capability was dropped
	}
	if p := c.paths.get(id); p != nil {
		return *p, nil
	}
	now := c.now()
	if !c.walked.IsZero() && now.Sub(c.walked) < walkEvery {
		return "", fmt.Errorf("find cgroup %d: the last walk of the hierarchy was less than %v ago", id, walkEvery)
	}
	c.walk()
	c.walked = now
	if p := c.paths.get(id); p != nil {
		return *p, nil
	}
	return "", fmt.Errorf("find cgroup %d: %w", id, errNoCgroup)
}

// open opens the directory by its id, and reads its path.
func (c *cgroupFS) open(id uint64) (string, error) {
	var b [8]byte
	binary.NativeEndian.PutUint64(b[:], id)
	fd, err := unix.OpenByHandleAt(c.fd, unix.NewFileHandle(fileidKernfs, b[:]), unix.O_PATH|unix.O_CLOEXEC)
	if err == unix.ESTALE || err == unix.ENOENT {
		return "", fmt.Errorf("find cgroup %d: %w", id, errNoCgroup)
	}
	if err != nil {
		return "", fmt.Errorf("find cgroup %d: open by handle: %w", id, err)
	}
	defer unix.Close(fd)
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Ino != id || st.Mode&unix.S_IFMT != unix.S_IFDIR {
		return "", fmt.Errorf("find cgroup %d: %w", id, errNoCgroup)
	}
	path, err := os.Readlink("/proc/self/fd/" + strconv.Itoa(fd))
	if err != nil {
		return "", fmt.Errorf("find cgroup %d: %w", id, err)
	}
	return c.below(id, undeleted(path))
}

// undeleted cuts off the suffix of a directory that was removed after open opened
// it, unless the suffix is part of its name.
func undeleted(path string) string {
	if s, ok := strings.CutSuffix(path, deleted); ok {
		if _, err := os.Lstat(path); err != nil {
			return s
		}
	}
	return path
}

// below cuts the mount off. A directory outside the mount has no path below it.
func (c *cgroupFS) below(id uint64, path string) (string, error) {
	rest, ok := strings.CutPrefix(path, c.mount)
	switch {
	case ok && rest == "":
		return "/", nil
	case ok && rest[0] == '/':
		return rest, nil
	}
	return "", fmt.Errorf("find cgroup %d: %s is not below %s", id, path, c.mount)
}

// walk remembers the paths of all cgroups. Those that are gone since the last walk
// stay as long as there is room.
func (c *cgroupFS) walk() {
	seen := 0
	filepath.WalkDir(c.mount, func(path string, d fs.DirEntry, err error) error {
		var st unix.Stat_t
		switch {
		case err != nil || !d.IsDir():
			return nil // removed in the meantime, or a file of a cgroup
		case seen == walkMax:
			return filepath.SkipAll
		case unix.Lstat(path, &st) != nil:
			return nil
		}
		seen++
		if rest, err := c.below(st.Ino, path); err == nil {
			c.paths.put(st.Ino, rest)
		}
		return nil
	})
}
