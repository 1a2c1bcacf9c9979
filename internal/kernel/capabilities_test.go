package kernel

import (
	"testing"

	"golang.org/x/sys/unix"
)

// TestTraceCaps: who has these lacks nothing, and they are far from all.
func TestTraceCaps(t *testing.T) {
	c := TraceCaps()
	if err := c.CanTrace(); err != nil {
		t.Error(err)
	}
	if lacks := c.Lacks(); lacks != nil {
		t.Errorf("lacks %q", lacks)
	}
	for _, capability := range []int{unix.CAP_CHOWN, unix.CAP_DAC_OVERRIDE, unix.CAP_SETUID, unix.CAP_SYS_MODULE, unix.CAP_NET_RAW} {
		if c.Has(capability) {
			t.Errorf("has capability %d", capability)
		}
	}
	if got := CapSet(unix.CAP_BPF, unix.CAP_CHOWN); got != 1<<39|1 {
		t.Errorf("CapSet: %#x", uint64(got))
	}
}
