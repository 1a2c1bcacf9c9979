package sandbox

import (
	"encoding/binary"
	"testing"

	"golang.org/x/net/bpf"
	"golang.org/x/sys/unix"
)

const testPID = 4242

// verdict is what the filter says of a call.
func verdict(t *testing.T, g grants, arch, number uint32, args ...uint64) int {
	t.Helper()
	prog, err := filter(g, testPID)
	if err != nil {
		t.Fatal(err)
	}
	vm, err := bpf.NewVM(prog)
	if err != nil {
		t.Fatal(err)
	}
	// struct seccomp_data; each word big-endian, which is how this machine loads it.
	data := make([]byte, 64)
	binary.BigEndian.PutUint32(data[offsetNumber:], number)
	binary.BigEndian.PutUint32(data[offsetArch:], arch)
	for i, a := range args {
		binary.BigEndian.PutUint32(data[offsetArgs+8*i:], uint32(a))
		binary.BigEndian.PutUint32(data[offsetArgs+8*i+4:], uint32(a>>32))
	}
	v, err := vm.Run(data)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func errno(e unix.Errno) int { return unix.SECCOMP_RET_ERRNO | int(e) }

// TestFilter asks the filter about calls whose arguments no kernel sees in other tests.
func TestFilter(t *testing.T) {
	t.Parallel()
	const (
		yes  = unix.SECCOMP_RET_ALLOW
		dead = unix.SECCOMP_RET_KILL_PROCESS
	)
	no := errno(unix.EPERM)
	all := grants{Dial: true, Bind: true, Resolve: true}
	inet, tcp := uint64(unix.AF_INET), uint64(unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK)
	thread := uint64(unix.CLONE_VM | unix.CLONE_FS | unix.CLONE_FILES | unix.CLONE_SIGHAND | unix.CLONE_SYSVSEM | unix.CLONE_THREAD)
	tests := []struct {
		name   string
		grants grants
		number uint32
		args   []uint64
		want   int
	}{
		{"read", grants{}, unix.SYS_READ, nil, yes},
		{"the last in the table", grants{}, unix.SYS_INOTIFY_RM_WATCH, nil, yes},
		{"a call that is not known", all, 999, nil, errno(unix.ENOSYS)},
		{"execve", all, unix.SYS_EXECVE, nil, dead},
		{"splice", all, unix.SYS_SPLICE, nil, errno(unix.EINVAL)},
		{"a thread", grants{}, unix.SYS_CLONE, []uint64{thread}, yes},
		{"a thread with its memory area", grants{}, unix.SYS_CLONE, []uint64{thread | unix.CLONE_SETTLS}, yes},
		{"a thread in a new namespace", all, unix.SYS_CLONE, []uint64{thread | unix.CLONE_NEWNET}, no},
		{"fork", all, unix.SYS_CLONE, []uint64{uint64(unix.SIGCHLD)}, no},
		{"vfork", all, unix.SYS_CLONE, []uint64{unix.CLONE_VM | unix.CLONE_VFORK}, no},
		{"kill itself", all, unix.SYS_KILL, []uint64{testPID, 9}, yes},
		{"kill another", all, unix.SYS_KILL, []uint64{testPID + 1, 9}, no},
		{"kill its process group", all, unix.SYS_KILL, []uint64{0, 9}, no},
		{"read own limits", all, unix.SYS_PRLIMIT64, []uint64{0, 7, 0, 1 << 40}, yes},
		{"read own limits by pid", all, unix.SYS_PRLIMIT64, []uint64{testPID, 7, 0, 1 << 40}, yes},
		{"set own limits", all, unix.SYS_PRLIMIT64, []uint64{0, 7, 1 << 40, 0}, no},
		{"set own limits, low", all, unix.SYS_PRLIMIT64, []uint64{0, 7, 4096, 0}, no},
		{"send", all, unix.SYS_SENDTO, []uint64{3, 1 << 40, 5, 0, 0, 0}, yes},
		{"send to an address, high", all, unix.SYS_SENDTO, []uint64{3, 1 << 40, 5, 0, 1 << 40, 16}, no},
		{"send to an address, low", all, unix.SYS_SENDTO, []uint64{3, 1 << 40, 5, 0, 4096, 16}, no},
		{"TCP to dial", grants{Dial: true}, unix.SYS_SOCKET, []uint64{inet, tcp, 0}, yes},
		{"TCP, without a grant", grants{}, unix.SYS_SOCKET, []uint64{inet, tcp, 0}, no},
		{"UDP to resolve", grants{Resolve: true}, unix.SYS_SOCKET, []uint64{inet, unix.SOCK_DGRAM, 0}, yes},
		{"UDP, without that grant", grants{Dial: true, Bind: true}, unix.SYS_SOCKET, []uint64{inet, unix.SOCK_DGRAM, 0}, no},
		{"TCP as UDP", all, unix.SYS_SOCKET, []uint64{inet, unix.SOCK_DGRAM, unix.IPPROTO_TCP}, no},
		{"connect", grants{Dial: true}, unix.SYS_CONNECT, nil, yes},
		{"connect, without a grant", grants{Bind: true}, unix.SYS_CONNECT, nil, no},
		{"bind", grants{Bind: true}, unix.SYS_BIND, nil, yes},
		{"bind, without a grant", grants{Dial: true, Resolve: true}, unix.SYS_BIND, nil, no},
		{"no delay", all, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.TCP_NODELAY}, yes},
		{"an option of another level", all, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_IPV6, unix.TCP_USER_TIMEOUT}, no},
		{"TLS in the kernel", all, unix.SYS_SETSOCKOPT, []uint64{3, unix.IPPROTO_TCP, unix.TCP_ULP}, no},
	}
	for _, tt := range tests {
		if got := verdict(t, tt.grants, auditArch, tt.number, tt.args...); got != tt.want {
			t.Errorf("%s: got %#x, want %#x", tt.name, got, tt.want)
		}
	}
	if got := verdict(t, all, unix.AUDIT_ARCH_I386, unix.SYS_READ); got != dead {
		t.Errorf("a 32-bit call: got %#x, want %#x", got, dead)
	}
	if otherABI != 0 {
		if got := verdict(t, all, auditArch, otherABI|unix.SYS_READ); got != dead {
			t.Errorf("an x32 call: got %#x, want %#x", got, dead)
		}
	}
}

// TestFilterLength: the kernel takes 4,096 instructions.
func TestFilterLength(t *testing.T) {
	t.Parallel()
	prog, err := filter(grants{Dial: true, Bind: true, Resolve: true}, testPID)
	if err != nil || len(prog) > 1000 {
		t.Errorf("%d instructions, %v", len(prog), err)
	}
}
