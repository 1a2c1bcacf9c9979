package report

import (
	"net/netip"
	"regexp"
	"strings"
)

// piece is a part of a text on the page: words, or one address that is too long for some
// lines, as the parts between which it may be broken.
type piece struct {
	Text    string
	Address []string
}

// longAddress is an IPv6 address that does not fit beside words on a phone, with its
// brackets and its port.
var longAddress = regexp.MustCompile(`\[?([0-9A-Fa-f:.]{15,}[0-9A-Fa-f])(?:\](?::[0-9]+)?)?`)

// pieces are the parts of a text.
func pieces(text string) []piece {
	var out []piece
	words := 0 // where those begin that are in no piece yet
	for _, m := range longAddress.FindAllStringSubmatchIndex(text, -1) {
		if ip, err := netip.ParseAddr(text[m[2]:m[3]]); err != nil || !ip.Is6() {
			continue
		}
		if words < m[0] {
			out = append(out, piece{Text: text[words:m[0]]})
		}
		groups := strings.SplitAfter(text[m[2]:m[3]], ":")
		groups[0] = text[m[0]:m[2]] + groups[0]
		groups[len(groups)-1] += text[m[3]:m[1]]
		out = append(out, piece{Address: groups})
		words = m[1]
	}
	if words < len(text) {
		out = append(out, piece{Text: text[words:]})
	}
	return out
}
