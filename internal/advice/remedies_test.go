package advice

import (
	"net/netip"
	"strings"
	"testing"
)

func TestWiderRange(t *testing.T) {
	f := healthy()
	f.Enter = "ip netns exec web "
	f.Limits.ReservedPorts = "8080,9000-9010"
	for _, at := range []string{"0.0.0.0:22", "0.0.0.0:8080", "[::]:40000", "127.0.0.1:3306", "10.0.0.1:3306"} {
		f.Listeners = append(f.Listeners, Listener{Local: netip.MustParseAddrPort(at)})
	}
	got, ok := widerRange(f)
	const command = `ip netns exec web sysctl -w net.ipv4.ip_local_reserved_ports=8080,9000-9010,3306 net.ipv4.ip_local_port_range="1024 65535"`
	const undo = `ip netns exec web sysctl -w net.ipv4.ip_local_port_range="32768 60999" net.ipv4.ip_local_reserved_ports=8080,9000-9010`
	if !ok || got.Command() != command || got.Undo() != undo {
		t.Errorf("%v\ngot  %s\nwant %s\ngot  %s\nwant %s", ok, got.Command(), command, got.Undo(), undo)
	}
	if !strings.Contains(got.Risk, "reserve 40000, where somebody listens, if the server asks for it by number") {
		t.Errorf("of a port of which nobody knows who chose it: %s", got.Risk)
	}
	f.Limits.UnprivPortStart = 2000
	if got, _ := widerRange(f); !strings.Contains(got.Command(), `"2000 65535"`) {
		t.Errorf("the kernel refuses a range below 2000: %s", got.Command())
	}
}
