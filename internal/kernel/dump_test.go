package kernel

import (
	"encoding/binary"
	"errors"
	"maps"
	"net/netip"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/mdlayher/netlink"
	"github.com/mdlayher/netlink/nltest"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// answering returns a netlink connection to a made-up kernel that answers each request
// with the messages or, if errno is not 0, with that; and the last request.
func answering(t *testing.T, messages []netlink.Message, errno unix.Errno) (*netlink.Conn, *netlink.Message) {
	t.Helper()
	var last netlink.Message
	conn := nltest.Dial(func(req []netlink.Message) ([]netlink.Message, error) {
		if len(req) == 0 {
			return nil, errors.New("more was read than answered")
		}
		last = req[0]
		if errno != 0 {
			refused := last
			refused.Header.Flags = 0
			return nltest.Error(int(errno), []netlink.Message{refused})
		}
		done := netlink.Message{Header: netlink.Header{Type: netlink.Done}, Data: make([]byte, 4)}
		var answer []netlink.Message
		for _, m := range append(slices.Clone(messages), done) {
			m.Header.Sequence, m.Header.PID = last.Header.Sequence, nltest.PID
			m.Header.Flags |= netlink.Multi
			answer = append(answer, m)
		}
		return answer, nil
	})
	t.Cleanup(func() { conn.Close() })
	return conn, &last
}

// diagMessage is a struct inet_diag_msg, with attributes after it.
func diagMessage(t *testing.T, state event.State, local, remote string, attrs ...netlink.Attribute) netlink.Message {
	t.Helper()
	b := make([]byte, diagMsgBytes)
	l, r := netip.MustParseAddrPort(local), netip.MustParseAddrPort(remote)
	b[0], b[msgState] = unix.AF_INET6, byte(state)
	if l.Addr().Is4() {
		b[0] = unix.AF_INET
	}
	copy(b[msgSrc:], l.Addr().AsSlice())
	copy(b[msgDst:], r.Addr().AsSlice())
	binary.BigEndian.PutUint16(b[msgSport:], l.Port())
	binary.BigEndian.PutUint16(b[msgDport:], r.Port())
	binary.NativeEndian.PutUint32(b[msgCookie0:], 7)
	binary.NativeEndian.PutUint32(b[msgExpires:], 1500)
	tail, err := netlink.MarshalAttributes(attrs)
	if err != nil {
		t.Fatal(err)
	}
	return netlink.Message{Header: netlink.Header{Type: unix.SOCK_DIAG_BY_FAMILY}, Data: append(b, tail...)}
}

func TestDump(t *testing.T) {
	memory := make([]byte, 4*(memDrops+1))
	binary.NativeEndian.PutUint32(memory[4*memDrops:], 3)
	conn, req := answering(t, []netlink.Message{
		diagMessage(t, event.Listening, "0.0.0.0:80", "0.0.0.0:0", netlink.Attribute{Type: 4, Data: []byte("cubic\x00")},
			netlink.Attribute{Type: extMemory, Data: memory}),
		{Header: netlink.Header{Type: 99}}, // of another kind
		diagMessage(t, event.Listening, "[::1]:443", "[::]:0", netlink.Attribute{Type: extMemory, Data: memory[:8]}),
	}, 0)
	var got []Socket
	if err := dump(conn, diagRequest(unix.AF_INET, States(event.Listening), 0), func(s Socket) error { got = append(got, s); return nil }); err != nil {
		t.Fatal(err)
	}
	want := []Socket{
		{State: event.Listening, Local: netip.MustParseAddrPort("0.0.0.0:80"), Remote: netip.MustParseAddrPort("0.0.0.0:0"),
			Cookie: 7, Expires: 1500 * time.Millisecond, Drops: 3},
		{State: event.Listening, Local: netip.MustParseAddrPort("[::1]:443"), Remote: netip.MustParseAddrPort("[::]:0"),
			Cookie: 7, Expires: 1500 * time.Millisecond},
	}
	if !slices.Equal(got, want) {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
	if req.Header.Type != unix.SOCK_DIAG_BY_FAMILY || req.Header.Flags != netlink.Request|netlink.Dump ||
		len(req.Data) != diagReqBytes || req.Data[0] != unix.AF_INET || req.Data[1] != unix.IPPROTO_TCP ||
		req.Data[2] != 1<<(extMemory-1) || binary.NativeEndian.Uint32(req.Data[4:]) != 1<<event.Listening {
		t.Errorf("the request is %+v", req)
	}
	if b := diagRequest(unix.AF_INET6, AllStates, 0); b[0] != unix.AF_INET6 || b[2] != 0 {
		t.Errorf("of all states the request is %x: it asks for memory", b)
	}
}

func TestDumpErrors(t *testing.T) {
	socket := diagMessage(t, event.TimeWait, "10.0.0.1:80", "10.0.0.2:9")
	interrupted := socket
	interrupted.Header.Flags |= netlink.DumpInterrupted
	short := socket
	short.Data = short.Data[:8]
	stop := errors.New("stop")
	for _, tt := range []struct {
		name    string
		message netlink.Message
		errno   unix.Errno // of the kernel
		fn      error
		want    string
		sockets int
	}{
		{"no inet_diag", socket, unix.ENOENT, nil, "modprobe tcp_diag", 0},
		{"another error", socket, unix.ENOBUFS, nil, "no buffer space", 0},
		{"interrupted", interrupted, 0, nil, ErrDumpInterrupted.Error(), 1},
		{"a short message", short, 0, nil, "expected at least 72", 0},
		{"an error of the function", socket, 0, stop, "stop", 1},
	} {
		conn, _ := answering(t, []netlink.Message{tt.message}, tt.errno)
		n := 0
		err := dump(conn, diagRequest(unix.AF_INET, AllStates, 0), func(Socket) error { n++; return tt.fn })
		if err == nil || !strings.Contains(err.Error(), tt.want) || n != tt.sockets {
			t.Errorf("%s: %d sockets, %v; want %d and %q", tt.name, n, err, tt.sockets, tt.want)
		}
	}
}

// conntrackMessage is an entry of a TCP connection in that state.
func conntrackMessage(t *testing.T, state byte) netlink.Message {
	t.Helper()
	data := []byte{state}
	for _, kind := range []uint16{ctaTCPState, ctaTCP | netlink.Nested, ctaProtoInfo | netlink.Nested} {
		b, err := netlink.MarshalAttributes([]netlink.Attribute{{Type: kind, Data: data}})
		if err != nil {
			t.Fatal(err)
		}
		data = b
	}
	return netlink.Message{Header: netlink.Header{Type: ctNew}, Data: append(make([]byte, nfGenBytes), data...)}
}

func TestDumpConntrack(t *testing.T) {
	udp := netlink.Message{Header: netlink.Header{Type: ctNew}, Data: make([]byte, nfGenBytes)}
	conn, req := answering(t, []netlink.Message{conntrackMessage(t, 3), conntrackMessage(t, 7), udp, conntrackMessage(t, 7),
		{Header: netlink.Header{Type: ctGet}, Data: make([]byte, nfGenBytes)}}, 0)
	got, err := dumpConntrack(conn)
	if want := map[string]uint64{"ESTABLISHED": 1, "TIME_WAIT": 2, "other": 1}; err != nil || !maps.Equal(got, want) {
		t.Errorf("states %v, %v; want %v", got, err, want)
	}
	if req.Header.Type != ctGet || req.Header.Flags != netlink.Request|netlink.Dump {
		t.Errorf("the request is %+v", req)
	}
	bad := conntrackMessage(t, 7)
	bad.Data[nfGenBytes] = 2 // shorter than the head of an attribute
	conn, _ = answering(t, []netlink.Message{bad}, 0)
	if got, err := dumpConntrack(conn); err == nil {
		t.Errorf("an entry that is cut passed: %v", got)
	}
	conn, _ = answering(t, nil, unix.EPERM)
	if _, err := dumpConntrack(conn); !errors.Is(err, unix.EPERM) {
		t.Errorf("not allowed: %v", err)
	}
}
