package main

import (
	"encoding/json"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// TestHelp: each command's help fits into 80 columns, has each flag once, and begins with
// the flags that matter most and with examples.
func TestHelp(t *testing.T) {
	t.Parallel()
	app := newApp(io.Discard, io.Discard)
	for _, c := range app.Commands {
		if c.Hidden {
			continue
		}
		o := ran("help", c.Name)
		if o.code != exitOK || o.stderr != "" {
			t.Fatalf("%s: exit code %d, stderr %q", c.Name, o.code, o.stderr)
		}
		for _, args := range [][]string{{c.Name, "--help"}, {c.Name, "-h"}} {
			if c.Name == "help" {
				continue
			}
			if got := ran(args...); got != o {
				t.Errorf("%v is not help %s: %s", args, c.Name, got.stdout)
			}
		}
		fitsTerminal(t, o.stdout)
		for _, f := range c.Flags {
			if n := strings.Count(o.stdout, "\n  "+describeFlag(f).names()); n != 1 {
				t.Errorf("help %s has %s %d times", c.Name, f.Names()[0], n)
			}
		}
		top, _, _ := strings.Cut(o.stdout, "\nFilters")
		for _, name := range mostUsed[c.Name] {
			i := slices.IndexFunc(c.Flags, func(f cli.Flag) bool { return f.Names()[0] == name })
			if i < 0 {
				t.Errorf("%s has no flag %s", c.Name, name)
			} else if h := describeFlag(c.Flags[i]); !strings.Contains(top, h.names()) {
				t.Errorf("help %s does not begin with --%s: %s", c.Name, name, top)
			}
		}
		if len(mostUsed[c.Name]) > 0 && !strings.Contains(top, "\nExamples:\n  twtrace ") {
			t.Errorf("help %s does not begin with examples: %s", c.Name, top)
		}
	}
}

// fitsTerminal checks that a help has lines of up to 80 columns, and no words of the library.
func fitsTerminal(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if n := utf8.RuneCountInString(strings.TrimSuffix(line, "\n")); n > helpWidth {
			t.Errorf("%d columns: %s", n, line)
		}
	}
	for _, w := range []string{"(default: no limit)", "(default: false)", "(default: 0", `default: "`, "`", "OPTIONS", "[ --"} {
		if strings.Contains(text, w) {
			t.Errorf("the help has %q: %s", w, text)
		}
	}
}

// TestHelpOfAll: without a command it lists them.
func TestHelpOfAll(t *testing.T) {
	t.Parallel()
	o := ran("help")
	for _, args := range [][]string{{"--help"}, {"-h"}} {
		if got := ran(args...); got != o || o.code != exitOK || o.stderr != "" {
			t.Errorf("%v: %+v", args, got)
		}
	}
	fitsTerminal(t, o.stdout)
	for _, words := range append(verbs, "twtrace trace -D 3306 -o json", "--netns", "twtrace help COMMAND") {
		if !strings.Contains(o.stdout, words) {
			t.Errorf("the help lacks %q: %s", words, o.stdout)
		}
	}
	app := newApp(io.Discard, io.Discard)
	for _, c := range app.Commands {
		if c.Hidden == slices.Contains(verbs, c.Name) {
			t.Errorf("%s is a command that is hidden, or missing in verbs", c.Name)
		}
	}
}

func TestWrapped(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		text   string
		indent int
		want   string
	}{
		{"", 2, ""},
		{"one two three", 0, "one two\nthree"},
		{"one two three", 4, "one\n    two\n    three"},
		{"incomprehensibilities are long", 0, "incomprehensibilities\nare long"},
		{"a\n b", 1, "a b"},
	} {
		if got := wrapped(c.text, c.indent, 8); got != c.want {
			t.Errorf("%q: got %q, want %q", c.text, got, c.want)
		}
	}
}

func TestVersion(t *testing.T) {
	t.Parallel()
	for _, flag := range []string{"--version", "-v"} {
		if o := ended(t, command(flag)); o.code != 0 || o.stderr != "" || o.stdout != "twtrace version "+version+"\n" {
			t.Errorf("%s: %+v", flag, o)
		}
	}
	o := ran("version")
	for _, words := range []string{"twtrace " + version + "\n", "\ncommit ", " go1.", "fentry, timer", "records 2, trace file 2, twtrace.doctor/v1, "} {
		if o.code != exitOK || !strings.Contains(o.stdout, words) {
			t.Errorf("version lacks %q: %+v", words, o)
		}
	}
	var b build
	must(t, json.Unmarshal([]byte(ran("version", "-o", "json").stdout), &b))
	if b.Version != version || !slices.Equal(b.HookSets, []string{"fentry", "timer"}) || b.Schemas["records"] != 2.0 || b.Schemas["report"] != "twtrace.report/v2" {
		t.Errorf("version -o json: %+v", b)
	}
	ran("version", "-o", "xml").failed(t, exitUsage, `--output: bad format "xml": use text or json`)
}
