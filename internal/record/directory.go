package record

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"strconv"

	"golang.org/x/sys/unix"
)

// User owns the files that are written.
type User struct{ UID, GID int }

// directory is where files are created. It stays the same directory if somebody renames
// or replaces it: no name leads out of it.
type directory struct {
	path  string
	fd    int
	as    *User // create files with the rights of this user; nil: of the process
	owner *User // change their owner to this user; nil: do not
}

// openDirectory opens the directory of a file, and returns the name of the file in it.
// If root came by sudo and the directory belongs to the user who called sudo, the files
// will too.
func openDirectory(path string, as *User) (*directory, string, error) {
	dir, name := filepath.Split(path)
	if dir == "" {
		dir = "."
	}
	if name == "" || name == "." || name == ".." {
		return nil, "", fmt.Errorf("%s is not a file name", path)
	}
	fd, err := unix.Open(dir, unix.O_DIRECTORY|unix.O_RDONLY|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, "", &fs.PathError{Op: "open", Path: dir, Err: err}
	}
	d := &directory{path: filepath.Clean(dir), fd: fd, as: as}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		d.close()
		return nil, "", &fs.PathError{Op: "stat", Path: dir, Err: err}
	}
	if u, ok := sudoUser(); ok && as == nil && os.Geteuid() == 0 && int(st.Uid) == u.UID {
		d.owner = &u
	}
	return d, name, nil
}

// sudoUser returns the user who became root by sudo.
func sudoUser() (User, bool) {
	uid, err := strconv.ParseUint(os.Getenv("SUDO_UID"), 10, 31)
	gid, err2 := strconv.ParseUint(os.Getenv("SUDO_GID"), 10, 31)
	return User{int(uid), int(gid)}, err == nil && err2 == nil && uid != 0
}

func (d *directory) close() { unix.Close(d.fd) }

// join returns the path of a file here, for messages.
func (d *directory) join(name string) string { return filepath.Join(d.path, name) }

// create creates a file that only its owner can read. With force it replaces an existing
// regular file.
func (d *directory) create(name string, force bool) (*os.File, error) {
	var file *os.File
	err := d.acting(func() error {
		flags := unix.O_WRONLY | unix.O_CREAT | unix.O_EXCL | unix.O_NOFOLLOW | unix.O_CLOEXEC
		fd, err := unix.Openat(d.fd, name, flags, 0o600)
		if force && errors.Is(err, unix.EEXIST) {
			if err := d.replaceable(name); err != nil {
				return err
			}
			if err := unix.Unlinkat(d.fd, name, 0); err != nil {
				return &fs.PathError{Op: "remove", Path: d.join(name), Err: err}
			}
			fd, err = unix.Openat(d.fd, name, flags, 0o600)
		}
		if err != nil {
			return &fs.PathError{Op: "create", Path: d.join(name), Err: err}
		}
		file = os.NewFile(uintptr(fd), d.join(name))
		return nil
	})
	if err != nil {
		return nil, err
	}
	if d.owner != nil {
		if err := unix.Fchown(int(file.Fd()), d.owner.UID, d.owner.GID); err != nil {
			file.Close()
			return nil, &fs.PathError{Op: "chown", Path: d.join(name), Err: err}
		}
	}
	return file, nil
}

// replaceable returns an error if the file of that name must not be replaced.
func (d *directory) replaceable(name string) error {
	var st unix.Stat_t
	if err := unix.Fstatat(d.fd, name, &st, unix.AT_SYMLINK_NOFOLLOW); err != nil {
		return &fs.PathError{Op: "stat", Path: d.join(name), Err: err}
	}
	if st.Mode&unix.S_IFMT != unix.S_IFREG {
		return fmt.Errorf("%s is not a regular file: not replaced", d.join(name))
	}
	return nil
}

// holds reports whether name is still file.
func (d *directory) holds(name string, file *os.File) bool {
	var here, there unix.Stat_t
	if unix.Fstatat(d.fd, name, &here, unix.AT_SYMLINK_NOFOLLOW) != nil || unix.Fstat(int(file.Fd()), &there) != nil {
		return false
	}
	return here.Dev == there.Dev && here.Ino == there.Ino
}

func (d *directory) remove(name string) error {
	return d.acting(func() error {
		if err := unix.Unlinkat(d.fd, name, 0); err != nil && !errors.Is(err, unix.ENOENT) {
			return &fs.PathError{Op: "remove", Path: d.join(name), Err: err}
		}
		return nil
	})
}

// free returns the free space on the file system, in bytes.
func (d *directory) free() (uint64, error) {
	var st unix.Statfs_t
	if err := unix.Fstatfs(d.fd, &st); err != nil {
		return 0, &fs.PathError{Op: "statfs", Path: d.path, Err: err}
	}
	return st.Bavail * uint64(st.Bsize), nil
}

// acting calls do with the rights of the user that files are created as. The kernel
// checks these per file access, and the rest of the process keeps its own rights.
func (d *directory) acting(do func() error) error {
	if d.as == nil {
		return do()
	}
	result := make(chan error, 1)
	go func() {
		// The thread cannot get its rights back, so it ends with the goroutine.
		runtime.LockOSThread()
		result <- d.as.do(do)
	}()
	return <-result
}

// do calls do with the rights of u. It changes the thread permanently.
func (u *User) do(do func() error) error {
	if _, _, errno := unix.RawSyscall(unix.SYS_SETGROUPS, 0, 0, 0); errno != 0 {
		return fmt.Errorf("give up the groups of this process: %w", errno)
	}
	for _, set := range []struct {
		id  int
		set func(int) (int, error)
	}{{u.GID, unix.SetfsgidRetGid}, {u.UID, unix.SetfsuidRetUid}} {
		if _, err := set.set(set.id); err != nil {
			return fmt.Errorf("take the rights of user %d: %w", u.UID, err)
		}
		if now, err := set.set(set.id); err != nil || now != set.id { // the call does not report failure
			return fmt.Errorf("take the rights of user %d: %w", u.UID, unix.EPERM)
		}
	}
	return do()
}
