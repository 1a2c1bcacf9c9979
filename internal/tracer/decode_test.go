package tracer

import (
	"bytes"
	"encoding/binary"
	"net/netip"
	"reflect"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// sample returns raw as the ring would carry it.
func sample(t testing.TB, raw bpfEvent) []byte {
	t.Helper()
	var b bytes.Buffer
	if err := binary.Write(&b, binary.NativeEndian, raw); err != nil {
		t.Fatal(err)
	}
	return b.Bytes()
}

func comm(s string) (c [16]int8) {
	for i := range len(s) {
		c[i] = int8(s[i])
	}
	return c
}

func TestDecode(t *testing.T) {
	raw := bpfEvent{Time: 5000, Cookie: 0xabc, Established: 1000, Closed: 3000, Since: 4000, Netns: 7, Lport: 40000, Rport: 3306,
		Kind: uint8(bpfKindKIND_ENTER), Why: uint8(bpfWhyWHY_LATE_FIN), Family: 6, Old: 5, New: 6,
		Role: uint8(bpfRoleROLE_CLIENT), Side: uint8(bpfSideSIDE_LOCAL), Rearms: 2, Idle: 3,
		Flags: uint8(bpfEventFlagsEVENT_STAMPS_KNOWN | bpfEventFlagsEVENT_STAMPS)}
	raw.Laddr = netip.MustParseAddr("::ffff:10.0.0.7").As16()
	raw.Raddr = netip.MustParseAddr("::ffff:10.0.0.9").As16()
	raw.Origin, raw.Closer = 42<<pidShift|7, 43<<pidShift|7
	want := event.Event{Time: 1005000, Cookie: 0xabc, NetNS: 7, Kind: event.TimeWaitEnter, Reason: event.LateFin,
		Old: event.FinWait2, New: event.TimeWait, Role: event.Client, Closer: event.LocalSide, Stamps: event.Yes,
		Local: netip.MustParseAddrPort("10.0.0.7:40000"), Remote: netip.MustParseAddrPort("10.0.0.9:3306"),
		Opener: event.Proc{PID: 42, Comm: "abc"}, CloseProc: event.Proc{PID: 43, Comm: "\xff0123456789abcde"},
		Life: 2000, Idle: 12_000_000, InState: 1000, Rearms: 2}
	d := newDecoder(1_000_000, 4_000_000)
	d.procs.known.Put(raw.Origin, event.Proc{PID: 42, Comm: "abc"})
	d.procs.known.Put(raw.Closer, event.Proc{PID: 43, Comm: "\xff0123456789abcde"})
	var got event.Event
	if err := d.decode(sample(t, raw), &got); err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	bytes := sample(t, raw)
	if n := testing.AllocsPerRun(100, func() { d.decode(bytes, &got) }); n != 0 {
		t.Errorf("%v allocations for processes that are known", n)
	}
}

func TestDecodeReasons(t *testing.T) {
	for _, tt := range []struct {
		kind  bpfKind
		old   event.State
		why   bpfWhy
		flags bpfEventFlags
		want  event.Reason
	}{
		{bpfKindKIND_EXIT, event.TimeWait, bpfWhyWHY_EXPIRED, 0, event.Expired},
		{bpfKindKIND_EXIT, event.TimeWait, bpfWhyWHY_KILLED, 0, event.ReasonNone},
		{bpfKindKIND_EXIT, event.TimeWait, bpfWhyWHY_RESET, 0, event.Reset},
		{bpfKindKIND_CLOSE, event.FinWait2, bpfWhyWHY_EXPIRED, 0, event.FinWait2Timeout},
		{bpfKindKIND_CLOSE, event.FinWait2, bpfWhyWHY_RESET, 0, event.ResetReceived},
		{bpfKindKIND_CLOSE, event.FinWait2, bpfWhyWHY_DESTROYED, 0, event.Destroyed},
		{bpfKindKIND_CLOSE, event.FinWait2, bpfWhyWHY_RESET, bpfEventFlagsEVENT_RESET_SENT, event.ResetSent},
		{bpfKindKIND_CLOSE, event.LastAck, bpfWhyWHY_PASSIVE, 0, event.PassiveClose},
	} {
		d := newDecoder(0, 1)
		var e event.Event
		raw := bpfEvent{Kind: uint8(tt.kind), Old: uint8(tt.old), Why: uint8(tt.why), Flags: uint8(tt.flags), Family: 4}
		if err := d.decode(sample(t, raw), &e); err != nil || e.Reason != tt.want {
			t.Errorf("%+v: %v (%v)", tt, e.Reason, err)
		}
	}
}

// TestDecodeOwners: whose id it is depends on the side and on the event.
func TestDecodeOwners(t *testing.T) {
	who, closer := event.Proc{PID: 42, Comm: "abc"}, event.Proc{PID: 43}
	for _, tt := range []struct {
		kind bpfKind
		role bpfRole
		want event.Event
	}{
		{bpfKindKIND_OPEN, bpfRoleROLE_CLIENT, event.Event{Opener: who, CloseProc: closer}},
		{bpfKindKIND_OPEN, bpfRoleROLE_UNKNOWN, event.Event{Opener: who, CloseProc: closer}},
		{bpfKindKIND_OPEN, bpfRoleROLE_SERVER, event.Event{Accepter: who, CloseProc: closer}},
		{bpfKindKIND_LISTEN, bpfRoleROLE_UNKNOWN, event.Event{Process: who, Owner: event.ByListen}},
	} {
		d := newDecoder(0, 1)
		d.procs.known.Put(42<<pidShift|7, who)
		var got event.Event
		raw := bpfEvent{Kind: uint8(tt.kind), Role: uint8(tt.role), Origin: 42<<pidShift | 7, Closer: 43<<pidShift | 8}
		if err := d.decode(sample(t, raw), &got); err != nil {
			t.Fatal(err)
		}
		if got.Opener != tt.want.Opener || got.Accepter != tt.want.Accepter || got.Process != tt.want.Process ||
			got.CloseProc != tt.want.CloseProc || got.Owner != tt.want.Owner {
			t.Errorf("kind %d, role %d: %+v", tt.kind, tt.role, got)
		}
	}
}

// TestDecodeListener: the opening of a server's end says where the listener is, in place of
// times that it does not have.
func TestDecodeListener(t *testing.T) {
	for _, want := range []string{"127.0.0.1:9999", "0.0.0.0:80", "0.0.0.0:0", "[::]:443"} {
		at := netip.MustParseAddrPort(want)
		raw := bpfEvent{Kind: uint8(bpfKindKIND_OPEN), Role: uint8(bpfRoleROLE_SERVER), Family: 6, Time: 1 << 62, Established: 1,
			Flags: uint8(bpfEventFlagsEVENT_LISTENER), Rearms: at.Port()}
		if at.Addr().Is4() {
			raw.Family = 4
		}
		var addr [16]byte
		copy(addr[:], at.Addr().AsSlice())
		raw.Closed, raw.Since = binary.NativeEndian.Uint64(addr[:]), binary.NativeEndian.Uint64(addr[8:])
		d := newDecoder(0, 1)
		var got event.Event
		if err := d.decode(sample(t, raw), &got); err != nil || got.Listener != at || got.Life != 0 || got.InState != 0 || got.Rearms != 0 {
			t.Errorf("%s: listener %v, life %d, in state %d, %d rearms (%v)", want, got.Listener, got.Life, got.InState, got.Rearms, err)
		}
	}
}

// A failed call has the process that made it, and no end that it did not name.
func TestDecodeFailures(t *testing.T) {
	local, remote := netip.MustParseAddrPort("10.0.0.7:80"), netip.MustParseAddrPort("10.0.0.9:90")
	who := event.Proc{PID: 42, Comm: "abc"}
	for _, tt := range []struct {
		call bpfCall
		role bpfRole
		want event.Event
	}{
		{bpfCallCALL_CONNECT, bpfRoleROLE_CLIENT, event.Event{Call: event.Connect, Role: event.Client,
			Local: local, Remote: remote, Opener: who}},
		{bpfCallCALL_BIND, bpfRoleROLE_UNKNOWN, event.Event{Call: event.Bind, Local: local, Process: who, Owner: event.ByCall}},
		{bpfCallCALL_ACCEPT, bpfRoleROLE_SERVER, event.Event{Call: event.Accept, Role: event.Server, Local: local, Accepter: who}},
		{bpfCallCALL_SOCKET, bpfRoleROLE_UNKNOWN, event.Event{Call: event.Socket, Process: who, Owner: event.ByCall}},
	} {
		raw := bpfEvent{Kind: uint8(bpfKindKIND_FAIL), Family: 4, Call: uint8(tt.call), Role: uint8(tt.role), Err: 24,
			Lport: 80, Rport: 90, Origin: 42<<pidShift | 7}
		copy(raw.Laddr[:], local.Addr().AsSlice())
		copy(raw.Raddr[:], remote.Addr().AsSlice())
		tt.want.Kind, tt.want.Errno = event.Fail, 24
		d := newDecoder(0, 1)
		d.procs.known.Put(raw.Origin, who)
		var got event.Event
		if err := d.decode(sample(t, raw), &got); err != nil || !reflect.DeepEqual(got, tt.want) {
			t.Errorf("got  %+v\nwant %+v (%v)", got, tt.want, err)
		}
	}
}

// FuzzDecode has the cast agree with encoding/binary, and refuse the rest.
func FuzzDecode(f *testing.F) {
	f.Add(sample(f, bpfEvent{Kind: uint8(bpfKindKIND_OPEN), Family: 4, Lport: 1, Cookie: 2}))
	f.Add(sample(f, bpfEvent{Kind: uint8(bpfKindKIND_CLOSE), Why: uint8(bpfWhyWHY_RESET)}))
	f.Add([]byte{})
	f.Add(make([]byte, 111))
	f.Fuzz(func(t *testing.T, b []byte) {
		d := newDecoder(0, 1)
		var e event.Event
		err := d.decode(b, &e)
		var raw bpfEvent
		if _, short := binary.Decode(b, binary.NativeEndian, &raw); short != nil {
			if err == nil {
				t.Fatalf("%d bytes decoded", len(b))
			}
			return
		}
		if err != nil {
			return
		}
		if e.Cookie != raw.Cookie || e.NetNS != raw.Netns || e.Call != event.Socket && e.Local.Port() != raw.Lport ||
			e.Kind != kinds[raw.Kind] || e.Time != int64(raw.Time) || e.Life < 0 || e.InState < 0 {
			t.Fatalf("%+v is not %+v", e, raw)
		}
	})
}

func BenchmarkDecode(b *testing.B) {
	s := sample(b, bpfEvent{Kind: uint8(bpfKindKIND_ENTER), Family: 4})
	d := newDecoder(0, 1)
	var e event.Event
	b.ReportAllocs()
	for b.Loop() {
		if err := d.decode(s, &e); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "events/s")
}
