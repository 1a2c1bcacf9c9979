package sandbox

import "golang.org/x/sys/unix"

const (
	auditArch = unix.AUDIT_ARCH_AARCH64
	otherABI  = 0 // there is no other with the same audit architecture
)

var allowedHere, killedHere []uint32
