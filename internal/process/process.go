// Package process tells who a pid is: name, executable, parent, user, start,
// namespaces, cgroup, and from the cgroup the systemd unit, the container and the
// Kubernetes pod. All of it comes from /proc, the cgroup file system and files
// that container runtimes leave on disk; no call leaves the host.
//
// A Resolver answers a consumer of events at once with what is known, and finds
// out the rest in a goroutine of its own, at a bounded rate. Where a start time
// is given, a pid that was used again is never taken for the process that had it
// before, nor the other way around.
package process

import (
	"errors"
	"fmt"
	"io/fs"
)

// ErrGone says that there is no such process any more.
var ErrGone = errors.New("no such process")

// ErrForeign says that /proc does not show the processes of the host under the
// ids that the kernel gives, see Usable. It matches fs.ErrPermission: it is this
// process that is not let see them.
var ErrForeign = fmt.Errorf("/proc has not the host's process ids: %w", fs.ErrPermission)

// Key is what a hook in the kernel knows of a process. The zero value of a field
// means "not known"; without a PID only the cgroup is looked for.
type Key struct {
	PID    uint32 // thread group id in the initial pid namespace
	Start  uint64 // start of the process as /proc has it, see StartTicks
	Comm   string // command name when the hook ran
	Cgroup uint64 // id of its cgroup v2 directory when the hook ran, as bpf_get_current_cgroup_id returns it
}

// Info is who a process is. What is not known has the zero value; whether UID,
// where 0 is root, is known says HasUID.
type Info struct {
	PID     uint32 // thread group id
	PPID    uint32 // of the parent when it was looked up; 0 if there is none in this pid namespace
	Start   uint64 // clock ticks after boot when it started; with PID the identity
	Comm    string // command name of the thread group leader, its bytes unmodified
	PComm   string // that of the parent
	Exe     string // path of the executable, with " (deleted)" behind it if so; "" for kernel threads, if it may not be read, and if it had another Comm by then
	Cmdline string // arguments with blanks between, the first 4096 bytes; only if asked for, see Options
	UID     uint32 // real user id, as the namespace of the reader has it
	EUID    uint32 // effective user id
	HasUID  bool
	NetNS   uint32 // inode number of the network namespace of its main thread
	PIDNS   uint32 // inode number of its pid namespace
	Gone    bool   // it had ended when it was looked for; only what the Key told is known

	Place
}

// Place is where a process runs.
type Place struct {
	Cgroup        string // path below the root of the cgroup hierarchy
	Unit          string // systemd unit, of the host's or a user's manager, that it belongs to
	Container     string // id of the innermost container, or its name where the runtime has no ids (LXC, nspawn)
	ContainerName string // as the runtime's files have it
	Runtime       string // "docker", "containerd", "cri-o", "podman", "lxc" or "systemd-nspawn"; "" if there is no container, or not known whose
	Outer         string // id of the outermost container, if Container is inside of another
	Pod           string // UID of the Kubernetes pod
	PodName       string
	PodNamespace  string
}
