package kernel

import (
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
)

// What any user can read of the namespace that a process is in.

func thisNetNS(t *testing.T) NetNS {
	t.Helper()
	n, err := CurrentNetNS()
	if err != nil {
		t.Fatal(err)
	}
	return n
}

// sysctlOf reads a sysctl below net.
func sysctlOf(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile("/proc/sys/net/" + name)
	if err != nil {
		t.Fatal(err)
	}
	return strings.TrimSpace(string(b))
}

// TestSocketsOfThisNetNS finds a listener of this process, and a connection to it.
func TestSocketsOfThisNetNS(t *testing.T) {
	n := thisNetNS(t)
	l := listen(t, n, "127.0.0.1:0")
	at := l.Addr().(*net.TCPAddr).AddrPort()
	client, server := hold(t, n, l)
	if _, err := client.Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	from := client.LocalAddr().(*net.TCPAddr).AddrPort()
	found := map[string]Socket{}
	for _, s := range collect(t, n, States(event.Listening, event.Established)) {
		switch {
		case s.Local == at && s.State == event.Listening:
			found["listener"] = s
		case s.Local == at && s.Remote == from:
			found["server"] = s
		case s.Local == from && s.Remote == at:
			found["client"] = s
		}
	}
	if s := found["listener"]; s.Cookie == 0 || s.Inode == 0 || s.UID != uint32(os.Geteuid()) || s.Remote.Port() != 0 || s.Mini() {
		t.Errorf("the listener is %+v", s)
	}
	if s := found["server"]; s.State != event.Established || s.Cookie == 0 || s.RQueue != 5 && s.RQueue != 0 {
		t.Errorf("the server is %+v", s)
	}
	if s := found["client"]; s.State != event.Established || s.Cookie == 0 || s.Cookie == found["server"].Cookie {
		t.Errorf("the client is %+v", s)
	}
	for _, s := range collect(t, n, States(event.Established)) {
		if s.Local == at && s.State == event.Listening {
			t.Errorf("the listener came with the established ones: %+v", s)
		}
	}
	stop := errors.New("stop")
	if err := n.Sockets(States(event.Listening), func(Socket) error { return stop }); !errors.Is(err, stop) {
		t.Errorf("an error of the function: %v", err)
	}
	server.Close()
}

// TestLimitsOfThisNetNS compares with the files of /proc.
func TestLimitsOfThisNetNS(t *testing.T) {
	n := thisNetNS(t)
	l, err := n.Limits()
	if err != nil {
		t.Fatal(err)
	}
	for name, got := range l.Map() {
		name = strings.ReplaceAll(strings.TrimPrefix(name, "net."), ".", "/")
		if want := strings.ReplaceAll(sysctlOf(t, name), "\t", " "); got != want {
			t.Errorf("%s is %q, want %q", name, got, want)
		}
	}
	s, err := n.Settings()
	if err != nil {
		t.Fatal(err)
	}
	if want := sysctlOf(t, "core/somaxconn"); strconv.Itoa(s.Somaxconn) != want {
		t.Errorf("somaxconn is %d, want %s", s.Somaxconn, want)
	}
	if want := sysctlOf(t, "ipv4/tcp_max_syn_backlog"); strconv.Itoa(s.SYNBacklog) != want {
		t.Errorf("tcp_max_syn_backlog is %d, want %s", s.SYNBacklog, want)
	}
}

// TestLimitsThereAndBack: what a trace file holds of limits is all of them.
func TestLimitsThereAndBack(t *testing.T) {
	want := Limits{PortLow: 32768, PortHigh: 60999, Reserved: 12, ReservedPorts: "8080,40000-40010,50000", MaxTWBuckets: 262144,
		TWReuse: 2, TWReuseDelayMS: 1000, FinTimeout: 60e9, Timestamps: 1, RFC1337: 0, UnprivPortStart: 80}
	for _, delay := range []int{1000, -1} {
		want.TWReuseDelayMS = delay
		if got, err := ParseLimits(want.Map()); err != nil || got != want {
			t.Errorf("got  %+v, %v\nwant %+v", got, err, want)
		}
	}
	m := want.Map()
	delete(m, "net.ipv4.ip_unprivileged_port_start") // of the first version
	if got, err := ParseLimits(m); err != nil || got.UnprivPortStart != 1024 {
		t.Errorf("of the first version: %+v, %v", got, err)
	}
	for _, name := range []string{"ip_local_port_range", "ip_local_reserved_ports", "tcp_fin_timeout"} {
		m := want.Map()
		m["net.ipv4."+name] = "x"
		if _, err := ParseLimits(m); err == nil || !strings.Contains(err.Error(), "parse "+name) {
			t.Errorf("%s is no number: %v", name, err)
		}
		delete(m, "net.ipv4."+name)
		if _, err := ParseLimits(m); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), name) {
			t.Errorf("without %s: %v", name, err)
		}
	}
}

// TestCountersOfThisNetNS: a connection raises the counters of opens.
func TestCountersOfThisNetNS(t *testing.T) {
	n := thisNetNS(t)
	before, err := n.Counters()
	if err != nil {
		t.Fatal(err)
	}
	hold(t, n, listen(t, n, "127.0.0.1:0"))
	after, err := n.Counters()
	if err != nil {
		t.Fatal(err)
	}
	if after.ActiveOpens <= before.ActiveOpens || after.PassiveOpens <= before.PassiveOpens || after.InUse == 0 || after.Alloc == 0 {
		t.Errorf("before %+v\nafter  %+v", before, after)
	}
	n.Inum = 12
	if _, err := n.Counters(); err == nil || !strings.Contains(err.Error(), "net:[12]") {
		t.Errorf("of a namespace that is gone: %v", err)
	}
}

