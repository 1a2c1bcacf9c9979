package plan

import "testing"

func TestExitCode(t *testing.T) {
	tests := []struct {
		line string
		code int
		ok   bool
	}{
		{"TWTRACE-VM-EXIT 0", 0, true},
		{"PASSTWTRACE-VM-EXIT 143\r", 143, true},
		{"TWTRACE-VM-EXIT ", 0, false},
		{"TWTRACE-VM-EXIT x", 0, false},
		{"TWTRACE-VM-READY", 0, false},
		{"", 0, false},
	}
	for _, tt := range tests {
		code, ok := ExitCode(tt.line)
		if ok != tt.ok || ok && code != tt.code {
			t.Errorf("%q: got %d, %t, want %d, %t", tt.line, code, ok, tt.code, tt.ok)
		}
	}
}
