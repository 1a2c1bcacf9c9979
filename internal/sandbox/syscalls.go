package sandbox

import "golang.org/x/sys/unix"

// grants are those options that the seccomp filter depends on.
type grants struct {
	Dial, Bind, Resolve bool
}

func (o *Options) grants() grants {
	return grants{Dial: len(o.Dial) > 0, Bind: len(o.Bind) > 0, Resolve: o.Resolve}
}

// allowed are the calls that a Go server with files makes, whatever their arguments, the
// frequent ones first. Those with conditions are in conditional. What is here, and what each
// call may do to a file, is Landlock's and the file system's business.
var allowed = append([]uint32{
	// the runtime: threads, timers, memory, signals
	unix.SYS_FUTEX, unix.SYS_EPOLL_PWAIT, unix.SYS_NANOSLEEP, unix.SYS_MADVISE, unix.SYS_SCHED_YIELD,
	unix.SYS_RT_SIGRETURN, unix.SYS_RT_SIGPROCMASK, unix.SYS_RT_SIGACTION, unix.SYS_SIGALTSTACK,
	unix.SYS_MUNMAP, unix.SYS_BRK, unix.SYS_GETTID, unix.SYS_GETPID, unix.SYS_GETPPID,
	unix.SYS_CLOCK_GETTIME, unix.SYS_CLOCK_GETRES, unix.SYS_CLOCK_NANOSLEEP, unix.SYS_GETTIMEOFDAY,
	unix.SYS_EXIT, unix.SYS_EXIT_GROUP, unix.SYS_RESTART_SYSCALL, unix.SYS_SCHED_GETAFFINITY,
	unix.SYS_GETRANDOM, unix.SYS_MINCORE, unix.SYS_GETCPU, unix.SYS_MEMBARRIER,
	unix.SYS_EPOLL_CREATE1, unix.SYS_EPOLL_CTL, unix.SYS_EVENTFD2, unix.SYS_PIPE2, unix.SYS_PPOLL, unix.SYS_PSELECT6,
	unix.SYS_TIMER_CREATE, unix.SYS_TIMER_SETTIME, unix.SYS_TIMER_DELETE, unix.SYS_SETITIMER, // CPU profiles
	unix.SYS_GETRUSAGE, unix.SYS_SYSINFO, unix.SYS_UNAME, unix.SYS_UMASK,
	unix.SYS_GETUID, unix.SYS_GETEUID, unix.SYS_GETGID, unix.SYS_GETEGID, unix.SYS_GETGROUPS,
	unix.SYS_GETRESUID, unix.SYS_GETRESGID, unix.SYS_CAPGET, unix.SYS_GETSID, unix.SYS_GETPGID,

	// connections, made and inherited
	unix.SYS_READ, unix.SYS_WRITE, unix.SYS_WRITEV, unix.SYS_READV, unix.SYS_CLOSE,
	unix.SYS_ACCEPT4, unix.SYS_RECVFROM, unix.SYS_RECVMSG, unix.SYS_SHUTDOWN,
	unix.SYS_GETSOCKNAME, unix.SYS_GETPEERNAME, unix.SYS_GETSOCKOPT, unix.SYS_SENDFILE,
	unix.SYS_DUP, unix.SYS_DUP3,

	// files
	unix.SYS_OPENAT, unix.SYS_NEWFSTATAT, unix.SYS_FSTAT, unix.SYS_STATX, unix.SYS_FSTATFS, unix.SYS_STATFS,
	unix.SYS_LSEEK, unix.SYS_PREAD64, unix.SYS_PWRITE64, unix.SYS_COPY_FILE_RANGE, unix.SYS_GETDENTS64,
	unix.SYS_FSYNC, unix.SYS_FDATASYNC, unix.SYS_FTRUNCATE, unix.SYS_FALLOCATE, unix.SYS_FADVISE64, unix.SYS_FLOCK,
	unix.SYS_FACCESSAT, unix.SYS_FACCESSAT2, unix.SYS_READLINKAT, unix.SYS_GETCWD,
	unix.SYS_MKDIRAT, unix.SYS_UNLINKAT, unix.SYS_RENAMEAT, unix.SYS_RENAMEAT2, unix.SYS_LINKAT,
	unix.SYS_FCHMOD, unix.SYS_FCHMODAT, unix.SYS_UTIMENSAT,
	unix.SYS_INOTIFY_INIT1, unix.SYS_INOTIFY_ADD_WATCH, unix.SYS_INOTIFY_RM_WATCH,
}, allowedHere...)

