package output

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

const hexDigits = "0123456789abcdef"

// Escape appends s to dst so that it is harmless to print and still says
// exactly what s was: a backslash becomes \\, and every byte that is not part
// of a printable UTF-8 character becomes \xNN. Not printable are the C0 and C1
// controls, line separators, spaces other than U+0020, characters that have no
// shape or change the direction of others (zero-width, bidi, variation
// selectors, fillers), private and unassigned ones, and whatever is not valid
// UTF-8. Different strings stay different; [Unescape] gives s back. The same
// form stands in text, CSV and JSON, which then quote it by their own rules.
func Escape(dst []byte, s string) []byte { return escape(dst, s, "") }

// escape is Escape for a place where the ASCII bytes in also have a meaning of
// their own: these become \xNN too.
func escape(dst []byte, s, also string) []byte {
	for i := 0; i < len(s); {
		c := s[i]
		switch {
		case c == '\\':
			dst = append(dst, '\\', '\\')
			i++
		case c < utf8.RuneSelf:
			if c < ' ' || c == 0x7f || also != "" && strings.IndexByte(also, c) >= 0 {
				dst = appendHex(dst, c)
			} else {
				dst = append(dst, c)
			}
			i++
		default:
			r, n := utf8.DecodeRuneInString(s[i:])
			if (r != utf8.RuneError || n > 1) && printable(r) {
				dst = append(dst, s[i:i+n]...)
			} else {
				for _, c := range []byte(s[i : i+n]) {
					dst = appendHex(dst, c)
				}
			}
			i += n
		}
	}
	return dst
}

func appendHex(dst []byte, c byte) []byte {
	return append(dst, '\\', 'x', hexDigits[c>>4], hexDigits[c&15])
}

// printable reports whether r has a shape of its own. unicode.IsPrint lets
// pass some letters and marks that Unicode says to draw as nothing.
func printable(r rune) bool {
	return unicode.IsPrint(r) && r != '\u2800' && // BRAILLE PATTERN BLANK
		!unicode.In(r, unicode.Other_Default_Ignorable_Code_Point, unicode.Variation_Selector)
}

// Unescape returns the string that was escaped to s. It also takes \xNN of
// bytes that [Escape] leaves alone, as text and CSV have them where a plain
// byte would forge a column, and anything that needs no escape.
func Unescape(s string) (string, error) {
	if strings.IndexByte(s, '\\') < 0 {
		return s, nil
	}
	out := make([]byte, 0, len(s))
	for i := 0; i < len(s); i++ {
		switch {
		case s[i] != '\\':
			out = append(out, s[i])
		case i+1 < len(s) && s[i+1] == '\\':
			out = append(out, '\\')
			i++
		case i+3 < len(s) && s[i+1] == 'x' && unhex(s[i+2]) < 16 && unhex(s[i+3]) < 16:
			out = append(out, unhex(s[i+2])<<4|unhex(s[i+3]))
			i += 3
		default:
			return "", fmt.Errorf("bad escape at byte %d of %q: use \\\\ or \\xNN", i, s)
		}
	}
	return string(out), nil
}

// unhex returns the value of a hexadecimal digit, 16 if c is none.
func unhex(c byte) byte {
	switch {
	case '0' <= c && c <= '9':
		return c - '0'
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10
	}
	return 16
}

// appendCell appends s as one cell of a text table. Besides Escape, a space
// becomes \x20, so that a script that splits at spaces counts columns rightly
// and no comm can forge the columns after its own; and a cell that is "-" or
// begins with "#" does not look like an unknown value or a remark.
func appendCell(dst []byte, s string) []byte {
	if s == "-" || s != "" && s[0] == '#' {
		dst = appendHex(dst, s[0])
		s = s[1:]
	}
	return escape(dst, s, " ")
}

// appendCSVString appends s as a CSV cell, before quoting. Besides Escape, a
// first byte that makes a spreadsheet take the cell for a formula becomes \xNN.
func appendCSVString(dst []byte, s string) []byte {
	if s != "" && strings.IndexByte("=+-@", s[0]) >= 0 {
		dst = appendHex(dst, s[0])
		s = s[1:]
	}
	return Escape(dst, s)
}

// width returns how many cells of a terminal an escaped text takes.
func width(b []byte) int {
	n := 0
	for i := 0; i < len(b); {
		if b[i] < utf8.RuneSelf {
			n++
			i++
			continue
		}
		r, size := utf8.DecodeRune(b[i:])
		n += runeWidth(r)
		i += size
	}
	return n
}

// runeWidth is 0 for marks that combine, 2 for East Asian wide characters and
// emoji, else 1.
func runeWidth(r rune) int {
	switch {
	case unicode.In(r, unicode.Mn, unicode.Me):
		return 0
	case r >= 0x1100 && r <= 0x115f, // Hangul Jamo
		r >= 0x2e80 && r <= 0xa4cf, // CJK
		r >= 0xac00 && r <= 0xd7a3, // Hangul syllables
		r >= 0xf900 && r <= 0xfaff, // CJK compatibility
		r >= 0xfe30 && r <= 0xfe6f, // vertical and small forms
		r >= 0xff00 && r <= 0xff60, // full width
		r >= 0xffe0 && r <= 0xffe6,
		r >= 0x1f300 && r <= 0x1f64f, // emoji
		r >= 0x1f900 && r <= 0x1f9ff,
		r >= 0x20000 && r <= 0x3fffd: // CJK extensions
		return 2
	}
	return 1
}
