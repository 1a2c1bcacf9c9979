package sandbox

import (
	"errors"
	"os"
	"testing"

	"golang.org/x/sys/unix"
)

func call(number uintptr, args ...uintptr) order {
	o := order{Do: "call", N: number}
	copy(o.Args[:], args)
	return o
}

// TestRefused: what the speaker may try, and goes on without.
func TestRefused(t *testing.T) {
	t.Parallel()
	twin := speaker(t, Options{Dial: []uint16{4317}, Bind: []uint16{9464}, Resolve: true}) // all sockets that there are
	pid := uintptr(os.Getpid())
	const mapAnonymous = unix.MAP_PRIVATE | unix.MAP_ANONYMOUS
	tests := []struct {
		name  string
		try   order
		errno unix.Errno
	}{
		{"raw socket", socket(unix.AF_INET, unix.SOCK_RAW, unix.IPPROTO_ICMP), unix.EPERM},
		{"ping socket", socket(unix.AF_INET, unix.SOCK_DGRAM, unix.IPPROTO_ICMP), unix.EPERM},
		{"MPTCP socket", socket(unix.AF_INET, unix.SOCK_STREAM, unix.IPPROTO_MPTCP), unix.EPERM},
		{"netlink socket", socket(unix.AF_NETLINK, unix.SOCK_DGRAM, unix.NETLINK_ROUTE), unix.EPERM},
		{"packet socket", socket(unix.AF_PACKET, unix.SOCK_RAW, 0), unix.EPERM},
		{"Unix socket", socket(unix.AF_UNIX, unix.SOCK_STREAM, 0), unix.EPERM},
		{"alg socket", socket(unix.AF_ALG, unix.SOCK_SEQPACKET, 0), unix.EPERM},
		{"vsock", socket(unix.AF_VSOCK, unix.SOCK_STREAM, 0), unix.EPERM},
		{"signal to the tracer", call(unix.SYS_KILL, pid, uintptr(unix.SIGTERM)), unix.EPERM},
		{"signal to a thread of it", call(unix.SYS_TGKILL, pid, pid, uintptr(unix.SIGTERM)), unix.EPERM},
		{"signal to all", call(unix.SYS_KILL, ^uintptr(0), uintptr(unix.SIGTERM)), unix.EPERM},
		{"signal by pidfd", call(unix.SYS_PIDFD_OPEN, pid), unix.ENOSYS},
		{"new process", order{Do: "start", Path: "/bin/true"}, unix.EPERM},
		{"new process by clone3", call(unix.SYS_CLONE3, 0, 0), unix.ENOSYS},
		{"new namespace by clone", call(unix.SYS_CLONE, unix.CLONE_NEWUSER|uintptr(unix.SIGCHLD)), unix.EPERM},
		{"executable memory", call(unix.SYS_MMAP, 0, 4096, unix.PROT_READ|unix.PROT_EXEC, mapAnonymous, ^uintptr(0)), unix.EPERM},
		{"shared memory", call(unix.SYS_SHMGET, 0, 4096, unix.IPC_CREAT), unix.ENOSYS},
		{"limits of others", call(unix.SYS_PRLIMIT64, pid, unix.RLIMIT_NOFILE), unix.EPERM},
		{"limits of its own", call(unix.SYS_PRLIMIT64, 0, unix.RLIMIT_NOFILE, 1<<40), unix.EPERM},
		{"being dumpable", call(unix.SYS_PRCTL, unix.PR_SET_DUMPABLE, 1), unix.EPERM},
		{"other filters", call(unix.SYS_SECCOMP, unix.SECCOMP_SET_MODE_FILTER), unix.ENOSYS},
		{"socket filter", call(unix.SYS_SETSOCKOPT, 3, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER), unix.EPERM},
		{"datagram to anywhere", call(unix.SYS_SENDTO, 3, 0, 0, 0, 1<<40, 16), unix.EPERM},
		{"message to anywhere", call(unix.SYS_SENDMSG, 3, 0), unix.EPERM},
		{"writing to the terminal's input", call(unix.SYS_IOCTL, 2, unix.TIOCSTI), unix.ENOTTY},
		{"root", call(unix.SYS_SETUID, 0), unix.EPERM},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) { twin.fails(t, tt.try, tt.errno) })
	}
	twin.succeeds(t, order{Do: "work", N: 3}, "3") // it is as well as before
	twin.succeeds(t, socket(unix.AF_INET6, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, unix.IPPROTO_TCP), "")
	if twin.Report.Landlock >= 4 { // any port but the one it was given
		if r := twin.does(t, order{Do: "dial", Path: "127.0.0.1:1"}); r.Errno != unix.EACCES {
			t.Errorf("connect to another port: %+v", r)
		}
	}
}

// TestKilled: what only somebody else's code tries ends the speaker, and the tracer knows why.
func TestKilled(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name string
		try  order
	}{
		{"execve", order{Do: "execve", Path: "/bin/true"}},
		{"execve of itself", order{Do: "execve", Path: "/proc/self/exe"}},
		{"bpf", call(unix.SYS_BPF, unix.BPF_MAP_GET_NEXT_ID)},
		{"ptrace", call(unix.SYS_PTRACE, unix.PTRACE_ATTACH, 1)},
		{"process_vm_readv", call(unix.SYS_PROCESS_VM_READV, 1)},
		{"setns", call(unix.SYS_SETNS, 3, unix.CLONE_NEWNET)},
		{"unshare", call(unix.SYS_UNSHARE, unix.CLONE_NEWUSER)},
		{"mount", call(unix.SYS_MOUNT)},
		{"perf_event_open", call(unix.SYS_PERF_EVENT_OPEN)},
		{"keyctl", call(unix.SYS_KEYCTL)},
		{"io_uring", call(unix.SYS_IO_URING_SETUP, 1)},
		{"userfaultfd", call(unix.SYS_USERFAULTFD)},
		{"kexec", call(unix.SYS_KEXEC_LOAD)},
		{"module", call(unix.SYS_FINIT_MODULE)},
		{"file handle", call(unix.SYS_OPEN_BY_HANDLE_AT)},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			twin := speaker(t, Options{})
			if r, err := twin.asks(tt.try); err == nil {
				t.Fatalf("it lives, and answers %+v", r)
			}
			if err := twin.Err(); !errors.Is(err, ErrForbidden) {
				t.Errorf("got %v, want ErrForbidden", err)
			}
		})
	}
}
