package kernel

import (
	"bytes"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// listen opens a listener in n that lives as long as the test.
func listen(t testing.TB, n NetNS, addr string) net.Listener {
	t.Helper()
	var l net.Listener
	err := n.Do(func() (err error) { l, err = net.Listen("tcp", addr); return err })
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l
}

// connect makes one connection in n to l and returns both ends.
func connect(t testing.TB, n NetNS, l net.Listener) (client, server *net.TCPConn) {
	t.Helper()
	err := n.Do(func() error {
		c, err := net.DialTCP("tcp", nil, l.Addr().(*net.TCPAddr))
		client = c
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := l.Accept()
	if err != nil {
		t.Fatal(err)
	}
	return client, s.(*net.TCPConn)
}

// hold is connect for ends that stay open until the test ends, or closes them.
func hold(t testing.TB, n NetNS, l net.Listener) (client, server *net.TCPConn) {
	t.Helper()
	client, server = connect(t, n, l)
	t.Cleanup(func() { client.Close(); server.Close() })
	return client, server
}

// makeTimeWaits makes connections in n that their client closes first, until
// the kernel holds count more mini-sockets.
func makeTimeWaits(t testing.TB, n NetNS, host string, count int) {
	t.Helper()
	before, err := n.Counters()
	if err != nil {
		t.Fatal(err)
	}
	l := listen(t, n, net.JoinHostPort(host, "0"))
	for range count {
		client, server := connect(t, n, l)
		closeInOrder(t, client, server)
	}
	l.Close()
	eventually(t, func() error {
		c, err := n.Counters()
		if err == nil && c.TimeWait != before.TimeWait+uint64(count) {
			err = fmt.Errorf("%d mini-sockets, want %d more than %d", c.TimeWait, count, before.TimeWait)
		}
		return err
	})
}

// closeInOrder closes first, waits for its FIN at second, and closes that.
func closeInOrder(t testing.TB, first, second net.Conn) {
	t.Helper()
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}
	if _, err := second.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Fatalf("read after the peer's close: %v, want EOF", err)
	}
	if err := second.Close(); err != nil {
		t.Fatal(err)
	}
}

func collect(t testing.TB, n NetNS, states StateMask) []Socket {
	t.Helper()
	var all []Socket
	if err := n.Sockets(states, func(s Socket) error { all = append(all, s); return nil }); err != nil {
		t.Fatal(err)
	}
	return all
}

// zoo makes sockets of many states, both families, and a mapped address.
func zoo(t *testing.T, n NetNS) {
	t.Helper()
	l4, l6, dual := listen(t, n, "127.0.0.1:0"), listen(t, n, "[::1]:0"), listen(t, n, "[::]:0")
	for _, l := range []net.Listener{l4, l6} {
		client, _ := hold(t, n, l) // ESTABLISHED, with 5 bytes unread
		if _, err := client.Write([]byte("hello")); err != nil {
			t.Fatal(err)
		}
		client, _ = hold(t, n, l) // FIN_WAIT2 in a full socket, CLOSE_WAIT
		if err := client.CloseWrite(); err != nil {
			t.Fatal(err)
		}
		client, _ = hold(t, n, l) // FIN_WAIT2 in a mini-socket, CLOSE_WAIT
		if err := client.Close(); err != nil {
			t.Fatal(err)
		}
	}
	eventually(t, func() error {
		c, err := n.Counters()
		if err == nil && c.TimeWait != 2 {
			err = fmt.Errorf("%d mini-sockets are parked, not 2", c.TimeWait)
		}
		return err
	})
	mapped := &net.TCPAddr{IP: net.IPv4(127, 0, 0, 1), Port: dual.Addr().(*net.TCPAddr).Port}
	var client *net.TCPConn
	err := n.Do(func() (err error) { client, err = net.DialTCP("tcp", nil, mapped); return err })
	if err != nil {
		t.Fatal(err)
	}
	server, err := dual.Accept()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { client.Close(); server.Close() })
	makeTimeWaits(t, n, "127.0.0.1", 3)
	makeTimeWaits(t, n, "::1", 2)
	overflowListener(t, n)
}

