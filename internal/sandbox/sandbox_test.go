package sandbox

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// timeout is for what takes milliseconds on an idle machine.
const timeout = 30 * time.Second

var nobody = User{UID: 65534, GID: 65534}

// speaker starts a speaker that ends with the test.
func speaker(t *testing.T, o Options) *Twin {
	t.Helper()
	kerneltest.RequireRoot(t)
	o.Command, o.Log = speakerCommand, os.Stderr
	if o.User.UID == 0 {
		o.User = nobody
	}
	twin, err := Start(o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		twin.Kill()
		<-twin.Done()
		twin.Conn.Close()
	})
	return twin
}

// asks has the speaker do something. The error is io.EOF if it ended instead.
func (t *Twin) asks(o order) (result, error) {
	if err := t.Conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return result{}, err
	}
	var r result
	if err := json.NewEncoder(t.Conn).Encode(o); err != nil {
		return r, err
	}
	err := json.NewDecoder(t.Conn).Decode(&r)
	return r, err
}

func (t *Twin) does(tb testing.TB, o order) result {
	tb.Helper()
	r, err := t.asks(o)
	if err != nil {
		tb.Fatalf("%+v: %v", o, err)
	}
	return r
}

func (t *Twin) succeeds(tb testing.TB, o order, out string) {
	tb.Helper()
	if r := t.does(tb, o); r.Err != "" || out != "" && r.Out != out {
		tb.Errorf("%+v: got %q and error %q, want %q", o, r.Out, r.Err, out)
	}
}

func (t *Twin) fails(tb testing.TB, o order, errno unix.Errno) {
	tb.Helper()
	if r := t.does(tb, o); r.Err == "" || r.Errno != errno {
		tb.Errorf("%+v: got %q, error %q (%d), want %v", o, r.Out, r.Err, r.Errno, errno)
	}
}

// TestStatus reads what the kernel shows of every thread, and of the descriptors.
func TestStatus(t *testing.T) {
	t.Parallel()
	twin := speaker(t, Options{User: User{UID: 65533, GID: 65532, Groups: []uint32{77, 66}}})
	twin.succeeds(t, order{Do: "work", N: 20}, "20")
	tasks, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/status", twin.Report.PID))
	if err != nil || len(tasks) < 20 {
		t.Fatalf("%d threads, want 20 and more: %v", len(tasks), err)
	}
	const none = "0000000000000000"
	for _, name := range tasks {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"CapInh:\t" + none, "CapPrm:\t" + none, "CapEff:\t" + none, "CapBnd:\t" + none,
			"CapAmb:\t" + none, "NoNewPrivs:\t1", "Seccomp:\t2", "Uid:\t65533\t65533\t65533\t65533",
			"Gid:\t65532\t65532\t65532\t65532", "Groups:\t66 77 "} {
			if !slices.Contains(strings.Split(string(text), "\n"), want) {
				t.Errorf("%s lacks %q: %s", name, want, text)
			}
		}
	}
	got := *twin.does(t, order{Do: "report"}).Report
	if want := twin.Report; got.PID != want.PID || got.UID != 65533 || got.GID != 65532 ||
		got.Landlock != want.Landlock || got.Seccomp != want.Seccomp || got.Seccomp < 100 {
		t.Errorf("the speaker's report is %+v, the tracer's %+v", got, want)
	}
}

// TestDescriptors: the speaker has what it was given, and nothing else of the tracer's, not
// even what that would pass on to any program.
func TestDescriptors(t *testing.T) {
	leak, err := unix.Open("/etc/passwd", unix.O_RDONLY, 0) // not close-on-exec
	if err != nil {
		t.Fatal(err)
	}
	defer unix.Close(leak)
	given, err := os.Open("/dev/zero")
	if err != nil {
		t.Fatal(err)
	}
	defer given.Close()
	twin := speaker(t, Options{Files: []*os.File{given}})
	dir := fmt.Sprintf("/proc/%d/fd", twin.Report.PID)
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	zeros := 0
	for _, e := range entries {
		to, err := os.Readlink(filepath.Join(dir, e.Name()))
		if err != nil {
			continue // closed meanwhile
		}
		switch {
		case e.Name() == "0" || e.Name() == "1" || e.Name() == "2":
		case to == "/dev/zero":
			zeros++
		case strings.HasPrefix(to, "socket:"), strings.HasPrefix(to, "anon_inode:[event"):
		default:
			t.Errorf("the speaker has %s open as %s", to, e.Name())
		}
	}
	if zeros != 1 {
		t.Errorf("the speaker has /dev/zero open %d times, want once: %v", zeros, entries)
	}
}