// TestReadCounters reads directories that are not whole.
func TestReadCounters(t *testing.T) {
	files := map[string]string{
		"netstat":   "TcpExt: TW TWKilled\nTcpExt: 5 6\n",
		"snmp":      "Ip: OutNoRoutes\nIp: 9\nTcp: ActiveOpens PassiveOpens\nTcp: 7 8\n",
		"sockstat":  "TCP: inuse 2 orphan 0 tw 3 alloc 4 mem 1\n",
		"sockstat6": "TCP6: inuse 9\n",
	}
	dir := t.TempDir() + "/"
	for name, text := range files {
		if err := os.WriteFile(dir+name, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want := Counters{TW: 5, TWKilled: 6, OutNoRoutes: 9, ActiveOpens: 7, PassiveOpens: 8, InUse: 11, TimeWait: 3, Alloc: 4}
	if got, err := readCounters(dir); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if err := os.Remove(dir + "sockstat6"); err != nil {
		t.Fatal(err)
	}
	want.InUse = 2
	if got, err := readCounters(dir); err != nil || got != want {
		t.Errorf("without IPv6 %+v, %v; want %+v", got, err, want)
	}
	if err := os.WriteFile(dir+"snmp", []byte("Tcp: ActiveOpens\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readCounters(dir); err == nil || !strings.Contains(err.Error(), "parse "+dir+"snmp") {
		t.Errorf("names without values: %v", err)
	}
	if err := os.Remove(dir + "netstat"); err != nil {
		t.Fatal(err)
	}
	if _, err := readCounters(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without netstat: %v", err)
	}
}

// TestReadConntrack reads made-up files.
func TestReadConntrack(t *testing.T) {
	dir := t.TempDir()
	sysctls, stat := filepath.Join(dir, "nf_conntrack_"), filepath.Join(dir, "stat")
	write := func(name, text string, mode os.FileMode) {
		t.Helper()
		if err := os.WriteFile(name, []byte(text), mode); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := readConntrack(sysctls, stat); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("not loaded: %v", err)
	}
	write(sysctls+"count", "17\n", 0o444)
	write(sysctls+"max", "65536\n", 0o644)
	write(sysctls+"tcp_timeout_time_wait", "120\n", 0o644)
	write(sysctls+"tcp_timeout_established", "432000\n", 0o644)
	want := Conntrack{Count: 17, Max: 65536, MaxIsHere: true, TimeWait: 120e9, Established: 432000e9}
	if got, err := readConntrack(sysctls, stat); err != nil || got != want {
		t.Errorf("without counters %+v, %v; want %+v", got, err, want)
	}
	write(stat, "entries insert_failed drop early_drop\n00000011 00000001 00000000 00000002\n00000011 0000000f 00000001 00000000\n", 0o444)
	want.InsertFailed, want.Drop, want.EarlyDrop, want.MaxIsHere = 16, 1, 2, false
	if err := os.Chmod(sysctls+"max", 0o444); err != nil {
		t.Fatal(err)
	}
	if got, err := readConntrack(sysctls, stat); err != nil || got != want {
		t.Errorf("got %+v, %v; want %+v", got, err, want)
	}
	if err := os.Chmod(sysctls+"count", 0o644); err != nil {
		t.Fatal(err)
	}
	write(sysctls+"count", "many\n", 0o644)
	if _, err := readConntrack(sysctls, stat); !errors.Is(err, strconv.ErrSyntax) {
		t.Errorf("no number: %v", err)
	}
}

// TestRightsOfThisThread compares with the kernel's other answers.
func TestRightsOfThisThread(t *testing.T) {
	header := unix.CapUserHeader{Version: unix.LINUX_CAPABILITY_VERSION_3}
	var data [2]unix.CapUserData
	if err := unix.Capget(&header, &data[0]); err != nil {
		t.Fatal(err)
	}
	want := Caps(data[0].Effective) | Caps(data[1].Effective)<<32
	if got, err := Capabilities(); err != nil || got != want {
		t.Errorf("capabilities %x, %v; want %x", uint64(got), err, uint64(want))
	}
	link, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		t.Fatal(err)
	}
	if got, want := InInitUserNS(), link == "user:[4026531837]"; got != want {
		t.Errorf("in the host's user namespace: %v, but this is %s", got, link)
	}
}

// TestSymbolsAsAnyUser: who may not see addresses gets to know that.
func TestSymbolsAsAnyUser(t *testing.T) {
	addrs, err := Symbols("tcp_close", "no_such_function")
	if err == nil && (addrs[0] < 1<<63 || addrs[1] != 0) || err != nil && !errors.Is(err, ErrHidden) {
		t.Errorf("tcp_close is at %x, %v", addrs, err)
	}
	if _, err := Symbols("no_such_function"); !errors.Is(err, ErrNoSymbol) || !strings.Contains(err.Error(), "no_such_function") {
		t.Errorf("no such function: %v", err)
	}
}

// TestAddresses: the kernel's IPv4-mapped addresses are IPv4 here.
func TestAddresses(t *testing.T) {
	n := thisNetNS(t)
	l := listen(t, n, "127.0.0.1:0")
	at := netip.AddrPortFrom(netip.MustParseAddr("127.0.0.1"), uint16(l.Addr().(*net.TCPAddr).Port))
	for _, s := range collect(t, n, AllStates) {
		if s.Local.Addr().Is4In6() || s.Remote.Addr().Is4In6() {
			t.Errorf("mapped: %+v", s)
		}
		if s.Local == at {
			return
		}
	}
	t.Errorf("%v is not listed", at)
}
