package sandbox

import (
	"fmt"
	"os"

	"github.com/landlock-lsm/go-landlock/landlock"
	ll "github.com/landlock-lsm/go-landlock/landlock/syscall"
	"golang.org/x/sys/unix"
)

// Access rights of Landlock, as include/uapi/linux/landlock.h has them.
const (
	readFile = ll.AccessFSReadFile
	readDir  = readFile | ll.AccessFSReadDir
	writeDir = readDir | ll.AccessFSWriteFile | ll.AccessFSTruncate | ll.AccessFSMakeReg |
		ll.AccessFSMakeDir | ll.AccessFSRemoveFile | ll.AccessFSRemoveDir
	execute = readFile | ll.AccessFSExecute
)

// ownProgram leads to the running program, even if its file has been replaced.
const ownProgram = "/proc/self/exe"

// domain is a Landlock domain that is not in force yet.
type domain struct {
	abi   int // of the kernel, 0 without Landlock
	fd    int // of the ruleset, -1 without Landlock
	flags uint32
}

// newDomain makes the domain that allows what o says, and to execute this program: the
// start of the speaker. It opens the paths, so it runs with the rights of the tracer.
func newDomain(o *Options) (*domain, error) {
	abi, err := ll.LandlockGetABIVersion()
	if err != nil {
		return &domain{fd: -1}, nil // ENOSYS, or EOPNOTSUPP if it is off
	}
	rules, err := o.rules()
	if err != nil {
		return nil, err
	}
	fd, flags, err := landlock.V10.BestEffort().NewRulesetFD(rules...)
	if err != nil {
		return nil, fmt.Errorf("make a Landlock domain: %w", err)
	}
	return &domain{abi: abi, fd: fd, flags: flags}, nil
}

func (o *Options) rules() ([]landlock.Rule, error) {
	rules := []landlock.Rule{
		landlock.PathAccess(execute, ownProgram),
		landlock.PathAccess(readFile, timeZone).IgnoreIfMissing(),
	}
	for _, path := range o.Read {
		info, err := os.Stat(path)
		if err != nil {
			return nil, fmt.Errorf("let the speaker read: %w", err)
		}
		access := landlock.AccessFSSet(readFile)
		if info.IsDir() {
			access = readDir
		}
		rules = append(rules, landlock.PathAccess(access, path))
	}
	for _, path := range o.Write {
		rules = append(rules, landlock.PathAccess(writeDir, path))
	}
	for _, port := range o.Bind {
		rules = append(rules, landlock.BindTCP(port))
	}
	for _, port := range o.Dial {
		rules = append(rules, landlock.ConnectTCP(port))
	}
	if o.Resolve {
		rules = append(rules,
			landlock.PathAccess(readFile, resolverFiles...).IgnoreIfMissing(),
			landlock.ConnectTCP(dnsPort),
			landlock.ConnectSendUDP(dnsPort),
			landlock.BindUDP(0)) // an ephemeral port of the socket that asks
	}
	return rules, nil
}

// enter puts this thread, and processes that it starts, into the domain. The thread cannot
// leave it. It needs no_new_privs.
func (d *domain) enter() error {
	if d.fd < 0 {
		return nil
	}
	if err := ll.LandlockRestrictSelf(d.fd, d.flags); err != nil {
		return fmt.Errorf("enter the Landlock domain: %w", err)
	}
	return nil
}

func (d *domain) close() {
	if d.fd >= 0 {
		unix.Close(d.fd)
	}
}
