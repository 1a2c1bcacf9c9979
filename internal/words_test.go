package internal

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"
)

// wording is a way to put something that must not come back into what users read:
// help, errors, screens, findings, pages.
type wording struct {
	bad *regexp.Regexp
	but *regexp.Regexp // what looks like it and is well said; nil if nothing does
	say string         // what to say in its place

	wrong, right string // examples of both, which TestWordings tries
}

var wordings = []wording{{
	bad:   words(`of late`),
	say:   `say how long: "in the last 10 s"`,
	wrong: "api[7] opened most of them of late", right: "api[7] opened 99 % of them in the last 10 s",
}, {
	bad:   words(`of which`),
	say:   "make it a sentence of its own",
	wrong: "5 sockets, of which 3 are parked", right: "5 sockets; 3 of them are parked",
}, {
	bad:   words(`tells?|told|telling`),
	but:   words(`tells? (\S+ ){1,6}from`),
	say:   "print, report, count, know, show, see",
	wrong: "the drift is told", right: "the drift is reported; nothing else tells an old segment from a new one",
}, {
	bad:   words(`be seen`),
	say:   "say who sees what, or show",
	wrong: "which cannot be seen here", right: "which sock_diag does not show",
}, {
	bad:   words(`begins? (of|and (its )?ends?)|(the|an?|its|their|whose|this|each|every|no|one|only|first|%d|[0-9,]+) begins?|TIME_WAIT begins (detected|found|seen)`),
	but:   words(`(the|an?|no|one|this) [A-Za-z_]+ begins`),
	say:   "start",
	wrong: "%d begins seen late", right: "TIME_WAIT begins when the FIN is acknowledged",
}, {
	bad:   words(`counted otherwise`),
	say:   "these counts differ from the kernel's",
	wrong: "the kernel counted otherwise", right: "these counts differ from the kernel's",
}, {
	bad:   words(`worth a word|the whole story`),
	say:   "say what it is",
	wrong: "nothing worth a word yet", right: "no events yet",
}, {
	bad:   words(`at the most|(is|was) the most|the most (is|was|in|at|that|within|of it)`),
	say:   "maximum, limit, peak",
	wrong: "the most in each step", right: "the maximum of each step",
}, {
	bad:   words(`the least is`),
	say:   "minimum",
	wrong: "too short: the least is 100ms", right: "too short: the minimum is 100ms",
}, {
	bad:   words(`which there are`),
	say:   "list them, name it",
	wrong: "without an ID, which there are", right: "without an ID, list them all",
}, {
	bad:   words(`bears?`),
	say:   "fit, allow",
	wrong: "do the ports bear it", right: "would 500/s fit",
}, {
	bad:   words(`stands?`),
	but:   words(`stands? (in )?for`),
	say:   "is, or say who put it there",
	wrong: "what is missing stands in the table", right: "* stands for any name",
}, {
	bad:   words(`look(s|ed|ing)?`),
	but:   words(`look(s|ed|ing)? ((it|them|this) )?(all )?(up|for|like|alike|faster|slower|the same)`),
	say:   "check, read, poll, dump, sample, display, facts",
	wrong: "sockets looked at once", right: "look up the name, look for a restart loop",
}, {
	bad:   words(`(is|are) none|and none (of|is|are)`),
	but:   words(`there (is|are) none`),
	say:   "say what is missing, what conflicts",
	wrong: "--brief is a text, and -o json is none", right: "--brief conflicts with -o json",
}, {
	bad:   words(`(is|are) no (address|event|file|name|number|network|part|process|regular|start|string|time|trace|user)`),
	but:   words(`there (is|are) no \S+`),
	say:   "is not a",
	wrong: "%q is no process id", right: "%q is not a process id; there is no time limit",
}, {
	bad:   words(`of no use`),
	say:   "requires, conflicts with",
	wrong: "--by is of no use without --summary", right: "--by requires --summary",
}, {
	bad:   words(`exclude each other`),
	say:   "conflicts with",
	wrong: "-4 and -6 exclude each other", right: "-4 conflicts with -6",
}, {
	bad:   words(`an? (json )?(object|line|row|record|heading|table) an? (line|row|interval|second|table)`),
	say:   "one object per line",
	wrong: "an object a line, for scripts", right: "one JSON object per line",
}, {
	bad:   words(`anew`),
	say:   "again",
	wrong: "the timer was started anew", right: "the timer was started again",
}, {
	bad:   words(`speaks? of`),
	say:   "describe",
	wrong: "start and end speak of the whole host", right: "start and end describe the whole host",
}}

func words(alternatives string) *regexp.Regexp {
	return regexp.MustCompile(`(?i)(^|[^\pL\pN_-])(` + strings.ReplaceAll(alternatives, " ", `\s+`) + `)([^\pL\pN_-]|$)`)
}

// find returns where in s the wording is, -1 if it is not.
func (w *wording) find(s string) int {
	if w.but != nil {
		s = w.but.ReplaceAllStringFunc(s, func(m string) string { return strings.Repeat("~", len(m)) })
	}
	at := w.bad.FindStringSubmatchIndex(s)
	if at == nil {
		return -1
	}
	return at[4] // where the words begin, behind what is in front of them
}

// notShown are the packages whose strings no user of twtrace reads.
var notShown = []string{"internal/tools", "internal/kerneltest", "internal/workload"}

