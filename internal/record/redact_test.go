package record

import (
	"bytes"
	"net/netip"
	"os"
	"testing"
)

// TestRedact: names are gone, and addresses keep what they have in common.
func TestRedact(t *testing.T) {
	r, err := NewRedactor([]byte("key"))
	if err != nil {
		t.Fatal(err)
	}
	path := write(t, 5, Options{Redact: r})
	rd, events, err := read(path)
	if err != nil {
		t.Fatal(err)
	}
	all, _ := os.ReadFile(path)
	if s := rd.Start(); s.Start.Host != "" || bytes.Contains(all, []byte("web-07")) || s.Start.Kernel != "6.1.0" {
		t.Errorf("start %+v", s.Start)
	}
	for _, e := range events {
		if e.Process.Comm != "" || e.Process.PID != 4242 || e.Remote.Addr() == netip.MustParseAddr("10.2.0.9") || e.Remote.Port() != 5432 {
			t.Errorf("got %+v", e)
		}
	}
	for _, pair := range [][2]string{{"10.0.0.7", "10.0.0.6"}, {"10.0.0.7", "10.0.9.7"}, {"192.168.0.1", "10.1.2.3"},
		{"2001:db8::1", "2001:db8::2"}, {"2001:db8::1", "2001:db8:0:1::1"}} {
		a, b := netip.MustParseAddr(pair[0]), netip.MustParseAddr(pair[1])
		if want, got := common(a, b), common(r.Addr(a), r.Addr(b)); got != want {
			t.Errorf("%s and %s share %d bits, their substitutes %d", a, b, want, got)
		}
	}
	for _, s := range []string{"127.0.0.1", "::1", "0.0.0.0"} {
		if a := netip.MustParseAddr(s); r.Addr(a) != a {
			t.Errorf("%s became %s", a, r.Addr(a))
		}
	}
}

// common is how many bits two addresses share at their begin.
func common(a, b netip.Addr) int {
	n := 0
	for n < a.BitLen() && netip.PrefixFrom(a, n+1).Masked() == netip.PrefixFrom(b, n+1).Masked() {
		n++
	}
	return n
}
