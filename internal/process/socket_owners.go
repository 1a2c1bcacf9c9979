package process

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// SocketOwners returns the process that has each open socket, by the inode number of
// the socket, from the descriptors in /proc. If several processes share a socket, like
// workers that inherit a listener, it is the one that started first, which passed it
// on to the others.
//
// It leaves out processes that end in the meantime. If it may not read the descriptors
// of some processes, it returns the others together with an error that matches
// fs.ErrPermission and says how many. If /proc is not usable, the error is ErrForeign.
func SocketOwners() (map[uint64]event.Proc, error) {
	if err := Usable(); err != nil {
		return nil, fmt.Errorf("list sockets: %w", err)
	}
	return socketOwners("/proc")
}

func socketOwners(root string) (map[uint64]event.Proc, error) {
	pids, err := listPIDs(root)
	if err != nil {
		return nil, err
	}
	scan := socketScan{root: root, owners: make(map[uint64]event.Proc)}
	denied := 0
	for _, pid := range pids {
		switch err := scan.process(pid); {
		case err == nil, gone(err), errors.Is(err, ErrGone):
		case errors.Is(err, fs.ErrPermission):
			denied++
		default:
			return scan.owners, fmt.Errorf("list sockets of process %d: %w", pid, err)
		}
	}
	if denied > 0 {
		return scan.owners, fmt.Errorf("list sockets of %d processes: %w", denied, fs.ErrPermission)
	}
	return scan.owners, nil
}

type socketScan struct {
	root   string
	owners map[uint64]event.Proc
	inodes []uint64
	reads  uint64
}

// process adds the sockets of one process. It reads the stat of the process after
// its descriptors, and only if it has sockets: most processes have none.
func (s *socketScan) process(pid uint32) error {
	if err := s.descriptors(pid); err != nil || len(s.inodes) == 0 {
		return err
	}
	info, err := readStat(s.root, pid, &s.reads)
	if err != nil {
		return err
	}
	proc := event.Proc{PID: pid, Comm: info.Comm, Who: &event.Who{Start: info.Start}}
	for _, ino := range s.inodes {
		old, ok := s.owners[ino]
		if ok && (old.Start() < info.Start || old.Start() == info.Start && old.PID < pid) {
			continue
		}
		s.owners[ino] = proc
	}
	return nil
}

// descriptors fills s.inodes.
func (s *socketScan) descriptors(pid uint32) error {
	s.inodes = s.inodes[:0]
	dir, err := os.Open(s.root + "/" + strconv.FormatUint(uint64(pid), 10) + "/fd")
	if err != nil {
		return err
	}
	defer dir.Close()
	var buf [64]byte
	for {
		names, err := dir.Readdirnames(1024)
		for _, name := range names {
			n, err := unix.Readlinkat(int(dir.Fd()), name, buf[:])
			if err != nil {
				continue // closed in the meantime
			}
			if ino, ok := socketInode(string(buf[:n])); ok {
				s.inodes = append(s.inodes, ino)
			}
		}
		if err == io.EOF {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// socketInode parses the target of a descriptor's link, "socket:[12345]".
func socketInode(link string) (uint64, bool) {
	s, ok := strings.CutPrefix(link, "socket:[")
	if !ok {
		return 0, false
	}
	if s, ok = strings.CutSuffix(s, "]"); !ok {
		return 0, false
	}
	ino, err := strconv.ParseUint(s, 10, 64)
	return ino, err == nil
}
