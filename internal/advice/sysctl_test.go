package advice

import (
	"bytes"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestParseSysctl(t *testing.T) {
	for command, want := range map[string]struct {
		enter string
		set   []setting
	}{
		"sysctl -w net.ipv4.tcp_tw_reuse=1": {"", []setting{{"net.ipv4.tcp_tw_reuse", "1"}}},
		`ip netns exec web sysctl -w net.ipv4.ip_local_reserved_ports=8080,9000-9010 net.ipv4.ip_local_port_range="1024 65535"`: {"ip netns exec web ",
			[]setting{{"net.ipv4.ip_local_reserved_ports", "8080,9000-9010"}, {"net.ipv4.ip_local_port_range", "1024 65535"}}},
		`sysctl -w net.ipv4.ip_local_port_range="32768 60999" net.ipv4.ip_local_reserved_ports=`: {"",
			[]setting{{"net.ipv4.ip_local_port_range", "32768 60999"}, {"net.ipv4.ip_local_reserved_ports", ""}}},
	} {
		enter, set, ok := parseSysctl(command)
		if !ok || enter != want.enter || !reflect.DeepEqual(set, want.set) {
			t.Errorf("%s: %q, %v, %v", command, enter, set, ok)
		}
	}
	if _, _, ok := parseSysctl("sudo twtrace top"); ok {
		t.Error("another command was taken for sysctl")
	}
}

// troubled is a namespace with many settings to suggest, some of them twice.
func troubled() Facts {
	f := healthy().with(destination(here, there, 27900), destination(here, "10.2.0.10:80", 27900))
	f.Limits.FinTimeout = 15 * time.Second
	f.Around.Queues = []Queue{{Local: netip.MustParseAddrPort("0.0.0.0:33060")}, {Local: netip.MustParseAddrPort("0.0.0.0:8080")}}
	f.Listeners = []Listener{{Local: netip.MustParseAddrPort("0.0.0.0:8080")}}
	return f
}

// TestWriteSysctl: each setting once, with its undo, and nothing but comments besides.
func TestWriteSysctl(t *testing.T) {
	f := troubled()
	other := f
	other.Enter = "nsenter --net=/proc/4242/ns/net "
	var b bytes.Buffer
	if err := WriteSysctl(&b, "0.1.0", f.Host, append(Diagnose(f), Diagnose(other)...)); err != nil {
		t.Fatal(err)
	}
	got := map[string]string{}
	for line := range strings.Lines(b.String()) {
		line = strings.TrimSpace(line)
		if line == "" || strings.HasPrefix(line, "#") {
			continue
		}
		name, value, ok := strings.Cut(line, " = ")
		if !ok || got[name] != "" && name != reservedPorts {
			t.Errorf("no setting, or one twice: %q", line)
		}
		got[name] = value
	}
	want := map[string]string{"net.ipv4.tcp_tw_reuse": "1", "net.ipv4.ip_local_port_range": "1024 65535",
		reservedPorts: "8080,33060", "net.ipv4.tcp_fin_timeout": "60"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("sets %v, want %v\n%s", got, want, b.String())
	}
	for _, want := range []string{"# undo: sysctl -w net.ipv4.tcp_tw_reuse=2\n", "# undo: sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"",
		"# undo: sysctl -w net.ipv4.tcp_fin_timeout=15\n", "# elsewhere: nsenter --net=/proc/4242/ns/net sysctl -w net.ipv4.tcp_tw_reuse=1\n",
		"# risk: behind IPVS", "# TW101 ports held by TIME_WAIT: ", "# Until the next start: sysctl -p FILE\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
}

func TestWriteSysctlOfNothing(t *testing.T) {
	var b bytes.Buffer
	f := healthy()
	if err := WriteSysctl(&b, "0.1.0", f.Host, Diagnose(f)); err != nil || !strings.HasSuffix(b.String(), "# No setting is needed.\n") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}

// TestSysctlIsValid has sysctl(8) apply a file to a namespace, as its head says, and
// then its undo.
func TestSysctlIsValid(t *testing.T) {
	ns, n := private(t, "32768 60999")
	ns.Sysctl(t, "net.ipv4.tcp_fin_timeout", "15")
	before, err := n.Limits()
	if err != nil {
		t.Fatal(err)
	}
	f := troubled()
	f.Enter = n.Enter()
	var b bytes.Buffer
	if err := WriteSysctl(&b, "0.1.0", f.Host, Diagnose(f)); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "50-twtrace.conf")
	if err := os.WriteFile(file, b.Bytes(), 0o600); err != nil {
		t.Fatal(err)
	}
	_, apply, _ := strings.Cut(b.String(), "# Until the next start: ")
	apply, _, _ = strings.Cut(apply, "\n")
	out, err := exec.Command("sh", "-c", strings.Replace(apply, "FILE", file, 1)).CombinedOutput()
	if err != nil || strings.Contains(string(out), "sysctl:") {
		t.Fatalf("%s: %v: %s\n%s", apply, err, out, b.String())
	}
	after, err := n.Limits()
	if err != nil || after.TWReuse != 1 || after.PortLow != 1024 || after.ReservedPorts != "8080,33060" || after.FinTimeout != time.Minute {
		t.Errorf("after it: %+v, %v", after, err)
	}
	for line := range strings.Lines(b.String()) {
		if undo, ok := strings.CutPrefix(strings.TrimSpace(line), "# undo: "); ok {
			shell(t, undo)
		}
	}
	if after, err := n.Limits(); err != nil || after != before {
		t.Errorf("after the undo %+v, before %+v (%v)", after, before, err)
	}
}
