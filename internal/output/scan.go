package output

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// scanner reads the members of one JSON object. It is strict about what it parses
// itself, and leaves nested values and escaped strings to encoding/json.
type scanner struct {
	rest []byte
}

var errShort = errors.New("it is incomplete")

// object calls member with the name and the raw value of each member. They are
// valid during the call only.
func (s *scanner) object(member func(name, value []byte) error) error {
	if err := s.take('{'); err != nil {
		return err
	}
	if s.peek() == '}' {
		s.rest = s.rest[1:]
		return s.end()
	}
	for {
		name, err := s.value()
		if err != nil {
			return err
		}
		if len(name) < 2 || name[0] != '"' {
			return fmt.Errorf("%.20q is not a name", name)
		}
		if err := s.take(':'); err != nil {
			return err
		}
		value, err := s.value()
		if err != nil {
			return err
		}
		if err := member(name[1:len(name)-1], value); err != nil {
			return fmt.Errorf("%s: %w", name[1:len(name)-1], err)
		}
		switch c := s.peek(); c {
		case ',':
			s.rest = s.rest[1:]
		case '}':
			s.rest = s.rest[1:]
			return s.end()
		default:
			return s.unexpected()
		}
	}
}

// end checks that nothing follows.
func (s *scanner) end() error {
	if s.peek() != 0 || len(s.rest) > 0 {
		return s.unexpected()
	}
	return nil
}

func (s *scanner) unexpected() error {
	if len(s.rest) == 0 {
		return errShort
	}
	return fmt.Errorf("unexpected %.20q", s.rest)
}

// peek skips white space and returns the next byte, 0 if there is none.
func (s *scanner) peek() byte {
	for i, c := range s.rest {
		if c != ' ' && c != '\t' && c != '\n' && c != '\r' {
			s.rest = s.rest[i:]
			return c
		}
	}
	s.rest = nil
	return 0
}

func (s *scanner) take(c byte) error {
	if s.peek() != c {
		return s.unexpected()
	}
	s.rest = s.rest[1:]
	return nil
}

// value returns the raw bytes of the next value.
func (s *scanner) value() ([]byte, error) {
	var n int
	switch c := s.peek(); c {
	case 0:
		return nil, s.unexpected()
	case '"':
		n = stringEnd(s.rest)
	case '{', '[':
		n = nestedEnd(s.rest)
	default:
		if n = bytes.IndexAny(s.rest, ",]} \t\r\n"); n == 0 {
			return nil, s.unexpected()
		}
	}
	if n < 0 {
		return nil, errShort
	}
	v := s.rest[:n]
	s.rest = s.rest[n:]
	return v, nil
}

// stringEnd returns the length of the string at the start of b, -1 if it has no end.
func stringEnd(b []byte) int {
	for i := 1; i < len(b); i++ {
		switch b[i] {
		case '\\':
			i++
		case '"':
			return i + 1
		}
	}
	return -1
}

// nestedEnd returns the length of the array or object at the start of b, -1 if it has
// no end.
func nestedEnd(b []byte) int {
	depth := 0
	for i := 0; i < len(b); i++ {
		switch b[i] {
		case '"':
			n := stringEnd(b[i:])
			if n < 0 {
				return -1
			}
			i += n - 1
		case '{', '[':
			depth++
		case '}', ']':
			if depth--; depth == 0 {
				return i + 1
			}
		}
	}
	return -1
}

// plainString returns the contents of a JSON string.
func plainString(raw []byte) ([]byte, error) {
	if len(raw) < 2 || raw[0] != '"' {
		return nil, fmt.Errorf("%.20q is not a string", raw)
	}
	inside := raw[1 : len(raw)-1]
	plain := true // as nearly all are
	for _, c := range inside {
		plain = plain && c >= ' ' && c < 0x80 && c != '\\'
	}
	if plain {
		return inside, nil
	}
	special := func(r rune) bool { return r == '\\' || r < ' ' || r == '\uFFFD' }
	if bytes.IndexFunc(inside, special) < 0 {
		return inside, nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return nil, err
	}
	return []byte(s), nil
}

// number parses an unsigned number of so many bits.
func number(raw []byte, bits int) (uint64, error) {
	n, err := strconv.ParseUint(string(raw), 10, bits)
	if err != nil {
		return 0, fmt.Errorf("%.24q is not a number from 0 to %d", raw, uint64(1)<<(bits-1)<<1-1)
	}
	return n, nil
}

// signed parses a number of 64 bits.
func signed(raw []byte) (int64, error) {
	n, err := strconv.ParseInt(string(raw), 10, 64)
	if err != nil {
		return 0, fmt.Errorf("%.24q is not a number", raw)
	}
	return n, nil
}
