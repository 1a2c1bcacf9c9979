package filter

import (
	"fmt"
	"math"
	"slices"
	"strings"
)

// Language is the language of filters in one place: the words that mean something
// there, and the network namespaces that have a name. The zero Language has all words
// and knows no name.
type Language struct {
	Where string   // what takes the filter, for errors: "ports"
	Words []string // names of the words; nil for all
	// NetNS finds a network namespace. Its name is "" if it has none. A nil NetNS
	// takes inode numbers alone.
	NetNS func(spec string) (inum uint32, name string, err error)
}

// ParseLine parses a line: "nginx :8080", "comm nginx rport 443", "--comm=nginx -D 443".
// A record has to satisfy all of it. A "!" alone in front inverts all of it, a "!" before
// a word or a value that alone. The error is ErrIncomplete if more has to follow.
func (l *Language) ParseLine(line string) (*Filter, error) {
	tokens, open := tokenize(line)
	if open {
		return nil, incomplete("a quotation mark is not closed")
	}
	return l.parse(tokens)
}

// ParseArgs is ParseLine for the arguments of a command, which the shell has split.
func (l *Language) ParseArgs(args []string) (*Filter, error) {
	var tokens []token
	for i, arg := range args {
		whole := token{text: arg}
		if strings.ContainsAny(arg, " \t\n") {
			if i > 0 && named(strings.TrimLeft(args[i-1], "!")) != nil || isAssigned(arg) {
				whole.text = strings.NewReplacer(" ", `\x20`, "\t", `\x09`, "\n", `\x0a`).Replace(arg) // a value with blanks in it
			} else {
				inner, open := tokenize(arg) // a line of its own
				if open {
					return nil, incomplete("a quotation mark is not closed")
				}
				tokens = append(tokens, inner...)
				continue
			}
		}
		tokens = append(tokens, whole)
	}
	return l.parse(tokens)
}

func isAssigned(arg string) bool {
	name, _, ok := assignment(arg)
	return ok && named(strings.TrimLeft(name, "!")) != nil
}

func (l *Language) parse(tokens []token) (*Filter, error) {
	p := parser{Language: l, tokens: tokens}
	whole := p.peek() == "!"
	if whole {
		p.tokens = p.tokens[1:]
		if len(p.tokens) == 0 {
			return nil, incomplete("! requires a filter behind it")
		}
	}
	f := &Filter{}
	for len(p.tokens) > 0 {
		g, err := p.next()
		if err == nil {
			err = f.And(g)
		}
		if err != nil {
			return nil, err
		}
	}
	f.Inverse = whole
	return f, nil
}

// parser takes tokens from the front.
type parser struct {
	*Language
	tokens []token
}

// peek is the next token, "" at the end.
func (p *parser) peek() string {
	if len(p.tokens) == 0 || p.tokens[0].quoted {
		return ""
	}
	return p.tokens[0].text
}

func (p *parser) take() token {
	t := p.tokens[0]
	p.tokens = p.tokens[1:]
	return t
}

// negations takes all "!" and "not", and reports whether they negate what follows.
func (p *parser) negations() (not bool) {
	for p.peek() == "!" || strings.EqualFold(p.peek(), "not") {
		p.take()
		not = !not
	}
	return not
}

// next parses a word with its value, or a value alone.
func (p *parser) next() (*Filter, error) {
	switch strings.ToLower(p.peek()) {
	case "and", "&&":
		p.take()
		return &Filter{}, nil
	case "or", "||":
		return nil, fmt.Errorf(`no "or" between words: a comma gives alternatives of one word, as in comm nginx,ab or :80,:443`)
	}
	not := p.negations()
	if len(p.tokens) == 0 {
		return nil, incomplete("! requires a word behind it")
	}
	t := p.take()
	if t.quoted {
		return p.comm(t.text, not)
	}
	text, more := strings.CutPrefix(t.text, "!")
	not = not != more
	if text == "" {
		return nil, fmt.Errorf("bad word %q: ! requires a word behind it", t.text)
	}
	if v, ok := families[strings.TrimLeft(strings.ToLower(text), "-")]; ok {
		if not {
			v = 10 - v
		}
		return &Filter{Family: v}, p.allow("ipv4")
	}
	name, value, assigned := assignment(text)
	if !assigned {
		name = text
	}
	w := named(name)
	switch {
	case w != nil && assigned && value != "":
		return p.valueOf(w, value, not)
	case w != nil:
		return p.value(w, not)
	case assigned || strings.HasPrefix(text, "-"):
		return nil, p.unknown(name)
	}
	return p.alone(text, not)
}

