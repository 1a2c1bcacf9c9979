package tracer

import (
	"encoding/binary"
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/twtrace/twtrace/internal/event"
)

// Adopt makes a mini-socket known that was parked in FIN_WAIT2 before the trace,
// so that its promotion is seen: the hooks notice it only where they know that it
// was parked. e is its Snapshot event, with the cookie. One that the hooks know
// already is left alone; one that is too much for the maps is counted.
func (t *Tracer) Adopt(e *event.Event) error {
	if err := t.runOn(bpfProgAdoptMini, bpfAdoption{Cookie: e.Cookie, Tuple: tupleOf(e)}); err != nil {
		return fmt.Errorf("adopt a parked socket: %w", err)
	}
	return nil
}

// Disown takes an adopted mini-socket out of the owner table whose end has been read. The
// hooks have done so, unless it ended before it was adopted.
func (t *Tracer) Disown(cookie uint64) error {
	if err := t.runOn(bpfProgDisownMini, bpfAdoption{Cookie: cookie}); err != nil {
		return fmt.Errorf("disown a parked socket: %w", err)
	}
	return nil
}

func (t *Tracer) runOn(program string, a bpfAdoption) error {
	_, err := t.coll.Programs[program].Run(&ebpf.RunOptions{Context: a})
	return err
}

// tupleOf is the key of a mini-socket in the map of the parked ones: addresses as
// they are in memory, IPv4 in its mapped form.
func tupleOf(e *event.Event) bpfTuple {
	k := bpfTuple{Netns: e.NetNS, Lport: e.Local.Port(), Rport: e.Remote.Port()}
	local, remote := e.Local.Addr().As16(), e.Remote.Addr().As16()
	for i := range k.Laddr {
		k.Laddr[i], k.Raddr[i] = binary.NativeEndian.Uint64(local[8*i:]), binary.NativeEndian.Uint64(remote[8*i:])
	}
	return k
}
