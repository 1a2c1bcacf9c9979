package report

import (
	"strings"
	"testing"
)

// TestPieces: long addresses may be broken between their groups only, and no piece loses or
// gains a character.
func TestPieces(t *testing.T) {
	for _, tt := range []struct{ text, want string }{
		{"", ""},
		{"ports to 10.0.0.1:80 ran out at 19:07:21", "ports to 10.0.0.1:80 ran out at 19:07:21"},
		{"to [fd00::1]:80", "to [fd00::1]:80"},
		{"to [fd00:1234:5678::9abc]:8080: failed", "to |[fd00:/1234:/5678:/:/9abc]:8080|: failed"},
		{"fd00:1234:5678:9abc::1 -> [fd00:1234:5678:9abc::2]:8080, (fd00:1234:5678:9abc::3)",
			"|fd00:/1234:/5678:/9abc:/:/1| -> |[fd00:/1234:/5678:/9abc:/:/2]:8080|, (|fd00:/1234:/5678:/9abc:/:/3|)"},
		{"no address: 11:22:33:44:55:66:77:88:99:aa", "no address: 11:22:33:44:55:66:77:88:99:aa"},
		{"fd00:1234:5678:9abc::1.", "|fd00:/1234:/5678:/9abc:/:/1|."},
	} {
		var got, whole strings.Builder
		for _, p := range pieces(tt.text) {
			whole.WriteString(p.Text + strings.Join(p.Address, ""))
			if p.Address != nil {
				got.WriteString("|" + strings.Join(p.Address, "/") + "|")
			} else {
				got.WriteString(p.Text)
			}
		}
		if got.String() != tt.want || whole.String() != tt.text {
			t.Errorf("%q becomes %q, want %q", tt.text, got.String(), tt.want)
		}
	}
}