// refused are calls whose failure a program expects, with the error that makes it go on
// another way. What is in no list fails with ENOSYS, as on an older kernel: that is what
// runtimes and libraries test for.
var refused = map[uint32]unix.Errno{
	unix.SYS_IOCTL:     unix.ENOTTY, // no terminal and no device
	unix.SYS_SPLICE:    unix.EINVAL, // package net copies instead
	unix.SYS_SENDMSG:   unix.EPERM,  // no descriptors to others, no datagrams to anywhere
	unix.SYS_SENDMMSG:  unix.EPERM,
	unix.SYS_SETUID:    unix.EPERM,
	unix.SYS_SETGID:    unix.EPERM,
	unix.SYS_SETRESUID: unix.EPERM,
	unix.SYS_SETRESGID: unix.EPERM,
	unix.SYS_SETGROUPS: unix.EPERM,
	unix.SYS_CAPSET:    unix.EPERM,
}

// killed are calls that no code of the speaker makes, not even to try whether it may: who
// makes one is not the speaker any more. The process ends with SIGSYS, the kernel logs it,
// and Twin.Err reports it.
var killed = append([]uint32{
	unix.SYS_EXECVE, unix.SYS_EXECVEAT,
	unix.SYS_BPF, unix.SYS_PERF_EVENT_OPEN, unix.SYS_USERFAULTFD,
	unix.SYS_PTRACE, unix.SYS_PROCESS_VM_READV, unix.SYS_PROCESS_VM_WRITEV, unix.SYS_KCMP, unix.SYS_PIDFD_GETFD,
	unix.SYS_SETNS, unix.SYS_UNSHARE, unix.SYS_CHROOT, unix.SYS_PIVOT_ROOT,
	unix.SYS_MOUNT, unix.SYS_UMOUNT2, unix.SYS_MOVE_MOUNT, unix.SYS_OPEN_TREE, unix.SYS_MOUNT_SETATTR,
	unix.SYS_FSOPEN, unix.SYS_FSCONFIG, unix.SYS_FSMOUNT, unix.SYS_FSPICK,
	unix.SYS_OPEN_BY_HANDLE_AT, unix.SYS_NAME_TO_HANDLE_AT,
	unix.SYS_INIT_MODULE, unix.SYS_FINIT_MODULE, unix.SYS_DELETE_MODULE,
	unix.SYS_KEXEC_LOAD, unix.SYS_KEXEC_FILE_LOAD, unix.SYS_REBOOT,
	unix.SYS_KEYCTL, unix.SYS_ADD_KEY, unix.SYS_REQUEST_KEY,
	unix.SYS_IO_URING_SETUP, unix.SYS_IO_URING_ENTER, unix.SYS_IO_URING_REGISTER,
	unix.SYS_SWAPON, unix.SYS_SWAPOFF, unix.SYS_ACCT, unix.SYS_QUOTACTL,
	unix.SYS_SETTIMEOFDAY, unix.SYS_CLOCK_SETTIME, unix.SYS_ADJTIMEX, unix.SYS_CLOCK_ADJTIME,
	unix.SYS_SETHOSTNAME, unix.SYS_SETDOMAINNAME,
}, killedHere...)

// Flags of clone(2) that every thread of Go has, and those that none has.
const (
	ofThreads    = unix.CLONE_VM | unix.CLONE_THREAD | unix.CLONE_SIGHAND
	notOfThreads = unix.CLONE_NEWNS | unix.CLONE_NEWCGROUP | unix.CLONE_NEWUTS | unix.CLONE_NEWIPC |
		unix.CLONE_NEWUSER | unix.CLONE_NEWPID | unix.CLONE_NEWNET | unix.CLONE_PTRACE | unix.CLONE_VFORK
)

