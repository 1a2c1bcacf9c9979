// Package process finds facts about processes: name, executable, parent, user,
// start, cgroup, and from the cgroup the systemd unit, the container and the
// Kubernetes pod. All of it comes from /proc, the cgroup file system and files
// of container runtimes; no call leaves the host.
//
// A Resolver answers at once with what it knows, and reads the rest in a goroutine
// of its own, at a limited rate. With a start time it never confuses two processes
// that had the same pid one after the other.
package process

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrGone means that the process has ended.
var ErrGone = errors.New("no such process")

// ErrForeign means that /proc does not show the processes of the host under the ids
// that the kernel's hooks report, see Usable. It matches fs.ErrPermission: other
// processes of the host can see them.
var ErrForeign = fmt.Errorf("/proc does not have the host's process ids: %w", fs.ErrPermission)

// Key is what a hook in the kernel knows of a process. The zero value of a field
// means "not known"; without a PID, a Resolver finds only the cgroup.
type Key struct {
	PID    uint32 // thread group id in the initial pid namespace
	Start  uint64 // start of the process as in /proc, see StartTicks
	Comm   string // command name when the hook ran
	Cgroup uint64 // id of its cgroup v2 directory when the hook ran, as bpf_get_current_cgroup_id returns it
}

// Info is what is known about a process. A field that is not known has the zero value;
// HasUID says whether UID, where 0 is root, is known.
type Info struct {
	PID     uint32 // thread group id
	PPID    uint32 // id of the parent at the time of the read; 0 if there is none in this pid namespace
	Start   uint64 // clock ticks after boot when it started; with PID the identity
	Comm    string // command name of the thread group leader, its bytes unmodified
	PComm   string // command name of the parent
	Exe     string // path of the executable, with " (deleted)" behind it if so; "" for kernel threads, if this process may not read it, and if the process had another Comm by then
	Cmdline string // arguments with blanks between, the first 4096 bytes; only with Options.Cmdlines
	UID     uint32 // real user id, in the user namespace of the reader
	HasUID  bool
	Gone    bool // it had ended at the time of the read; only the Key's fields are known

	Place
}

// Place is where a process runs.
type Place struct {
	Cgroup        string // path below the root of the cgroup hierarchy
	Unit          string // its systemd unit, of the host's or a user's manager
	Container     string // id of the innermost container, or its name where the runtime has no ids (LXC, nspawn)
	ContainerName string // from the runtime's files
	Runtime       string // "docker", "containerd", "cri-o", "podman", "lxc" or "systemd-nspawn"; "" if there is no container, or the runtime is not known
	Pod           string // UID of the Kubernetes pod
	PodName       string
	PodNamespace  string
}
