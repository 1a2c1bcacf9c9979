package kernel

import (
	"bufio"
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// ListNetNS returns every network namespace that has a process or a bind mount (as
// `ip netns` and container engines make them), once each: the current one first,
// then those with a name. It leaves out namespaces that only a thread, a descriptor or
// a socket keeps alive and, without CAP_SYS_PTRACE, those where only other users'
// processes are.
func ListNetNS() ([]NetNS, error) {
	current, err := CurrentNetNS()
	if err != nil {
		return nil, err
	}
	mounts, err := netNSMounts()
	if err != nil {
		return nil, err
	}
	pids, err := processes()
	if err != nil {
		return nil, err
	}

	known := map[uint32]NetNS{current.Inum: current}
	for _, m := range mounts {
		if have, ok := known[m.Inum]; !ok || have.Name == "" && m.Name != "" {
			m.PID = have.PID
			known[m.Inum] = m
		}
	}
	self := os.Getpid()
	for _, pid := range pids {
		path := procNS(pid)
		inum, err := nsInum(path)
		if err != nil {
			continue // it has ended, or belongs to another user
		}
		n, ok := known[inum]
		if ok && (n.PID != 0 && n.PID != self || pid == self) {
			continue
		}
		n.Inum, n.PID = inum, pid
		if n.Name == "" {
			n.path = path
		}
		known[inum] = n
	}

	list := make([]NetNS, 0, len(known))
	for _, n := range known {
		list = append(list, n)
	}
	slices.SortFunc(list, func(a, b NetNS) int {
		return cmp.Or(
			first(a.Inum == current.Inum, b.Inum == current.Inum),
			first(a.Name != "", b.Name != ""),
			cmp.Compare(a.Name, b.Name),
			cmp.Compare(a.Inum, b.Inum))
	})
	return list, nil
}

// NetNSHidden reports whether this user may not see in which network namespaces other
// processes are: ListNetNS may leave some out then.
func NetNSHidden() (bool, error) {
	pids, err := processes()
	if err != nil {
		return false, err
	}
	if !slices.Contains(pids, 1) {
		return true, nil // /proc is mounted with hidepid
	}
	for _, pid := range pids {
		if _, err := nsInum(procNS(pid)); errors.Is(err, fs.ErrPermission) {
			return true, nil
		}
	}
	return false, nil
}

// first sorts true before false.
func first(a, b bool) int {
	switch {
	case a && !b:
		return -1
	case b && !a:
		return 1
	}
	return 0
}

// FindNetNS returns the namespace that spec names: an `ip netns` name, an inode
// number (bare or as net:[N]), a path, or pid:N for that of process (or thread) N.
func FindNetNS(spec string) (NetNS, error) {
	if pid, ok := strings.CutPrefix(spec, "pid:"); ok {
		return netNSOfPID(pid)
	}
	if strings.Contains(spec, "/") {
		return netNSAt(spec)
	}
	list, err := ListNetNS()
	if err != nil {
		return NetNS{}, err
	}
	for _, n := range list {
		if n.Name == spec && spec != "" {
			return n, nil
		}
	}
	digits := strings.TrimSuffix(strings.TrimPrefix(spec, "net:["), "]")
	if inum, err := strconv.ParseUint(digits, 10, 32); err == nil {
		for _, n := range list {
			if uint64(n.Inum) == inum {
				return n, nil
			}
		}
	}
	return NetNS{}, fmt.Errorf("no network namespace %q: use an `ip netns` name, an inode number, a path or pid:N; there are %s",
		spec, alternatives(list))
}

// alternatives lists namespaces for an error message, only some on a large host.
func alternatives(list []NetNS) string {
	const limit = 8
	var words []string
	for i, n := range list {
		if i == limit {
			words = append(words, fmt.Sprintf("and %d more", len(list)-limit))
			break
		}
		word := strconv.FormatUint(uint64(n.Inum), 10)
		if n.Name != "" {
			word = n.Name + " (" + word + ")"
		}
		words = append(words, word)
	}
	return strings.Join(words, ", ")
}

func netNSOfPID(s string) (NetNS, error) {
	pid, err := strconv.Atoi(s)
	if err != nil || pid <= 0 {
		return NetNS{}, fmt.Errorf("no network namespace pid:%s: %q is not a process id", s, s)
	}
	n, err := netNSAt(procNS(pid))
	if err != nil {
		return NetNS{}, err
	}
	n.PID = pid
	return n, nil
}

// netNSAt returns the namespace at path, with the name and a process if it has them.
func netNSAt(path string) (NetNS, error) {
	fd, err := openFile(path)
	if err != nil {
		return NetNS{}, fmt.Errorf("open network namespace: %w", err)
	}
	defer unix.Close(fd)
	// NS_GET_NSTYPE fails with ENOTTY on a file that is not a namespace.
	kind, err := unix.IoctlRetInt(fd, unix.NS_GET_NSTYPE)
	if err != nil || kind != unix.CLONE_NEWNET {
		return NetNS{}, fmt.Errorf("%s is not a network namespace", path)
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil {
		return NetNS{}, fmt.Errorf("stat network namespace %s: %w", path, err)
	}
	n := NetNS{Inum: uint32(st.Ino), path: path}
	list, err := ListNetNS()
	if err != nil {
		return NetNS{}, err
	}
	for _, known := range list {
		if known.Inum == n.Inum {
			n.Name, n.PID = known.Name, known.PID
		}
	}
	return n, nil
}

// processes returns the ids of all processes in /proc, in order.
func processes() ([]int, error) {
	dir, err := os.Open("/proc")
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	defer dir.Close()
	names, err := dir.Readdirnames(-1)
	if err != nil {
		return nil, fmt.Errorf("list processes: %w", err)
	}
	var pids []int
	for _, name := range names {
		if pid, err := strconv.Atoi(name); err == nil {
			pids = append(pids, pid)
		}
	}
	slices.Sort(pids)
	return pids, nil
}

func netNSMounts() ([]NetNS, error) {
	f, err := os.Open("/proc/thread-self/mountinfo")
	if err != nil {
		return nil, fmt.Errorf("list bind-mounted network namespaces: %w", err)
	}
	defer f.Close()
	return parseNetNSMounts(f)
}

// parseNetNSMounts finds the network namespaces in mountinfo (proc(5)):
//
//	36 35 0:4 net:[4026532281] /run/netns/web rw shared:25 - nsfs nsfs rw
//
// Field 4 is the root of the mount, field 5 where it is mounted.
func parseNetNSMounts(r io.Reader) ([]NetNS, error) {
	var found []NetNS
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, 1<<20) // overlay mounts have lines of many kilobytes
	for lines.Scan() {
		f := strings.Fields(lines.Text())
		if len(f) < 5 {
			continue
		}
		digits, ok := strings.CutPrefix(f[3], "net:[")
		if !ok {
			continue
		}
		inum, err := strconv.ParseUint(strings.TrimSuffix(digits, "]"), 10, 32)
		if err != nil {
			continue
		}
		n := NetNS{Inum: uint32(inum), path: unescapeMount(f[4])}
		if dir := filepath.Dir(n.path); dir == "/run/netns" || dir == "/var/run/netns" {
			n.Name = filepath.Base(n.path)
		}
		found = append(found, n)
	}
	if err := lines.Err(); err != nil {
		return nil, fmt.Errorf("read mountinfo: %w", err)
	}
	return found, nil
}

// unescapeMount undoes the octal escapes of mountinfo: space, tab, newline, backslash.
var unescapeMount = strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`).Replace