// conditional are calls that depend on their arguments, for a process whose pid that is.
// Each fails with EPERM unless one of its cases holds.
func conditional(g grants, pid int) map[uint32][]conditions {
	self := low(0, uint32(pid))
	calls := map[uint32][]conditions{
		unix.SYS_CLONE:    {{masked(0, ofThreads|notOfThreads, ofThreads)}}, // threads, no processes
		unix.SYS_MMAP:     {{masked(2, unix.PROT_EXEC, 0)}},                 // no new code
		unix.SYS_MPROTECT: {{masked(2, unix.PROT_EXEC, 0)}},
		unix.SYS_TGKILL:   {{self}}, // signals to itself alone
		unix.SYS_KILL:     {{self}},
		unix.SYS_PRLIMIT64: { // reads limits, its own alone
			{low(0, 0, uint32(pid)), low(2, 0), high(2, 0)},
		},
		unix.SYS_PRCTL: {{low(0, unix.PR_SET_VMA, unix.PR_SET_NAME, unix.PR_GET_NAME, unix.PR_GET_DUMPABLE,
			unix.PR_GET_NO_NEW_PRIVS, unix.PR_GET_SECCOMP, unix.PR_CAPBSET_READ)}},
		unix.SYS_FCNTL: {{low(1, unix.F_DUPFD, unix.F_DUPFD_CLOEXEC, unix.F_GETFD, unix.F_SETFD, unix.F_GETFL,
			unix.F_SETFL, unix.F_GETLK, unix.F_SETLK, unix.F_SETLKW, unix.F_OFD_GETLK, unix.F_OFD_SETLK, unix.F_OFD_SETLKW)}},
		unix.SYS_SENDTO: {{low(4, 0), high(4, 0)}}, // to where the socket is connected
		unix.SYS_SETSOCKOPT: {
			{low(1, unix.SOL_SOCKET), low(2, unix.SO_REUSEADDR, unix.SO_BROADCAST, unix.SO_KEEPALIVE, unix.SO_LINGER,
				unix.SO_SNDBUF, unix.SO_RCVBUF, unix.SO_SNDTIMEO, unix.SO_RCVTIMEO)},
			{low(1, unix.IPPROTO_TCP), low(2, unix.TCP_NODELAY, unix.TCP_KEEPIDLE, unix.TCP_KEEPINTVL,
				unix.TCP_KEEPCNT, unix.TCP_USER_TIMEOUT)},
			{low(1, unix.IPPROTO_IPV6), low(2, unix.IPV6_V6ONLY)},
		},
		unix.SYS_SOCKET:  nil,
		unix.SYS_CONNECT: nil,
		unix.SYS_BIND:    nil,
		unix.SYS_LISTEN:  nil,
	}
	// No AF_UNIX: a socket of its own would lead to D-Bus, the journal, a container runtime.
	// No protocol but TCP and UDP: Landlock does not limit the ports of MPTCP and SCTP.
	inet := low(0, unix.AF_INET, unix.AF_INET6)
	const kind = ^uint32(unix.SOCK_NONBLOCK | unix.SOCK_CLOEXEC)
	if g.Dial || g.Bind || g.Resolve {
		calls[unix.SYS_SOCKET] = append(calls[unix.SYS_SOCKET],
			conditions{inet, masked(1, kind, unix.SOCK_STREAM), low(2, 0, unix.IPPROTO_TCP)})
	}
	if g.Resolve {
		calls[unix.SYS_SOCKET] = append(calls[unix.SYS_SOCKET],
			conditions{inet, masked(1, kind, unix.SOCK_DGRAM), low(2, 0, unix.IPPROTO_UDP)})
	}
	if g.Dial || g.Resolve {
		calls[unix.SYS_CONNECT] = []conditions{{}}
	}
	if g.Bind {
		calls[unix.SYS_BIND], calls[unix.SYS_LISTEN] = []conditions{{}}, []conditions{{}}
	}
	return calls
}