// pages are the texts beside the code.
var pages = []string{"*.md", "docs/*.md", "internal/advice/explain/*.md", "bpf/*.md", ".github/*.md", ".github/*/*.md"}

// code is what a page quotes: names, commands, and what CONTRIBUTING.md says not to say.
var code = regexp.MustCompile("`[^`\n]+`")

// TestWords searches all that users read for these wordings, and lists them all.
func TestWords(t *testing.T) {
	root := os.DirFS("..")
	var bad []string
	add := func(path string, text string, line func(at int) int) {
		for i := range wordings {
			for at := 0; at < len(text); {
				n := wordings[i].find(text[at:])
				if n < 0 {
					break
				}
				at += n
				bad = append(bad, fmt.Sprintf("%s:%d: %q: %s", path, line(at), around(text, at), wordings[i].say))
				at++
			}
		}
	}
	n := 0
	for _, glob := range pages {
		names, err := fs.Glob(root, glob)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text, err := fs.ReadFile(root, name)
			if err != nil {
				t.Fatal(err)
			}
			n++
			prose := code.ReplaceAllStringFunc(string(text), func(c string) string { return strings.Repeat("~", len(c)) })
			add(name, prose, func(at int) int { return 1 + strings.Count(prose[:at], "\n") })
		}
	}
	if n < 20 {
		t.Errorf("only %d pages found: a glob of pages is out of date", n)
	}
	n = 0
	for _, path := range shownSources(t, root) {
		src, err := fs.ReadFile(root, path)
		if err != nil {
			t.Fatal(err)
		}
		all, err := texts(path, src)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range all {
			n++
			add(path, x.text, x.line)
		}
	}
	if n < 1000 {
		t.Errorf("only %d texts found in Go", n)
	}
	slices.Sort(bad)
	for _, b := range slices.Compact(bad) {
		t.Error(b)
	}
}

// shownSources are the Go files that users read strings of.
func shownSources(t *testing.T, root fs.FS) []string {
	var files []string
	for _, top := range []string{"cmd", "internal"} {
		err := fs.WalkDir(root, top, func(path string, d fs.DirEntry, err error) error {
			if err != nil {
				return err
			}
			if d.IsDir() && (slices.Contains(notShown, path) || d.Name() == "testdata") {
				return fs.SkipDir
			}
			generated := strings.HasPrefix(filepath.Base(path), "bpf_")
			if strings.HasSuffix(path, ".go") && !strings.HasSuffix(path, "_test.go") && !generated {
				files = append(files, path)
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// text is a string of a program, put together of literals with a + between them.
type text struct {
	text  string
	parts []part
}

// part says where in the text a literal begins, and in which line it is.
type part struct{ at, line int }

func (x *text) line(at int) int {
	line := x.parts[0].line
	for _, p := range x.parts {
		if p.at <= at {
			line = p.line
		}
	}
	return line
}

// texts returns the strings of a Go file: literals, and tags of fields, which have docs.
func texts(path string, src []byte) ([]text, error) {
	files := token.NewFileSet()
	f, err := parser.ParseFile(files, path, src, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	var all []text
	ast.Inspect(f, func(n ast.Node) bool {
		var x text
		switch n := n.(type) {
		case *ast.ImportSpec:
			return false
		case *ast.BinaryExpr:
			if n.Op != token.ADD || !x.join(files, n) {
				return true
			}
		case *ast.BasicLit:
			if !x.join(files, n) {
				return true
			}
		default:
			return true
		}
		all = append(all, x)
		return false
	})
	return all, nil
}

// join adds the literals of e, and reports whether there are any. What else is added up
// is a word that nobody knows.
func (x *text) join(files *token.FileSet, e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		a := x.join(files, e.X)
		b := x.join(files, e.Y)
		return a || b
	case *ast.BasicLit:
		s, err := strconv.Unquote(e.Value)
		if e.Kind != token.STRING || err != nil {
			return false
		}
		x.parts = append(x.parts, part{len(x.text), files.Position(e.Pos()).Line})
		x.text += s
		return true
	}
	x.text += "%v"
	return false
}

// around returns the words before and after a place in a text.
func around(s string, at int) string {
	from, to := max(at-30, 0), min(at+40, len(s))
	for from > 0 && !utf8.RuneStart(s[from]) {
		from--
	}
	for to < len(s) && !utf8.RuneStart(s[to]) {
		to++
	}
	return strings.Join(strings.Fields(s[from:to]), " ")
}

func TestWordings(t *testing.T) {
	for _, w := range wordings {
		if w.find(w.wrong) < 0 {
			t.Errorf("%v does not find %q", w.bad, w.wrong)
		}
		if at := w.find(w.right); at >= 0 {
			t.Errorf("%v finds %q", w.bad, w.right[at:])
		}
	}
}

// TestTexts: phrases that are split over literals and lines, and the docs in tags.
func TestTexts(t *testing.T) {
	all, err := texts("x.go", []byte("package x\nvar a = f(\"one \" +\n\t\"two\"+v+\n\t\"three\")\ntype t struct {\n\tA int `doc:\"of late\"`\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	if len(all) != 2 || all[0].text != "one two%vthree" || all[1].text != `doc:"of late"` {
		t.Fatalf("texts: %+v", all)
	}
	for at, want := range map[int]int{0: 2, 4: 3, 9: 4} {
		if got := all[0].line(at); got != want {
			t.Errorf("line of %q: %d, want %d", all[0].text[at:], got, want)
		}
	}
}