// overflowListener leaves a socket in SYN_SENT with a retransmission timer: the
// queue of its listener holds one connection more than its backlog of 0.
func overflowListener(t *testing.T, n NetNS) {
	t.Helper()
	err := n.Do(func() error {
		ln, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		t.Cleanup(func() { unix.Close(ln) })
		addr := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: 9}
		if err := unix.Bind(ln, addr); err != nil {
			return err
		}
		if err := unix.Listen(ln, 0); err != nil {
			return err
		}
		for range 2 {
			c, err := unix.Socket(unix.AF_INET, unix.SOCK_STREAM|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0)
			if err != nil {
				return err
			}
			t.Cleanup(func() { unix.Close(c) })
			if err := unix.Connect(c, addr); err != nil && !errors.Is(err, unix.EINPROGRESS) {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// TestSocketsAgainstSS compares every socket of a namespace, field by field,
// with what ss(8) prints there.
func TestSocketsAgainstSS(t *testing.T) {
	n := newNetNS(t)
	zoo(t, n)
	eventually(t, func() error {
		got := map[event.State]int{}
		for _, s := range collect(t, n, AllStates) {
			got[s.State]++
		}
		want := map[event.State]int{event.Listening: 4, event.Established: 8, event.FinWait2: 4,
			event.CloseWait: 4, event.TimeWait: 5, event.SynSent: 1}
		// Of the 8, four are ends of two plain connections, two of the mapped
		// one, and two of the connection that the small listener let in.
		for s, c := range want {
			if got[s] != c {
				return fmt.Errorf("sockets by state %v, want %v", got, want)
			}
		}
		return nil
	})

	before := byCookie(t, collect(t, n, AllStates))
	lines := parseSS(t, n.exec(t, "ss", "-Htane"))
	after := byCookie(t, collect(t, n, AllStates))
	if len(lines) != len(before) {
		t.Errorf("ss shows %d sockets, Sockets %d", len(lines), len(before))
	}
	for _, ss := range lines {
		b, ok := before[ss.Cookie]
		a, still := after[ss.Cookie]
		if !ok || !still {
			t.Errorf("ss shows sk:%x, Sockets does not (%v, %v)", ss.Cookie, ok, still)
			continue
		}
		if ss.Expires > b.Expires || ss.Expires+ss.unit <= a.Expires {
			t.Errorf("sk:%x: ss says %v of its timer are left, Sockets %v before and %v after",
				ss.Cookie, ss.Expires, b.Expires, a.Expires)
		}
		ss.Socket.Expires = b.Expires
		if b != ss.Socket {
			t.Errorf("sk:%x:\nSockets %+v\nss      %+v", ss.Cookie, b, ss.Socket)
		}
	}
}

func byCookie(t *testing.T, list []Socket) map[uint64]Socket {
	t.Helper()
	m := map[uint64]Socket{}
	for _, s := range list {
		if _, twice := m[s.Cookie]; twice || s.Cookie == 0 {
			t.Errorf("cookie %x comes twice or is 0: %+v", s.Cookie, s)
		}
		m[s.Cookie] = s
	}
	return m
}

func TestSocketsByState(t *testing.T) {
	n := newNetNS(t)
	zoo(t, n)
	for _, s := range collect(t, n, States(event.TimeWait)) {
		if s.State != event.TimeWait || !s.Mini() || s.Expires > 65*time.Second {
			t.Errorf("asked for TIME_WAIT: %+v", s)
		}
	}
	minis := 0
	for _, s := range collect(t, n, States(event.FinWait2, event.CloseWait)) {
		if s.State != event.FinWait2 && s.State != event.CloseWait {
			t.Errorf("asked for FIN_WAIT2 and CLOSE_WAIT: %+v", s)
		}
		if s.Mini() {
			minis++
		}
	}
	if minis != 2 {
		t.Errorf("%d parked mini-sockets, made 2", minis)
	}
	if all := collect(t, n, 0); len(all) != 0 {
		t.Errorf("asked for no state, got %d sockets", len(all))
	}
}

// TestSocketsStops: an error of the function ends the dump, which is many
// pieces long, and the next dump is whole.
func TestSocketsStops(t *testing.T) {
	n := newNetNS(t)
	const count = 500
	makeTimeWaits(t, n, "127.0.0.1", count)
	stop, calls := errors.New("stop"), 0
	err := n.Sockets(AllStates, func(Socket) error { calls++; return stop })
	if !errors.Is(err, stop) || calls != 1 {
		t.Errorf("after an error: %v, %d calls", err, calls)
	}
	if got := len(collect(t, n, AllStates)); got != count {
		t.Errorf("%d sockets, made %d", got, count)
	}
}

// message is a struct inet_diag_msg as a 6.18 sent it for a TIME_WAIT of
// [::ffff:127.0.0.1]:44190 to port 37223, with one attribute after it.
const message = "0a060300" + "ac9e9167" +
	"00000000000000000000ffff7f000001" + "00000000000000000000ffff7f000001" +
	"00000000" + "0710000001000000" + "62ea0000" + "00000000" + "00000000" + "00000000" + "00000000" +
	"0500080000000000"

func TestParseSocket(t *testing.T) {
	if binary.NativeEndian.Uint16([]byte{1, 0}) != 1 {
		t.Skip("the message was recorded on a little-endian machine")
	}
	b, err := hex.DecodeString(message)
	if err != nil {
		t.Fatal(err)
	}
	got, err := parseSocket(b)
	want := Socket{
		State:  event.TimeWait,
		Local:  netip.MustParseAddrPort("127.0.0.1:44190"),
		Remote: netip.MustParseAddrPort("127.0.0.1:37223"),
		Cookie: 0x1_0000_1007, Timer: TimerTimeWait, Expires: 60002 * time.Millisecond,
	}
	if err != nil || got != want {
		t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
	}
	for cut := range diagMsgBytes {
		if _, err := parseSocket(b[:cut]); err == nil {
			t.Errorf("a message of %d bytes passed", cut)
		}
	}
	copy(b[msgCookie0:], bytes.Repeat([]byte{0xff}, 8))
	if got, _ := parseSocket(b); got.Cookie != 0 {
		t.Errorf("no cookie reads as %x", got.Cookie)
	}
	b[0] = unix.AF_UNIX
	if _, err := parseSocket(b); err == nil {
		t.Error("a message of another family passed")
	}
}

func FuzzParseSocket(f *testing.F) {
	b, err := hex.DecodeString(message)
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		s, err := parseSocket(b)
		if err == nil && (!s.Local.IsValid() || !s.Remote.IsValid() || s.Local.Addr().Is4In6()) {
			t.Errorf("%x: %+v", b, s)
		}
	})
}
