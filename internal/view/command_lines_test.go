package view

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/charmbracelet/x/ansi"
)

// What a shell gets of the lines is what it gets of the command, on a screen of any
// width; a line is not wider than the screen unless a word is.
func TestCommandLines(t *testing.T) {
	for _, command := range []string{
		`ip netns exec ux-web sysctl -w net.ipv4.tcp_tw_reuse=1`,
		`ip netns exec ux-web sysctl -w net.ipv4.ip_local_reserved_ports=8080,9000 net.ipv4.ip_local_port_range="1024 65535"`,
		`ip netns exec ux-web ss -tanH state time-wait 'dst [fd00:77::2]:5432 and src [fd00:77::1]'`,
		`ip netns exec 'a b  c' tcpdump -ni any 'host 10.2.0.9 and port 5432 and host 10.0.0.7'`,
		`sysctl -w net.ipv4.ip_local_reserved_ports=1024,1025,1026,1027,1028,1029,1030,1031,1032,1033,1034,1035,1036,1037,1038,1039,1040,1041,1042,1043`,
		`nsenter --net='it'\''s  /long name of a  file' sysctl -w net.ipv4.ip_local_port_range="1024  65535" a\ b "q\" \$x"`,
	} {
		words := func(text string) string {
			// Not the command itself, but the words that the shell makes of it.
			out, err := exec.Command("sh", "-c", "printf '<%s>' "+text).CombinedOutput()
			if err != nil {
				t.Fatalf("%q: %v: %s", text, err, out)
			}
			return string(out)
		}
		want := words(command)
		for width := 20; width < 140; width += 7 {
			lines := commandLines(command, width)
			if got := words(strings.Join(lines, "\n")); got != want {
				t.Errorf("at %d: %q is %s, want %s", width, lines, got, want)
			}
			for _, l := range lines {
				if ansi.StringWidth(l) > width {
					t.Errorf("at %d: %q is wider", width, l)
				}
			}
			if len(command) <= width && len(lines) != 1 {
				t.Errorf("at %d: %d lines", width, len(lines))
			}
		}
	}
}
