package output

import (
	"encoding/json"
	"strings"
	"testing"
	"unicode"
	"unicode/utf8"

	"github.com/twtrace/twtrace/internal/clock"
)

func TestEscape(t *testing.T) {
	for _, tt := range []struct{ in, want string }{
		{"", ""},
		{"nginx", "nginx"},
		{"npm start", "npm start"},
		{`a\b`, `a\\b`},
		{`a\x41`, `a\\x41`},
		{"\x1b[31m", `\x1b[31m`},
		{"a\nb\tc\rd\x00e\x7f", `a\x0ab\x09c\x0dd\x00e\x7f`},
		{`say "hi", 'you'`, `say "hi", 'you'`},
		{"café 日本 🙂", "café 日本 🙂"},
		{"\u009b31m", `\xc2\x9b31m`},                       // CSI as a C1 control
		{"\x9b31m", `\x9b31m`},                             // the same as a byte
		{"a\u202eb\u2066c", `a\xe2\x80\xaeb\xe2\x81\xa6c`}, // bidi
		{"a\u200bb\ufeffc\u00ad", `a\xe2\x80\x8bb\xef\xbb\xbfc\xc2\xad`},
		{"a\u2028b\u00a0c\u3000", `a\xe2\x80\xa8b\xc2\xa0c\xe3\x80\x80`},
		{"\ufe0f\U000e0100\u3164\u2800\u034f", `\xef\xb8\x8f\xf3\xa0\x84\x80\xe3\x85\xa4\xe2\xa0\x80\xcd\x8f`},
		{"\ue000\U0010ffff", `\xee\x80\x80\xf4\x8f\xbf\xbf`},
		{"\ufffd", "\ufffd"}, // a real replacement character is not an error
		{"\xff\xfe", `\xff\xfe`},
		{"caf\xc3", `caf\xc3`},                           // cut in a character, as 15 bytes of comm can be
		{"\xc0\x80\xed\xa0\x80", `\xc0\x80\xed\xa0\x80`}, // overlong, surrogate
	} {
		got := string(Escape([]byte("x"), tt.in))
		if got != "x"+tt.want {
			t.Errorf("Escape(%q) = %q, want %q", tt.in, got[1:], tt.want)
		}
		if back, err := Unescape(tt.want); err != nil || back != tt.in {
			t.Errorf("Unescape(%q) = %q, %v, want %q", tt.want, back, err, tt.in)
		}
	}
}

func TestUnescapeErrors(t *testing.T) {
	for _, s := range []string{`\`, `a\n`, `\x`, `\x1`, `\xg0`, `\x0g`, `\X00`} {
		if got, err := Unescape(s); err == nil {
			t.Errorf("Unescape(%q) = %q, want an error", s, got)
		}
	}
	if got, err := Unescape(`\x1B\x1b`); err != nil || got != "\x1b\x1b" {
		t.Errorf("upper-case digits: %q, %v", got, err)
	}
}

// TestCells checks the bytes that only text or CSV must not print as they are.
func TestCells(t *testing.T) {
	for _, tt := range []struct{ in, text, csv string }{
		{"npm start", `npm\x20start`, "npm start"},
		{"-", `\x2d`, `\x2d`},
		{"-bash", "-bash", `\x2dbash`},
		{"# lost 0", `\x23\x20lost\x200`, "# lost 0"},
		{"=1+1", "=1+1", `\x3d1+1`},
		{"+1", "+1", `\x2b1`},
		{"@SUM(A1)", "@SUM(A1)", `\x40SUM(A1)`},
		{"a#b=c", "a#b=c", "a#b=c"},
		{`a,b"c`, `a,b"c`, `"a,b""c"`},
		{`"`, `"`, `""""`},
	} {
		if got := string(String(tt.in).appendText(nil, clock.UTC)); got != tt.text {
			t.Errorf("text of %q is %q, want %q", tt.in, got, tt.text)
		}
		if got := string(appendCSV(nil, String(tt.in))); got != tt.csv {
			t.Errorf("CSV of %q is %q, want %q", tt.in, got, tt.csv)
		}
	}
}

func FuzzEscape(f *testing.F) {
	for _, s := range []string{"", "nginx", `\x41`, "\x1b]0;x\a", "\xff\"\\", "\u202e\u009b", "- # =", "日本\xe6"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		esc := string(Escape(nil, s))
		if back, err := Unescape(esc); err != nil || back != s {
			t.Errorf("Escape(%q) = %q, back: %q, %v", s, esc, back, err)
		}
		if !utf8.ValidString(esc) {
			t.Errorf("Escape(%q) = %q is not UTF-8", s, esc)
		}
		if i := strings.IndexFunc(esc, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
			t.Errorf("Escape(%q) = %q prints badly at %d", s, esc, i)
		}
		if s == "" {
			return
		}
		cell := string(String(s).appendText(nil, clock.UTC))
		if back, err := Unescape(cell); err != nil || back != s {
			t.Errorf("cell of %q is %q, back: %q, %v", s, cell, back, err)
		}
		if strings.ContainsAny(cell, " \n") || cell == "-" || cell[0] == '#' {
			t.Errorf("cell of %q is %q", s, cell)
		}
		var decoded string
		if err := json.Unmarshal(String(s).AppendJSON(nil), &decoded); err != nil {
			t.Errorf("JSON of %q: %v", s, err)
		}
		if decoded != esc {
			t.Errorf("JSON of %q says %q, want %q", s, decoded, esc)
		}
	})
}

func TestWidth(t *testing.T) {
	for s, want := range map[string]int{"": 0, "nginx": 5, "café": 4, "cafe\u0301": 4, "日本": 4, "🙂": 2, `\xff`: 4} {
		if got := width([]byte(s)); got != want {
			t.Errorf("width(%q) = %d, want %d", s, got, want)
		}
	}
}
