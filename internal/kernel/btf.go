package kernel

import (
	"errors"
	"fmt"
	"io/fs"

	"github.com/cilium/ebpf/btf"
)

// kernelBTF is where a kernel built with CONFIG_DEBUG_INFO_BTF describes its types.
const kernelBTF = "/sys/kernel/btf/vmlinux"

// BTFAvailable returns nil if the file at path has readable type information; ""
// means that of the running kernel. The error says what is missing and what to do.
func BTFAvailable(path string) error {
	own := path == "" || path == kernelBTF
	if own {
		path = kernelBTF
	}
	_, err := btf.LoadSpec(path)
	switch {
	case err == nil:
		return nil
	case own && errors.Is(err, fs.ErrNotExist):
		return fmt.Errorf("this kernel has no type information (built without CONFIG_DEBUG_INFO_BTF): "+
			"get a BTF file for it and pass it with --btf FILE: %w", err)
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("read BTF: %w: run as root", err)
	}
	return fmt.Errorf("read BTF of %s: %w", path, err)
}

// TimeWaitCountedAtBirth reports whether the counters TW and TWKilled grow when
// a mini-socket is born (5.18 and later) rather than when it expires. The change
// removed the flag tw_kill from the mini-socket, so the kernel's types show which it
// is, on kernels with back-ports too.
func TimeWaitCountedAtBirth(types *btf.Spec) (bool, error) {
	var tw *btf.Struct
	if err := types.TypeByName("inet_timewait_sock", &tw); err != nil {
		return false, fmt.Errorf("find struct inet_timewait_sock: %w", err)
	}
	for _, m := range tw.Members {
		if m.Name == "tw_kill" {
			return false, nil
		}
	}
	return true, nil
}
