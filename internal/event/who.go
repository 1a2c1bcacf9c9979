package event

// Who describes a process. Many events may share one, so it never changes: whoever
// learns more makes a new one.
type Who struct {
	Start  uint64 // when the process started, in clock ticks after boot as /proc has it
	HasUID bool   // UID is known
	UID    uint32 // real user id
	PPID   uint32 // the parent's, 0 if it has none or it is not known
	PComm  string // the parent's

	CgroupID uint64 // id of its cgroup v2
	Followed bool   // it is one of the processes that --follow selects

	Exe           string // path of the executable
	Cmdline       string // arguments separated by spaces, only with --cmdline
	Cgroup        string // path of its cgroup
	Unit          string // systemd unit
	Container     string // id of the container
	ContainerName string
	Runtime       string // that runs it
	Pod           string // UID of the Kubernetes pod
	PodName       string // with its namespace, "shop/checkout-0"
}

// Common returns what w and o have in common.
func (w *Who) Common(o *Who) *Who {
	c := *w
	keep(&c.Start, o.Start)
	if !c.HasUID || !o.HasUID || c.UID != o.UID {
		c.HasUID, c.UID = false, 0
	}
	keep(&c.PPID, o.PPID)
	keep(&c.PComm, o.PComm)
	keep(&c.CgroupID, o.CgroupID)
	keep(&c.Followed, o.Followed)
	keep(&c.Exe, o.Exe)
	keep(&c.Cmdline, o.Cmdline)
	keep(&c.Cgroup, o.Cgroup)
	keep(&c.Unit, o.Unit)
	keep(&c.Container, o.Container)
	keep(&c.ContainerName, o.ContainerName)
	keep(&c.Runtime, o.Runtime)
	keep(&c.Pod, o.Pod)
	keep(&c.PodName, o.PodName)
	return &c
}

// keep clears v unless it equals o.
func keep[T comparable](v *T, o T) {
	if *v != o {
		var zero T
		*v = zero
	}
}
