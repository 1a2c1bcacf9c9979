package tracer

import (
	"errors"
	"math"
	"net/netip"
	"unsafe"

	"github.com/twtrace/twtrace/internal/event"
)

// errSample is the reason for LostDecode: a sample of another size or kind than
// this program writes.
var errSample = errors.New("sample is not an event")

// decoder turns samples into events.
type decoder struct {
	clock int64 // ns from CLOCK_MONOTONIC to CLOCK_REALTIME
	tick  int64 // ns of a tick of jiffies
	procs procs
}

func newDecoder(clock, tick int64, maps ...lookup) decoder {
	return decoder{clock: clock, tick: tick, procs: newProcs(maps...)}
}

var kinds = [...]event.Kind{
	bpfKindKIND_OPEN: event.Open, bpfKindKIND_STATE: event.StateChange,
	bpfKindKIND_PARKED: event.Parked, bpfKindKIND_ENTER: event.TimeWaitEnter,
	bpfKindKIND_REFUSED: event.TimeWaitRefused, bpfKindKIND_EXIT: event.TimeWaitExit,
	bpfKindKIND_CLOSE: event.Close, bpfKindKIND_FAIL: event.Fail, bpfKindKIND_LISTEN: event.Listen,
}

// reasons has none for WHY_KILLED: the hooks in use did not see why.
var reasons = [...]event.Reason{
	bpfWhyWHY_ACTIVE: event.ActiveClose, bpfWhyWHY_SIMULTANEOUS: event.SimultaneousClose,
	bpfWhyWHY_LATE_FIN: event.LateFin, bpfWhyWHY_BUCKETS: event.Buckets,
	bpfWhyWHY_MEMORY: event.Memory, bpfWhyWHY_EXPIRED: event.Expired, bpfWhyWHY_REUSED: event.Reused,
	bpfWhyWHY_SYN: event.Syn, bpfWhyWHY_RESET: event.Reset, bpfWhyWHY_DESTROYED: event.Destroyed,
	bpfWhyWHY_NETNS_EXIT: event.NetnsExit, bpfWhyWHY_KILLED: event.ReasonNone,
	bpfWhyWHY_PASSIVE: event.PassiveClose, bpfWhyWHY_RESET_SENT: event.ResetSent,
	bpfWhyWHY_RESET_RECEIVED: event.ResetReceived, bpfWhyWHY_TIMEOUT: event.Timeout,
}

var roles = [...]event.Role{bpfRoleROLE_CLIENT: event.Client, bpfRoleROLE_SERVER: event.Server}

var calls = [...]event.Call{bpfCallCALL_CONNECT: event.Connect, bpfCallCALL_BIND: event.Bind,
	bpfCallCALL_ACCEPT: event.Accept, bpfCallCALL_SOCKET: event.Socket}

var sides = [...]event.Side{bpfSideSIDE_LOCAL: event.LocalSide, bpfSideSIDE_REMOTE: event.RemoteSide,
	bpfSideSIDE_BOTH: event.BothSides}

// decode writes what sample says to e, all fields of it.
func (d *decoder) decode(sample []byte, e *event.Event) error {
	if len(sample) < int(unsafe.Sizeof(bpfEvent{})) {
		return errSample
	}
	raw := (*bpfEvent)(unsafe.Pointer(unsafe.SliceData(sample)))
	if raw.Kind == 0 || int(raw.Kind) >= len(kinds) || int(raw.Why) >= len(reasons) ||
		int(raw.Role) >= len(roles) || int(raw.Side) >= len(sides) || int(raw.Call) >= len(calls) {
		return errSample
	}
	*e = event.Event{
		Time:   int64(raw.Time) + d.clock,
		Cookie: raw.Cookie,
		NetNS:  raw.Netns,
		Kind:   kinds[raw.Kind],
		Reason: reasons[raw.Why],
		Old:    event.State(raw.Old),
		New:    event.State(raw.New),
		Role:   roles[raw.Role],
		Closer: sides[raw.Side],
		Local:  addrPort(raw.Family, &raw.Laddr, raw.Lport),
		Remote: addrPort(raw.Family, &raw.Raddr, raw.Rport),
		Rearms: uint32(raw.Rearms),
		Bound:  raw.Flags&uint8(bpfEventFlagsEVENT_BOUND) != 0,
	}
	d.owners(raw, e)
	if raw.Flags&uint8(bpfEventFlagsEVENT_LISTENER) != 0 {
		at := [2]uint64{raw.Closed, raw.Since}
		e.Listener, e.Rearms = addrPort(raw.Family, (*[16]byte)(unsafe.Pointer(&at)), raw.Rearms), 0
	} else {
		e.Life = between(raw.Established, raw.Closed)
		e.Idle = int64(raw.Idle) * d.tick
		e.InState = between(raw.Since, raw.Time)
	}
	e.DataLost = raw.Flags&uint8(bpfEventFlagsEVENT_DATA_LOST) != 0
	if raw.Flags&uint8(bpfEventFlagsEVENT_STAMPS_KNOWN) != 0 {
		e.Stamps = event.No
		if raw.Flags&uint8(bpfEventFlagsEVENT_STAMPS) != 0 {
			e.Stamps = event.Yes
		}
	}
	switch e.Kind {
	case event.Fail:
		e.Call, e.Errno = calls[raw.Call], uint16(raw.Err)
		if raw.Flags&uint8(bpfEventFlagsEVENT_GAVE_UP) != 0 {
			e.Cause = event.GaveUp
		}
		failed(e)
	case event.Close:
		if e.Old == event.FinWait2 {
			e.Reason = parkedEnd(e.Reason, raw.Flags)
		}
	}
	return nil
}

// failed leaves out of e what the failed call has not: bind and accept have no remote
// end, and a socket that could not be made has none at all.
func failed(e *event.Event) {
	switch e.Call {
	case event.Socket:
		e.Local = netip.AddrPort{}
		fallthrough
	case event.Bind:
		e.Process, e.Owner, e.Opener = e.Opener, event.ByCall, event.Proc{}
		fallthrough
	case event.Accept:
		e.Remote = netip.AddrPort{}
	}
}

// between is the time from one instant to a later one, 0 if one of them is not known.
func between(from, to uint64) int64 {
	if from == 0 || to < from || to-from > math.MaxInt64 {
		return 0
	}
	return int64(to - from)
}

// parkedEnd is the reason for which a mini-socket ended that was never in
// TIME_WAIT, in the words of a close.
func parkedEnd(r event.Reason, flags uint8) event.Reason {
	switch {
	case r == event.Expired:
		return event.FinWait2Timeout
	case r == event.Reset && flags&uint8(bpfEventFlagsEVENT_RESET_SENT) != 0:
		return event.ResetSent
	case r == event.Reset:
		return event.ResetReceived
	}
	return r
}

// owners sets the processes that raw knows.
func (d *decoder) owners(raw *bpfEvent, e *event.Event) {
	origin := d.procs.of(raw.Origin)
	switch {
	case e.Kind == event.Listen:
		e.Process, e.Owner = origin, event.ByListen
		return
	case e.Role == event.Server:
		e.Accepter = origin
	default:
		e.Opener = origin
	}
	e.CloseProc = d.procs.of(raw.Closer)
}

// addrPort returns an IPv4-mapped address in its IPv4 form.
func addrPort(family uint8, addr *[16]byte, port uint16) netip.AddrPort {
	if family == 4 {
		return netip.AddrPortFrom(netip.AddrFrom4([4]byte(addr[:4])), port)
	}
	return netip.AddrPortFrom(netip.AddrFrom16(*addr).Unmap(), port)
}
