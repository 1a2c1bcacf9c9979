package filter

import (
	"errors"
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"
)

// ErrIncomplete is wrapped by errors of a line that ends too early, as one that is
// being typed does.
var ErrIncomplete = errors.New("the filter is not complete")

// incomplete is an error with words of its own that is ErrIncomplete.
type incomplete string

func (e incomplete) Error() string   { return string(e) }
func (e incomplete) Is(t error) bool { return t == ErrIncomplete }

// token is a word or a value of a filter.
type token struct {
	text   string
	at     int  // where it starts in the line
	quoted bool // it started with a quotation mark, and is no word of the language
}

// tokenize splits a line at blanks. Quotation marks hold blanks together; a backslash
// before a blank or a mark does too, and stays for the pattern.
func tokenize(line string) (tokens []token, open bool) {
	var t *token
	mark := byte(0)
	for i := 0; i < len(line); i++ {
		c := line[i]
		blank := mark == 0 && (c == ' ' || c == '\t' || c == '\n' || c == '\r')
		if blank {
			t = nil
			continue
		}
		isMark := c == '"' || c == '\''
		if t == nil {
			tokens = append(tokens, token{at: i, quoted: isMark})
			t = &tokens[len(tokens)-1]
		}
		switch {
		case c == '\\' && i+1 < len(line):
			t.text += line[i : i+2]
			i++
		case mark != 0 && c == mark:
			mark = 0
		case mark == 0 && isMark:
			mark = c
		default:
			t.text += line[i : i+1]
		}
	}
	return tokens, mark != 0
}

// Typed is what is being typed at the end of a line.
type Typed struct {
	Word *Word  // whose value it is; nil if it is a word, or a value without one
	Text string // so far: behind the last comma, without the ! in front
	At   int    // where Text starts in the line
}

// TypedAt returns what is being typed at the end of a line.
func TypedAt(line string) Typed {
	tokens, _ := tokenize(line)
	end := len(line)
	if n := len(tokens); n == 0 || strings.HasSuffix(line, " ") && line[tokens[n-1].at:] != tokens[n-1].text {
		tokens = append(tokens, token{at: end})
	}
	var word *Word
	for i, t := range tokens {
		last := i == len(tokens)-1
		name, value, assigned := assignment(t.text)
		switch {
		case word != nil || t.quoted:
			if last {
				return typedIn(word, line, t.at)
			}
			if t.text != "!" && t.text != "=" && !strings.EqualFold(t.text, "not") {
				word = nil
			}
		case assigned:
			word = flagWord(name)
			if last {
				return typedIn(word, line, end-len(value))
			}
			if value != "" {
				word = nil
			}
		case last:
			return typedIn(nil, line, t.at)
		default:
			word = named(strings.TrimLeft(t.text, "!"))
		}
	}
	return Typed{At: end}
}

// typedIn leaves out what is not part of the value that is being typed.
func typedIn(w *Word, line string, at int) Typed {
	for at < len(line) && strings.IndexByte(`!"'`, line[at]) >= 0 {
		at++
	}
	for rest := line[at:]; ; {
		before, after, found := cut(rest)
		if !found {
			break
		}
		at += len(before) + 1
		rest = after
	}
	return Typed{Word: w, Text: line[at:], At: at}
}

// assignment splits "comm=nginx" or "--comm=nginx"; ok is false if the word is none.
func assignment(text string) (name, value string, ok bool) {
	name, value, ok = strings.Cut(text, "=")
	letters := strings.TrimLeft(strings.TrimLeft(name, "!"), "-")
	if letters == "" || strings.IndexFunc(letters, func(r rune) bool { return !(r == '_' || r == '-' || r < utf8.RuneSelf && unicode.IsLetter(r)) }) >= 0 {
		return "", "", false
	}
	return name, value, ok
}

// named returns the word of a token, as a flag or not; nil if it is none.
func named(text string) *Word {
	if strings.HasPrefix(text, "-") {
		return flagWord(text)
	}
	return findWord(text)
}

// Quote returns a value so that the language takes it for exactly that.
func Quote(value string) string {
	var b strings.Builder
	if strings.EqualFold(value, "not") { // alone it negates
		b.WriteByte('\\')
	}
	for i := 0; i < len(value); {
		r, n := utf8.DecodeRuneInString(value[i:])
		switch c := value[i]; {
		case r == utf8.RuneError || !unicode.IsPrint(r) || c == ' ':
			for _, c := range []byte(value[i : i+n]) {
				fmt.Fprintf(&b, `\x%02x`, c)
			}
		case strings.IndexByte(`\,*?"'`, c) >= 0 || i == 0 && strings.IndexByte("!-=", c) >= 0:
			b.WriteByte('\\')
			fallthrough
		default:
			b.WriteString(value[i : i+n])
		}
		i += n
	}
	return b.String()
}