// value parses the value of a word from the tokens.
func (p *parser) value(w *Word, not bool) (*Filter, error) {
	if p.peek() == "=" {
		p.take()
	}
	if p.negations() {
		not = !not
	}
	if len(p.tokens) == 0 {
		return nil, incomplete(fmt.Sprintf("%s requires a value: the %s", w.Name, w.Means))
	}
	return p.valueOf(w, p.take().text, not)
}

func (p *parser) valueOf(w *Word, value string, not bool) (*Filter, error) {
	if err := p.allow(w.Name); err != nil {
		return nil, err
	}
	if not {
		bare, twice := strings.CutPrefix(value, "!")
		if value = bare; !twice {
			value = "!" + bare
		}
	}
	f := &Filter{}
	return f, w.set(p.Language, f, value)
}

// has reports whether a word means something here.
func (l *Language) has(name string) bool {
	return l.Words == nil || slices.Contains(l.Words, name) || name == "ipv4" && slices.Contains(l.Words, "addr")
}

func (l *Language) allow(name string) error {
	if l.has(name) {
		return nil
	}
	return fmt.Errorf("%s takes no %s; %s", l.where(), name, l.list())
}

func (l *Language) where() string {
	if l.Where == "" {
		return "this filter"
	}
	return l.Where
}

// list names the words that there are.
func (l *Language) list() string {
	var names []string
	for _, w := range Words {
		if l.has(w.Name) {
			names = append(names, w.Name)
		}
	}
	if len(names) == 1 {
		return "its only word is " + names[0]
	}
	return "its words are " + strings.Join(names, ", ")
}

// Set sets what f wants of a word, as a flag of that name does.
func (l *Language) Set(f *Filter, name, value string) error { return findWord(name).set(l, f, value) }

// Begins reports whether words are a filter for sure: the first is a word of the language
// that a value follows, or a port or an address.
func Begins(words []string) bool {
	first := strings.TrimLeft(words[0], "!")
	return looksLikeEnd(first) || first != words[0] || isAssigned(first) || named(first) != nil && len(words) > 1
}

// Has returns the words that mean something here.
func (l *Language) Has() []Word {
	return slices.DeleteFunc(slices.Clone(Words), func(w Word) bool { return !l.has(w.Name) })
}

func (l *Language) setNetNS(f *Filter, value string) error {
	s, err := each(value, "netns", "web", func(item string) (uint32, error) {
		if l.NetNS == nil {
			return parseInode(item)
		}
		inum, name, err := l.NetNS(item)
		if name != "" {
			if f.NetNSNames == nil {
				f.NetNSNames = make(map[uint32]string)
			}
			f.NetNSNames[inum] = name
		}
		return inum, err
	})
	f.NetNS, err = unique(s, err)
	return err
}

// UnknownNetNS is the error for a name that is none of those known.
func UnknownNetNS(spec string, known []string) error {
	const limit = 8
	switch n := len(known); {
	case n == 0:
		return fmt.Errorf("unknown namespace %q: none has a name here; use the inode number", spec)
	case n > limit:
		return fmt.Errorf("unknown namespace %q; known: %s and %d more", spec, strings.Join(known[:limit], ", "), n-limit)
	}
	return fmt.Errorf("unknown namespace %q; known: %s", spec, strings.Join(known, ", "))
}

// ParseInode parses the inode number of a network namespace.
func ParseInode(s string) (inum uint32, ok bool) {
	n, ok := digits(s)
	return uint32(n), ok && n > 0 && n <= math.MaxUint32
}

func parseInode(item string) (uint32, error) {
	n, ok := ParseInode(item)
	if !ok {
		return 0, fmt.Errorf("bad netns %q: not an inode number; example: 4026531840", item)
	}
	return n, nil
}
