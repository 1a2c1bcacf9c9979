package process

import (
	"strings"
	"testing"
)

func TestCmdline(t *testing.T) {
	p := proc{t, t.TempDir()}
	p.process(10, "nginx", 100)
	p.process(11, "kthread", 100)
	p.write(11, "cmdline", "")
	p.process(12, "long", 100)
	p.write(12, "cmdline", strings.Repeat("x", 1<<20))
	p.process(13, "bash", 100) // was nginx at the call
	for _, tt := range []struct {
		key  Key
		want string
	}{
		{Key{PID: 10, Start: 100}, "/usr/bin/nginx -x"},
		{Key{PID: 11, Start: 100}, ""},
		{Key{PID: 12, Start: 100}, strings.Repeat("x", cmdlineMax)},
		{Key{PID: 13, Start: 100, Comm: "nginx"}, ""},
	} {
		for _, asked := range []bool{true, false} {
			var reads uint64
			info, _, err := readProcess(p.root, tt.key, asked, &reads)
			if err != nil {
				t.Fatal(err)
			}
			want := tt.want
			if !asked {
				want = ""
			}
			if info.Cmdline != want {
				t.Errorf("%+v, asked for: %v: %q, want %q", tt.key, asked, info.Cmdline, want)
			}
		}
	}
}
