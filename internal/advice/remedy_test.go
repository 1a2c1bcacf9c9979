package advice

import "testing"

// TestCommands: what is printed for the user's shell, and what takes it back.
func TestCommands(t *testing.T) {
	for _, tt := range []struct {
		name          string
		remedy        Remedy
		command, undo string
	}{
		{"one setting", Remedy{Settings: Settings{Set: []Setting{{"net.ipv4.tcp_tw_reuse", "1", "2"}}}},
			"sysctl -w net.ipv4.tcp_tw_reuse=1", "sysctl -w net.ipv4.tcp_tw_reuse=2"},
		{"two of another namespace, taken back in reverse", Remedy{Settings: Settings{Enter: "ip netns exec web ", Set: []Setting{
			{"net.ipv4.ip_local_reserved_ports", "8080,9000-9010", ""}, {"net.ipv4.ip_local_port_range", "1024 65535", "32768 60999"}}}},
			`ip netns exec web sysctl -w net.ipv4.ip_local_reserved_ports=8080,9000-9010 net.ipv4.ip_local_port_range="1024 65535"`,
			`ip netns exec web sysctl -w net.ipv4.ip_local_port_range="32768 60999" net.ipv4.ip_local_reserved_ports=`},
		{"another command", Remedy{Shell: Shell{Run: "prlimit --pid 7 --nofile=2048:", Undo: "prlimit --pid 7 --nofile=1024:"}},
			"prlimit --pid 7 --nofile=2048:", "prlimit --pid 7 --nofile=1024:"},
		{"one of twtrace", Remedy{Shell: Shell{Run: "sudo twtrace doctor", NetNS: []uint32{1, 20}}}, "sudo twtrace doctor -N 1,20", ""},
		{"words alone", Remedy{Text: "use a pool"}, "", ""},
	} {
		if got := tt.remedy.Command(); got != tt.command {
			t.Errorf("%s: command\n%s, want\n%s", tt.name, got, tt.command)
		}
		if got := tt.remedy.Undo(); got != tt.undo {
			t.Errorf("%s: undo\n%s, want\n%s", tt.name, got, tt.undo)
		}
	}
}
