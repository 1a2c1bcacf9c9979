package filter

import (
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func TestParseLine(t *testing.T) {
	e := event.Event{Process: event.Proc{PID: 42, Comm: "nginx"}, NetNS: 4026531840, Role: event.Client, Closer: event.LocalSide,
		Local: netip.MustParseAddrPort("10.0.0.7:40000"), Remote: netip.MustParseAddrPort("10.2.0.9:443")}
	for _, tt := range []struct {
		line  string
		match bool
	}{
		{"", true}, {"comm nginx", true}, {"--comm=nginx -D 443", true}, {"comm nginx rport 80", false},
		{"ngin", true}, {"!ngin", false}, {"apache", false}, {"ng?nx", true}, {"10.2.0.9", true}, {"10.2.0.0/16", true},
		{"!10.2.0.9", false}, {"rport !443", false}, {"rport ! 80", true}, {"-p 42", true}, {"pid 43", false},
		{"netns 4026531840", true}, {"-N 1", false}, {"4", true}, {"-6", false}, {"role client closer local", true},
		{"laddr 10.0.0.0/8 lport 1-65535", true},
	} {
		f, err := ParseLine(tt.line)
		if err != nil {
			t.Errorf("%q: %v", tt.line, err)
		} else if got := f.Match(&e); got != tt.match {
			t.Errorf("%q matches: %v, want %v", tt.line, got, tt.match)
		}
	}
	for _, line := range []string{"rport", "rport x", "pid nginx", "raddr 10.0.0.0/99", "role boss", "netns web", "300.0.0.0/8"} {
		if _, err := ParseLine(line); err == nil {
			t.Errorf("%q is a filter", line)
		}
	}
}
