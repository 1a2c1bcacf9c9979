// Package sandbox keeps privileges apart. The tracer holds capabilities and listens to
// nobody but its twin; the speaker listens and dials, and holds nothing: no capability in
// any set, no way to gain one, another user, a seccomp filter, a Landlock domain.
//
// The speaker is the same program, started by Start with a hidden command. The kernel
// confines it before its first instruction, but for seccomp, which Enter installs as the
// first thing that the speaker does. docs/privileges.md says which part holds what.
package sandbox

import (
	"errors"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// Options is what a speaker is started with, and all that it may do.
type Options struct {
	// Command is the only argument of the speaker's command line: a hidden command, whose name
	// main passes to Requested.
	Command string
	// Env is its environment, "NAME=value". It gets nothing of the tracer's.
	Env []string
	// User is who it runs as: see LookupUser. Neither the user nor the group may be root's, nor
	// the user the tracer's.
	User User
	// Files are inherited: listeners above all. They stay open in the tracer, too.
	Files []*os.File
	// Log is its standard output and error; nil for the tracer's standard error.
	Log *os.File

	// Read are files, and directories with all beneath, that it may read. Landlock knows a
	// file by its inode, so one that is replaced is lost until the speaker is started again:
	// name the directory of what is renewed while the speaker runs. All have to exist.
	Read []string
	// Write are directories beneath which it may read, write, make and remove files and
	// directories. Its user has to have the right to.
	Write []string
	// Dial are the TCP ports it may connect to, on any host.
	Dial []uint16
	// Bind are the TCP ports it may bind; listeners in Files need none.
	Bind []uint16
	// Resolve lets it look up names: the resolver's files, UDP, and TCP port 53.
	Resolve bool
}

// check reports what no speaker may have.
func (o *Options) check() error {
	if err := o.User.Check(); err != nil {
		return err
	}
	if uint64(o.User.UID) == uint64(os.Geteuid()) {
		return fmt.Errorf("the speaker cannot run as uid %d: that is the tracer's", o.User.UID)
	}
	for _, path := range slices.Concat(o.Read, o.Write) {
		if clean := filepath.Clean(path); !filepath.IsAbs(path) || clean == "/" {
			return fmt.Errorf("give the speaker %q: not an absolute path below /", path)
		}
	}
	return nil
}

// resolverFiles are what Go's resolver reads.
var resolverFiles = []string{"/etc/resolv.conf", "/etc/hosts", "/etc/nsswitch.conf"}

// timeZone is what package time reads to print local time.
const timeZone = "/etc/localtime"

// dnsPort is where name servers listen.
const dnsPort = 53

// User is who a process runs as.
type User struct {
	UID, GID uint32
	Groups   []uint32 // supplementary groups; usually nil
}

// Check reports what no speaker may run as.
func (u User) Check() error {
	if u.UID == 0 || u.GID == 0 {
		return fmt.Errorf("the speaker cannot run as uid %d, gid %d: it has to be another user and group than root", u.UID, u.GID)
	}
	return nil
}

// defaultUsers are tried in this order. The package makes the first; the second exists
// everywhere, but other services may run as it, too.
var defaultUsers = []string{"twtrace", "nobody"}

// LookupUser finds a user by "NAME", "UID" or "UID:GID"; the empty string is twtrace, or
// nobody where there is no such user. A UID alone that nobody has is its own group.
func LookupUser(s string) (User, error) {
	if s != "" {
		return lookupUser(s)
	}
	var err error
	for _, name := range defaultUsers {
		var u User
		if u, err = lookupUser(name); err == nil {
			return u, nil
		}
	}
	return User{}, err
}

func lookupUser(s string) (User, error) {
	first, second, pair := strings.Cut(s, ":")
	uid, uidErr := strconv.ParseUint(first, 10, 32)
	switch {
	case pair:
		gid, gidErr := strconv.ParseUint(second, 10, 32)
		if uidErr != nil || gidErr != nil {
			return User{}, fmt.Errorf("user %q: not UID:GID", s)
		}
		return User{UID: uint32(uid), GID: uint32(gid)}, nil
	case uidErr == nil:
		found, err := user.LookupId(first)
		if err != nil {
			return User{UID: uint32(uid), GID: uint32(uid)}, nil
		}
		return fromPasswd(found)
	}
	found, err := user.Lookup(s)
	if err != nil {
		return User{}, fmt.Errorf("find user %q: %w", s, err)
	}
	return fromPasswd(found)
}

func fromPasswd(u *user.User) (User, error) {
	uid, uidErr := strconv.ParseUint(u.Uid, 10, 32)
	gid, gidErr := strconv.ParseUint(u.Gid, 10, 32)
	if err := errors.Join(uidErr, gidErr); err != nil {
		return User{}, fmt.Errorf("user %q: %w", u.Username, err)
	}
	return User{UID: uint32(uid), GID: uint32(gid)}, nil
}
