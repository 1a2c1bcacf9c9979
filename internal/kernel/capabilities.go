package kernel

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"
)

// Caps are the effective capabilities of this thread.
type Caps uint64

// CapSet is the set of some capabilities, each one of unix.CAP_*.
func CapSet(capabilities ...int) Caps {
	var c Caps
	for _, n := range capabilities {
		c |= 1 << n
	}
	return c
}

// Has reports whether c holds the capability, one of unix.CAP_*.
func (c Caps) Has(capability int) bool { return c&(1<<capability) != 0 }

// Capabilities reads the effective capabilities of this thread. In a user namespace
// other than the host's they do not count for BPF: see InInitUserNS.
func Capabilities() (Caps, error) {
	f, err := os.Open("/proc/thread-self/status")
	if err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	defer f.Close()
	c, err := parseCaps(f)
	if err != nil {
		return 0, fmt.Errorf("read capabilities: %w", err)
	}
	return c, nil
}

// parseCaps finds the line "CapEff:\t000001ffffffffff" of proc(5)'s status file.
func parseCaps(r io.Reader) (Caps, error) {
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		if hex, ok := strings.CutPrefix(lines.Text(), "CapEff:"); ok {
			c, err := strconv.ParseUint(strings.TrimSpace(hex), 16, 64)
			return Caps(c), err
		}
	}
	if err := lines.Err(); err != nil {
		return 0, err
	}
	return 0, fmt.Errorf("no CapEff line")
}

// needs is what each capability is for. CAP_SYS_ADMIN includes the first two, see
// bpf(2), and none of the others.
var needs = []struct {
	capability int
	name       string
	orAdmin    bool   // CAP_SYS_ADMIN will do
	required   bool   // nothing works without it
	without    string // what does not work without it
}{
	{unix.CAP_BPF, "cap_bpf", true, true, "no BPF program can be loaded"},
	{unix.CAP_PERFMON, "cap_perfmon", true, true, "no BPF program can read the kernel's memory"},
	{unix.CAP_SYSLOG, "cap_syslog", false, false, "kernel addresses are hidden"},
	{unix.CAP_SYS_PTRACE, "cap_sys_ptrace", false, false, "sockets of other users' processes have no owner"},
	{unix.CAP_DAC_READ_SEARCH, "cap_dac_read_search", false, false, "sockets of other users' processes have no owner"},
	{unix.CAP_SYS_ADMIN, "cap_sys_admin", false, false, "other network namespaces cannot be joined"},
}

// TraceCaps are all capabilities that a trace makes use of: those that CanTrace and Lacks
// know, and CAP_NET_ADMIN, without which ConntrackStates cannot read conntrack.
func TraceCaps() Caps {
	c := CapSet(unix.CAP_NET_ADMIN)
	for _, n := range needs {
		c |= CapSet(n.capability)
	}
	return c
}

// CanTrace returns nil if c is enough to trace. The error names the missing
// capabilities and what to do.
func (c Caps) CanTrace() error {
	var missing []string
	for _, n := range needs {
		if n.required && !c.has(n.capability, n.orAdmin) {
			missing = append(missing, strings.ToUpper(n.name))
		}
	}
	if len(missing) == 0 {
		return nil
	}
	return fmt.Errorf("missing %s: run as root, or once: %s", strings.Join(missing, " and "), setcap())
}

// Lacks describes what will not work because c is less than root has, beyond what
// CanTrace requires; nil if all works.
func (c Caps) Lacks() []string {
	var lacks []string
	for _, n := range needs {
		if !n.required && !c.has(n.capability, n.orAdmin) {
			lacks = append(lacks, strings.ToUpper(n.name)+": "+n.without)
		}
	}
	return lacks
}

func (c Caps) has(capability int, orAdmin bool) bool {
	return c.Has(capability) || orAdmin && c.Has(unix.CAP_SYS_ADMIN)
}

// setcap is the command that lets this program trace without root.
func setcap() string {
	var names []string
	for _, n := range needs {
		if n.capability != unix.CAP_SYS_ADMIN {
			names = append(names, n.name)
		}
	}
	program := "twtrace"
	if exe, err := os.Executable(); err == nil {
		program = exe
	}
	return "setcap " + strings.Join(names, ",") + "+ep " + program
}

// initUserNS is the inode number of the host's user namespace: PROC_USER_INIT_INO of
// include/linux/proc_ns.h, which is ABI in all but name.
const initUserNS = 0xEFFFFFFD

// InInitUserNS reports whether this process is in the host's user namespace. In
// another one (a rootless container) its capabilities do not count for BPF.
func InInitUserNS() bool {
	inum, err := nsInum("/proc/self/ns/user")
	return err == nil && inum == initUserNS
}
