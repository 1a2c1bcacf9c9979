package filter

import (
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/xrash/smetrics"
)

// alone parses a value without a word before it: a port, an address, or a part of a comm.
func (p *parser) alone(text string, not bool) (*Filter, error) {
	items, ends := 0, 0
	for rest, more := text, true; more; {
		var item string
		item, rest, more = cut(rest)
		items++
		if looksLikeEnd(item) {
			ends++
		}
	}
	switch {
	case ends == items:
		return p.end(text, not)
	case strings.ContainsAny(text, "<>"):
		return nil, fmt.Errorf("no comparison such as %q: sort by that number, or filter by name, port or address: nginx, :8080, 10.77", text)
	case ends > 0:
		return nil, fmt.Errorf("bad list %q: names, ports and addresses are words of their own, with a blank between them", text)
	case strings.HasPrefix(text, "/"):
		return nil, fmt.Errorf("no word before %q: did you mean exe %[1]s or cgroup %[1]s?", text)
	case nameAndPort.MatchString(text):
		name, port, _ := strings.Cut(text, ":")
		if w := p.near(name); w != nil {
			return nil, fmt.Errorf("bad word %q: did you mean %s %s?", text, w.Name, port)
		}
		return nil, fmt.Errorf("bad address %q: %s is no IP address; for a process and a port: %[2]s :%s", text, name, port)
	}
	if err := p.mistaken(text); err != nil {
		return nil, err
	}
	return p.comm(text, not)
}

var nameAndPort = regexp.MustCompile(`^[\w.-]*[A-Za-z][\w.-]*:\d*$`)

// end is the filter of ports or addresses without a word.
func (p *parser) end(text string, not bool) (*Filter, error) {
	if !p.has("port") {
		return nil, fmt.Errorf("%s takes no port or address; %s", p.where(), p.list())
	}
	s, err := ParseEnds(text)
	if err != nil {
		return nil, wordPort(text, err)
	}
	s.Not = not
	return &Filter{Ends: s}, nil
}

// wordPort adds what to do about a number that is too large for a port.
func wordPort(text string, err error) error {
	if n, ok := digits(text); ok && n > 65535 && n <= maxPID {
		return fmt.Errorf("%w; for a process: pid %s", err, text)
	}
	return err
}

// comm is the filter of a word that is part of a comm; the word may be a list.
func (p *parser) comm(text string, not bool) (*Filter, error) {
	if !p.has("comm") {
		return nil, fmt.Errorf("no word %q: %s takes no names of processes; %s", text, p.where(), p.list())
	}
	var patterns []string
	for rest, more := text, true; more; {
		var item string
		item, rest, more = cut(rest)
		if _, err := parseGlob(item, "comm", commBytes); err != nil {
			return nil, err
		}
		if item != "" && !strings.ContainsAny(item, "*?") {
			item = "*" + item + "*"
		}
		patterns = append(patterns, item)
	}
	s, err := ParseComms(strings.Join(patterns, ","))
	s.Not = not
	return &Filter{Comms: s}, err
}

// foreign are the words that other tools have for ours.
var foreign = map[string]string{
	"dport": "rport", "sport": "lport", "daddr": "raddr", "saddr": "laddr", "ppid": "parent", "tgid": "pid",
	"command": "comm", "name": "comm", "process": "comm", "program": "comm",
	"host": "addr", "net": "addr", "ip": "addr", "address": "addr", "dst": "raddr", "dest": "raddr", "peer": "raddr", "remote": "raddr",
	"src": "laddr", "local": "laddr", "namespace": "netns", "ns": "netns", "user": "uid", "service": "unit", "executable": "exe",
	"ports": "port", "tcp": "port", "kind": "event", "type": "event", "why": "reason", "side": "closed-by",
}

// sure are those of foreign that no process is called.
var sure = map[string]bool{"dport": true, "sport": true, "daddr": true, "saddr": true, "ppid": true, "tgid": true}

// Half reports whether text is the start of a word, of ours or of another tool's.
func (l *Language) Half(text string) bool {
	for name := range sure {
		if strings.HasPrefix(name, text) && name != text {
			return true
		}
	}
	return slices.ContainsFunc(l.Has(), func(w Word) bool { return strings.HasPrefix(w.Name, text) && w.Name != text })
}

// mistaken is an error if text looks like a word that is meant for another one: a word
// of other tools, or a slip of a letter with a value behind it.
func (p *parser) mistaken(text string) error {
	w := p.near(text)
	switch {
	case w == nil:
		return nil
	case sure[strings.ToLower(text)]:
		return p.unknown(text)
	case len(p.tokens) > 0 && p.accepts(w, p.tokens[0]):
		return fmt.Errorf("%w for a process of that name: comm %s", p.unknown(text), text)
	}
	return nil
}

// accepts reports whether a token could be meant as the value of w.
func (p *parser) accepts(w *Word, t token) bool {
	if named(t.text) != nil && !t.quoted {
		return false
	}
	if strings.HasSuffix(w.Name, "port") || strings.HasSuffix(w.Name, "addr") {
		return looksLikeEnd(strings.TrimPrefix(t.text, "!"))
	}
	names := w.Name == "comm" || w.Name == "unit" || w.Name == "exe" || w.Name == "pod" || w.Name == "container"
	if names && looksLikeEnd(t.text) {
		return false // a port or address behind the name of a process
	}
	return w.set(p.Language, &Filter{}, t.text) == nil
}

// near is the word that was meant by one that is none, nil if it is not like any.
func (l *Language) near(text string) *Word {
	text = strings.ToLower(strings.TrimLeft(text, "-"))
	if w := findWord(foreign[text]); w != nil && l.has(w.Name) {
		return w
	}
	var best *Word
	least := 1 + min(len(text)/4, 2) // a letter in four may be wrong
	for _, w := range l.Has() {
		for _, name := range append([]string{w.Name}, w.Aliases...) {
			if d := distance(text, name); d < least {
				best, least = findWord(w.Name), d
			}
		}
	}
	return best
}

// distance is how many letters differ; two that changed places count as one.
func distance(a, b string) int {
	d := smetrics.WagnerFischer(a, b, 1, 1, 1)
	if len(a) == len(b) && d == 2 {
		for i := range len(a) - 1 {
			if a[:i]+string(a[i+1])+string(a[i])+a[i+2:] == b {
				return 1
			}
		}
	}
	return d
}

// unknown says that a word is none, and which one it may be.
func (l *Language) unknown(text string) error {
	text = strings.TrimLeft(text, "!-")
	if w := l.near(text); w != nil {
		return fmt.Errorf("no word %q: did you mean %s (%s)?", text, w.Name, w.Means)
	}
	return fmt.Errorf("no word %q; %s", text, l.list())
}
