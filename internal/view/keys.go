package view

// key is what a key press asks for.
type key uint8

const (
	keyQuit key = iota + 1
	keyPause
	keySort
	keyGroup
	keyLonger
	keyShorter
)

var keyOf = map[byte]key{
	'q': keyQuit, 'Q': keyQuit, 3: keyQuit, // Ctrl-C: in raw mode it is no signal
	' ': keyPause, 's': keySort, 'g': keyGroup,
	'+': keyLonger, '=': keyLonger, '-': keyShorter, '_': keyShorter,
}

// keyParser turns bytes of a terminal into keys, and leaves out escape
// sequences: arrows, function keys, pastes. One may end in a later read.
type keyParser struct {
	state escState
}

type escState uint8

const (
	escNone  escState = iota
	escBegin          // after ESC
	escCSI            // after ESC [, until a final byte
	escSS3            // after ESC O, one more byte
)

func (p *keyParser) parse(b []byte) []key {
	var keys []key
	for _, c := range b {
		switch p.state {
		case escBegin:
			p.state = escNone
			switch c {
			case '[':
				p.state = escCSI
				continue
			case 'O':
				p.state = escSS3
				continue
			case 0x1b:
				p.state = escBegin
				continue
			case 3: // a lone Esc, then Ctrl-C, which always quits
			default:
				continue // Alt and a key
			}
		case escCSI:
			if c >= 0x40 && c <= 0x7e {
				p.state = escNone
			}
			if c != 3 {
				continue
			}
			p.state = escNone
		case escSS3:
			p.state = escNone
			if c != 3 {
				continue
			}
		}
		if c == 0x1b {
			p.state = escBegin
			continue
		}
		if k, ok := keyOf[c]; ok {
			keys = append(keys, k)
		}
	}
	return keys
}