// TestFiles: it reads and writes what was named.
func TestFiles(t *testing.T) {
	t.Parallel()
	dir := publicDir(t)
	for _, name := range []string{"named", "other", "tree/deep/leaf"} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(name), 0o644)); err != nil {
			t.Fatal(err)
		}
	}
	parts := filepath.Join(dir, "parts")
	if err := errors.Join(os.Mkdir(parts, 0o700), os.Chown(parts, 65534, 65534), os.Chown(filepath.Join(dir, "named"), 65534, 65534)); err != nil {
		t.Fatal(err)
	}
	open := filepath.Join(dir, "open") // to everybody, but not named
	if err := errors.Join(os.Mkdir(open, 0o777), os.Chmod(open, 0o777)); err != nil {
		t.Fatal(err)
	}
	twin := speaker(t, Options{Read: []string{dir + "/named", dir + "/tree"}, Write: []string{parts}})
	twin.succeeds(t, order{Do: "read", Path: dir + "/named"}, "named")
	twin.succeeds(t, order{Do: "read", Path: dir + "/tree/deep/leaf"}, "tree/deep/leaf")
	twin.succeeds(t, order{Do: "write", Path: parts + "/part"}, "")
	twin.succeeds(t, order{Do: "read", Path: parts + "/part"}, "written")
	twin.succeeds(t, order{Do: "rotate", Path: parts}, "")
	if info, err := os.Stat(parts + "/part"); err != nil || info.Mode() != 0o600 {
		t.Errorf("the file it wrote: %v, %v; want mode 0600", info, err)
	}

	twin.fails(t, order{Do: "read", Path: "/etc/shadow"}, unix.EACCES)
	if twin.Report.Landlock == 0 {
		t.Skip("no Landlock: it reads what its user may")
	}
	for _, path := range []string{"/etc/passwd", dir + "/other", "/proc/self/status", "/proc/1/cmdline", "/dev/null", "/proc/self/exe/"} {
		if r := twin.does(t, order{Do: "read", Path: path}); r.Err == "" {
			t.Errorf("the speaker has read %s", path)
		}
	}
	twin.fails(t, order{Do: "write", Path: dir + "/named"}, unix.EACCES)
	twin.fails(t, order{Do: "write", Path: open + "/part"}, unix.EACCES)
	twin.fails(t, order{Do: "write", Path: "/tmp/of-a-speaker"}, unix.EACCES)
	twin.fails(t, order{Do: "write", Path: dir + "/tree/deep/leaf"}, unix.EACCES)
}

// publicDir is a directory that every user can reach, unlike that of t.TempDir.
func publicDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "twtrace-sandbox")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o755); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestServe: HTTP on an inherited Unix listener and an inherited TCP listener.
func TestServe(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "agent.sock") // which the speaker cannot reach by name
	addrs := map[string]string{"unix": path, "tcp": "127.0.0.1:0"}
	var files []*os.File
	for network, addr := range addrs {
		l, err := net.Listen(network, addr)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addrs[network] = l.Addr().String()
		f, err := l.(interface{ File() (*os.File, error) }).File()
		if err != nil {
			t.Fatal(err)
		}
		defer f.Close()
		files = append(files, f)
	}
	twin := speaker(t, Options{Files: files})
	twin.succeeds(t, order{Do: "serve"}, "")
	for network, addr := range addrs {
		client := http.Client{Timeout: timeout, Transport: &http.Transport{
			DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
				return new(net.Dialer).DialContext(ctx, network, addr)
			},
		}}
		for range 20 {
			resp, err := client.Get("http://agent/")
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(resp.Body)
			resp.Body.Close()
			if want := "hello from uid 65534 over " + network; err != nil || string(body) != want {
				t.Fatalf("got %q, %v; want %q", body, err, want)
			}
		}
		client.CloseIdleConnections()
	}
	// It was given no ports, so it makes no sockets.
	twin.fails(t, order{Do: "dial", Path: addrs["tcp"]}, unix.EPERM)
}

