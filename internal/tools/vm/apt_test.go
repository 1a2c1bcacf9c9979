package main

import (
	"strings"
	"testing"
)

func TestParseStanza(t *testing.T) {
	p := parseStanza("Package: a\nDescription: b\n Homepage: no\nDepends: c (>= 1:2), d | e ,f\n\nPackage: g\n")
	if p["Package"] != "a" || p["Homepage"] != "" {
		t.Errorf("got %v", p)
	}
	if got := strings.Join(p.depends(), " "); got != "c d f" {
		t.Errorf("depends: got %s, want c d f", got)
	}
}

func TestPickMirror(t *testing.T) {
	const known = "http://mirror.test/debian|Debian|Debian|main\n"
	tests := []struct{ name, targets, want string }{
		{"index known", "http://other.test/debian||||\nhttp://sec.test/debian-security|Debian|Debian-Security|main\n" + known, "http://mirror.test/debian"},
		{"index unknown", "http://sec.test/debian-security|||main\nhttp://a.test/apt|||main\nhttp://mirror.test/debian/|||main\n", "http://mirror.test/debian/"},
		{"another component", "http://mirror.test/debian|Debian|Debian|contrib\n", ""},
		{"another system", "http://mirror.test/ubuntu|Ubuntu|Ubuntu|main\n", ""},
		{"nothing", "", ""},
	}
	for _, tt := range tests {
		if got := pickMirror(tt.targets); got != tt.want {
			t.Errorf("%s: got %q, want %q", tt.name, got, tt.want)
		}
	}
}
