package filter

import (
	"fmt"
	"strconv"
	"strings"
)

// commBytes is what the kernel keeps of a comm: TASK_COMM_LEN less the NUL.
const commBytes = 15

// Glob is a pattern for a comm or another name: * stands for any bytes and ? for any
// one byte; \xNN is that byte, so that users can paste a comm as text output prints
// it; and \ before any other byte is that byte. The zero Glob matches nothing, and no
// Glob matches an unknown (empty) name.
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

// Match reports whether the pattern matches all of comm. Its time grows at most with
// the product of the lengths.
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

// parseGlob parses a pattern; what names the pattern's kind in errors. If longest is
// not 0, the kernel keeps only so many bytes of a value.
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
		return 0, 0, fmt.Errorf(`nothing follows the last backslash; for a backslash itself use \\`)
	case s[1] != 'x':
		return op(s[1]), 2, nil
	}
	n, err := strconv.ParseUint(s[2:min(4, len(s))], 16, 8)
	if err != nil || len(s) < 4 {
		return 0, 0, fmt.Errorf(`\x needs two hexadecimal digits, as in \x20`)
	}
	return op(n), 4, nil
}
