package filter

import (
	"fmt"
	"strconv"
	"strings"
)

// commBytes is what the kernel keeps of a comm: TASK_COMM_LEN less the NUL.
const commBytes = 15

// Glob is a pattern for a comm or another name: * stands for any bytes and ? for any one byte;
// \xNN is that byte, so that a comm can be pasted as text prints it, and \
// before any other byte is that byte. The zero Glob matches nothing, and no
// Glob matches what is unknown (empty).
type Glob struct {
	pattern string
	ops     []op
}

// op is one step of a pattern: a byte, or one of these.
type op int16

const (
	anyByte  op = -1
	anyBytes op = -2
)

// String returns the pattern.
func (g Glob) String() string { return g.pattern }

// Match reports whether the pattern matches all of comm. Its time is at most
// proportional to the product of the lengths.
func (g Glob) Match(comm string) bool {
	if comm == "" || len(g.ops) == 0 {
		return false
	}
	p, s := 0, 0
	star, from := -1, 0 // the last star, and where what it stands for ends
	for s < len(comm) {
		switch {
		case p < len(g.ops) && g.ops[p] == anyBytes:
			star, from = p, s
			p++
		case p < len(g.ops) && (g.ops[p] == anyByte || g.ops[p] == op(comm[s])):
			p++
			s++
		case star < 0:
			return false
		default: // let the star stand for one byte more
			from++
			p, s = star+1, from
		}
	}
	for p < len(g.ops) && g.ops[p] == anyBytes {
		p++
	}
	return p == len(g.ops)
}

// ParseComms parses a list of comms and patterns: "nginx,php*". A "!" in front
// means all others; \, is a comma in a name.
func ParseComms(value string) (Set[Glob], error) {
	return each(value, "comm", "nginx,php*", func(item string) (Glob, error) { return parseGlob(item, "comm", commBytes) })
}

// parseGlob parses a pattern for what is a value of; of a value the kernel keeps the
// first longest bytes, if that is not 0.
func parseGlob(pattern, what string, longest int) (Glob, error) {
	g := Glob{pattern: pattern}
	least := 0
	for rest := pattern; rest != ""; {
		o, n, err := parseOp(rest)
		if err != nil {
			return Glob{}, fmt.Errorf("bad %s %q: %w", what, pattern, err)
		}
		if o != anyBytes {
			least++
		}
		g.ops = append(g.ops, o)
		rest = rest[n:]
		if least == longest && longest > 0 && strings.Trim(rest, "*") != "" {
			return Glob{}, fmt.Errorf("bad %s %q: the kernel keeps %d bytes of a comm; use %q",
				what, pattern, longest, pattern[:len(pattern)-len(rest)])
		}
	}
	return g, nil
}

// parseOp parses the first step of a pattern, and returns its length.
func parseOp(s string) (op, int, error) {
	switch {
	case s[0] == '*':
		return anyBytes, 1, nil
	case s[0] == '?':
		return anyByte, 1, nil
	case s[0] != '\\':
		return op(s[0]), 1, nil
	case len(s) == 1:
		return 0, 0, fmt.Errorf(`a backslash at the end stands for nothing; use \\`)
	case s[1] != 'x':
		return op(s[1]), 2, nil
	}
	n, err := strconv.ParseUint(s[2:min(4, len(s))], 16, 8)
	if err != nil || len(s) < 4 {
		return 0, 0, fmt.Errorf(`after \x come two hexadecimal digits, as in \x20`)
	}
	return op(n), 4, nil
}
