package tracer

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"unsafe"

	"github.com/cilium/ebpf"

	"github.com/twtrace/twtrace/internal/event"
)

// Owners reads the owner maps of the traces that are running on this host, in
// any process.
type Owners struct {
	conns owned
	procs procs
}

// owned are connections as the hooks keep them; see bpf/conns.h.
type owned struct{ tables, spills []lookup }

// lookup is what is asked of a map of the kernel.
type lookup interface {
	Lookup(key, value any) error
	MaxEntries() uint32
	Close() error
}

// slotChoices is in how many places of a table a connection may be.
const slotChoices = uint32(bpfSharedSLOT_CHOICES)

// find is conn_get(), and cookie not 0.
func (o owned) find(cookie uint64, c *bpfConn) bool {
	for _, m := range o.tables {
		size := m.MaxEntries()
		for choice := range slotChoices {
			at := (uint32(cookie) + choice*(size/slotChoices)) % size
			if m.Lookup(at, c) == nil && c.Key == cookie {
				return true
			}
		}
	}
	for _, m := range o.spills {
		if m.Lookup(cookie, c) == nil {
			return true
		}
	}
	return false
}

// OpenOwners finds the owner maps by name. It is no error if there is none; see
// Traces. Listing maps needs CAP_SYS_ADMIN; without it the error is os.ErrPermission.
func OpenOwners() (*Owners, error) {
	o := &Owners{procs: newProcs()}
	var id ebpf.MapID
	for {
		next, err := ebpf.MapGetNextID(id)
		if errors.Is(err, os.ErrNotExist) {
			return o, nil
		}
		if err != nil {
			o.Close()
			return nil, fmt.Errorf("list BPF maps: %w", err)
		}
		id = next
		m, err := ebpf.NewMapFromID(id)
		if errors.Is(err, os.ErrNotExist) {
			continue // gone since
		}
		if err != nil {
			o.Close()
			return nil, fmt.Errorf("open BPF map %d: %w", id, err)
		}
		switch {
		case is[uint32, bpfConn](m, bpfMapTwtraceConns):
			o.conns.tables = append(o.conns.tables, m)
		case is[uint64, bpfConn](m, bpfMapTwtraceSpill):
			o.conns.spills = append(o.conns.spills, m)
		case is[uint64, bpfProc](m, bpfMapTwtraceProcs):
			o.procs.maps = append(o.procs.maps, m)
		default:
			m.Close()
		}
	}
}

// is reports whether m is the map of that name, of this version: with keys and values of
// these sizes.
func is[Key, Value any](m *ebpf.Map, name string) bool {
	var key Key
	var value Value
	info, err := m.Info()
	return err == nil && info.Name == name &&
		m.KeySize() == uint32(unsafe.Sizeof(key)) && m.ValueSize() == uint32(unsafe.Sizeof(value))
}

// Traces is how many running traces there are.
func (o *Owners) Traces() int { return len(o.conns.tables) }

// Find sets the role and the processes of e, whose cookie says which connection
// it is, and reports whether any trace knows it.
func (o *Owners) Find(e *event.Event) bool {
	var c bpfConn
	if !o.conns.find(e.Cookie, &c) || int(c.Role) >= len(roles) || int(c.Side) >= len(sides) {
		return false
	}
	e.Role, e.Closer, e.Rearms = roles[c.Role], sides[c.Side], uint32(c.Rearms)
	origin := o.procs.of(c.Origin)
	if e.Role == event.Server {
		e.Accepter = origin
	} else {
		e.Opener = origin
	}
	e.CloseProc = o.procs.of(c.Closer)
	e.Life = between(c.Established, c.Closed)
	return true
}

// Close releases the maps; the traces go on.
func (o *Owners) Close() {
	for _, m := range slices.Concat(o.conns.tables, o.conns.spills, o.procs.maps) {
		m.Close()
	}
}
