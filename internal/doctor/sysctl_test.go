package doctor

import (
	"bytes"
	"net/netip"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
)

// troubled is a namespace with many settings to suggest, some of them twice.
func troubled() advice.Facts {
	f := filled(27900, there, "10.2.0.10:80")
	f.Limits.FinTimeout = 15 * time.Second
	f.HostAfter.Queues = []advice.Queue{{Local: netip.MustParseAddrPort("0.0.0.0:33060")}, {Local: netip.MustParseAddrPort("0.0.0.0:8080")}}
	f.Listeners = []advice.Listener{{Local: netip.MustParseAddrPort("0.0.0.0:8080")}, {Local: netip.MustParseAddrPort("0.0.0.0:3306")}}
	return f
}

// TestWriteSysctl: each setting once, with its undo, and nothing but comments besides.
func TestWriteSysctl(t *testing.T) {
	f := troubled()
	other := f
	other.Enter = "nsenter --net=/proc/4242/ns/net "
	var b bytes.Buffer
	if err := WriteSysctl(&b, "0.1.0", f.Host, append(advice.Diagnose(f), advice.Diagnose(other)...)); err != nil {
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
		reservedPorts: "3306,8080", "net.ipv4.tcp_fin_timeout": "60"}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("sets %v, want %v\n%s", got, want, b.String())
	}
	for _, want := range []string{"# undo: sysctl -w net.ipv4.tcp_tw_reuse=2\n", "# undo: sysctl -w net.ipv4.ip_local_port_range=\"32768 60999\"",
		"# undo: sysctl -w net.ipv4.tcp_fin_timeout=15\n", "# in another namespace: nsenter --net=/proc/4242/ns/net sysctl -w net.ipv4.tcp_tw_reuse=1\n",
		"# risk: with IPVS", "# TW101 ports held by TIME_WAIT: ", "# Until the next boot: sysctl -p FILE\n"} {
		if !strings.Contains(b.String(), want) {
			t.Errorf("lacks %q:\n%s", want, b.String())
		}
	}
}

func TestWriteSysctlOfNothing(t *testing.T) {
	var b bytes.Buffer
	f := healthy()
	if err := WriteSysctl(&b, "0.1.0", f.Host, advice.Diagnose(f)); err != nil || !strings.HasSuffix(b.String(), "# No setting needs to change.\n") {
		t.Errorf("%v:\n%s", err, b.String())
	}
}
