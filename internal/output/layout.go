package output

import "unicode/utf8"

// layout aligns cells in columns. A cell that is too wide moves the cells after it only
// as far as necessary.
type layout struct {
	columns []Column
	i       int // the next column
	at      int // where the line is
	want    int // where it would be with no cell too wide
}

// start starts a line.
func (l *layout) start() { l.i, l.at, l.want = 0, 0, 0 }

// cell appends the next cell of the line.
func (l *layout) cell(dst, text []byte) []byte {
	c := &l.columns[l.i]
	last := l.i == len(l.columns)-1
	n := width(text)
	if l.i > 0 {
		dst = append(dst, ' ')
		l.at++
		l.want++
	}
	l.i++
	l.want += c.Width
	pad := max(l.want-l.at-n, 0)
	l.at += pad + n
	if c.Right {
		return append(appendSpaces(dst, pad), text...)
	}
	dst = append(dst, text...)
	if last {
		return dst // no space at the end of a line
	}
	return appendSpaces(dst, pad)
}

func appendSpaces(dst []byte, n int) []byte {
	for range n {
		dst = append(dst, ' ')
	}
	return dst
}

// shorten cuts text to n columns of a terminal, in its middle, where addresses and names
// of a family are the least different. A ~ stands for what is cut.
func shorten(text []byte, n int) []byte {
	if width(text) <= n {
		return text
	}
	head, tail := 0, len(text)
	for left, i := (n-1+1)/2, 0; i < len(text); {
		r, size := utf8.DecodeRune(text[i:])
		if left -= runeWidth(r); left < 0 {
			break
		}
		i += size
		head = i
	}
	for left := n - 1 - width(text[:head]); tail > head; {
		r, size := utf8.DecodeLastRune(text[:tail])
		if left -= runeWidth(r); left < 0 {
			break
		}
		tail -= size
	}
	out := append(make([]byte, 0, n+4), text[:head]...)
	return append(append(out, '~'), text[tail:]...)
}
