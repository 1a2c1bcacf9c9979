package event

import (
	"net/netip"
	"testing"
)

func TestIP(t *testing.T) {
	for _, tt := range []struct {
		local, remote string
		want          uint8
	}{
		{"", "", 0},
		{"10.0.0.1:80", "", 4},
		{"", "10.0.0.1:80", 4},
		{"[2001:db8::1]:80", "", 6},
		{"[::ffff:10.0.0.1]:80", "[::ffff:10.0.0.2]:1", 4},
		{"[::]:0", "[::ffff:10.0.0.2]:1", 4},
		{"[::]:0", "10.0.0.2:1", 4},
		{"0.0.0.0:80", "0.0.0.0:0", 4},
		{"10.0.0.1:80", "[::]:0", 4},
		{"[::]:80", "", 6},
	} {
		var e Event
		if tt.local != "" {
			e.Local = netip.MustParseAddrPort(tt.local)
		}
		if tt.remote != "" {
			e.Remote = netip.MustParseAddrPort(tt.remote)
		}
		if got := e.IP(); got != tt.want {
			t.Errorf("local %s, remote %s: IP() = %d, want %d", tt.local, tt.remote, got, tt.want)
		}
	}
}