// TestReload: a second speaker takes over the listener of one that serves, which then ends.
func TestReload(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	f, err := l.(*net.TCPListener).File()
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	old := speaker(t, Options{Files: []*os.File{f}})
	old.succeeds(t, order{Do: "serve"}, "")
	speaker(t, Options{Files: []*os.File{f}})
	raw, err := f.SyscallConn()
	if err != nil {
		t.Fatal(err)
	}
	if err := raw.Control(func(fd uintptr) {
		if flags, err := unix.FcntlInt(fd, unix.F_GETFL, 0); err != nil || flags&unix.O_NONBLOCK == 0 {
			t.Errorf("the listener blocks now, so that the old speaker cannot stop to accept: %#x, %v", flags, err)
		}
	}); err != nil {
		t.Fatal(err)
	}
}

// TestDial: to the ports that are named, and to no other.
func TestDial(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	var ports []uint16
	var addrs []string
	for _, at := range []string{"127.0.0.1:0", "[::1]:0", "127.0.0.1:0"} {
		l, err := net.Listen("tcp", at)
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		go func() {
			for {
				c, err := l.Accept()
				if err != nil {
					return
				}
				_, _ = io.WriteString(c, "welcome")
				c.Close()
			}
		}()
		addrs = append(addrs, l.Addr().String())
		ports = append(ports, uint16(l.Addr().(*net.TCPAddr).Port))
	}
	twin := speaker(t, Options{Dial: ports[:2]})
	twin.succeeds(t, order{Do: "dial", Path: addrs[0]}, "welcome")
	twin.succeeds(t, order{Do: "dial", Path: addrs[1]}, "welcome")
	if twin.Report.Landlock >= 4 {
		twin.fails(t, order{Do: "dial", Path: addrs[2]}, unix.EACCES)
	}
	twin.fails(t, socket(unix.AF_INET, unix.SOCK_DGRAM, 0), unix.EPERM)
	twin.fails(t, order{Do: "call", N: unix.SYS_LISTEN, Args: [6]uintptr{0, 1}}, unix.EPERM)

	binder := speaker(t, Options{Bind: ports[:1]})
	binder.fails(t, order{Do: "dial", Path: addrs[0]}, unix.EPERM)
	binder.succeeds(t, socket(unix.AF_INET, unix.SOCK_STREAM, 0), "")
}

// testNameServer is where TestResolve answers, on the only port a speaker may ask.
const testNameServer = "127.7.7.7:53"

// TestResolve: names of /etc/hosts, and of a name server.
func TestResolve(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	server, err := net.ListenPacket("udp", testNameServer)
	if err != nil {
		t.Skip(err)
	}
	defer server.Close()
	go answerNames(server)
	twin := speaker(t, Options{Resolve: true})
	if r := twin.does(t, order{Do: "lookup", Path: "localhost"}); !strings.Contains(r.Out, "127.0.0.1") {
		t.Errorf("localhost: got %+v", r)
	}
	twin.succeeds(t, order{Do: "lookup", Path: "collector.example.", N: 1}, "[192.0.2.7]")
	mute := speaker(t, Options{Dial: []uint16{4317}})
	if r := mute.does(t, order{Do: "lookup", Path: "collector.example.", N: 1}); r.Err == "" {
		t.Errorf("a speaker that may not look up names did: %+v", r)
	}
}

// answerNames answers each question for an IPv4 address, until the socket is closed.
func answerNames(server net.PacketConn) {
	for buf := make([]byte, 512); ; {
		n, from, err := server.ReadFrom(buf)
		if err != nil {
			return
		}
		var m dnsmessage.Message
		if m.Unpack(buf[:n]) != nil || len(m.Questions) == 0 {
			continue
		}
		q := m.Questions[0]
		m.Response, m.Additionals = true, nil
		if q.Type == dnsmessage.TypeA {
			m.Answers = []dnsmessage.Resource{{
				Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 1},
				Body:   &dnsmessage.AResource{A: [4]byte{192, 0, 2, 7}},
			}}
		}
		reply, err := m.Pack()
		if err != nil {
			return
		}
		if _, err := server.WriteTo(reply, from); err != nil {
			return
		}
	}
}

func socket(domain, kind, protocol uintptr) order {
	return order{Do: "call", N: unix.SYS_SOCKET, Args: [6]uintptr{domain, kind, protocol}}
}
