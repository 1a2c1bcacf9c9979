package main

import (
	"cmp"
	"fmt"
	"regexp"
	"strings"
	"unicode/utf8"

	"github.com/urfave/cli/v2"
)

// The help is for a terminal of 80 columns, which an incident often has.
const (
	helpWidth  = 80
	helpColumn = 28 // where what a flag does begins
)

// wrapped breaks text between words into lines of up to width columns. The first line
// follows indent columns that are printed already, the others begin with as many spaces.
func wrapped(text string, indent, width int) string {
	var b strings.Builder
	at := indent
	for i, word := range strings.Fields(text) {
		n := utf8.RuneCountInString(word)
		switch {
		case i == 0:
		case at+1+n > width:
			b.WriteString("\n" + strings.Repeat(" ", indent))
			at = indent
		default:
			b.WriteByte(' ')
			at++
		}
		b.WriteString(word)
		at += n
	}
	return b.String()
}

// entry is a name in the left column, and what it is in the right one, which begins on
// the next line where the name is long.
func entry(name, what string, column int) string {
	left := "  " + name
	if what == "" {
		return left + "\n"
	}
	if utf8.RuneCountInString(left)+2 > column {
		left += "\n" + strings.Repeat(" ", column)
	} else {
		left += strings.Repeat(" ", column-utf8.RuneCountInString(left))
	}
	return left + wrapped(what, column, helpWidth) + "\n"
}

// flagHelp is a flag as help and completion show it.
type flagHelp struct {
	short, long string // without dashes, "" if it has none
	value       string // what stands for its value, "" if it takes none
	usage       string // what it does
	fallback    string // its default, "" if it has none that says anything
	category    string
}

var quoted = regexp.MustCompile("`([^`]*)`")

// describeFlag reads a flag of the table.
func describeFlag(f cli.Flag) flagHelp {
	h := flagHelp{}
	for _, name := range f.Names() {
		if len(name) == 1 {
			h.short = cmp.Or(h.short, name)
		} else {
			h.long = cmp.Or(h.long, name)
		}
	}
	doc, ok := f.(cli.DocGenerationFlag)
	if !ok {
		return h
	}
	h.usage = doc.GetUsage()
	if m := quoted.FindStringSubmatch(h.usage); m != nil {
		h.value = m[1]
		h.usage = strings.TrimPrefix(h.usage, m[0]+": ")
		h.usage = quoted.ReplaceAllString(h.usage, "$1")
	}
	h.fallback = defaultOf(f)
	if c, ok := f.(cli.CategorizableFlag); ok {
		h.category = c.GetCategory()
	}
	return h
}

// defaultOf is the default of a flag, "" where it is nothing, no limit, or off.
func defaultOf(f cli.Flag) string {
	switch f := f.(type) {
	case *cli.StringFlag:
		return cmp.Or(f.DefaultText, f.Value)
	case *cli.PathFlag:
		return cmp.Or(f.DefaultText, f.Value)
	case *cli.IntFlag:
		if f.Value != 0 || f.DefaultText != "" {
			return cmp.Or(f.DefaultText, fmt.Sprint(f.Value))
		}
	case *cli.Float64Flag:
		if f.Value != 0 || f.DefaultText != "" {
			return cmp.Or(f.DefaultText, fmt.Sprint(f.Value))
		}
	case *cli.DurationFlag:
		if f.Value != 0 || f.DefaultText != "" {
			return cmp.Or(f.DefaultText, shortDuration(f.Value))
		}
	case *cli.BoolFlag:
		if f.Value {
			return "on"
		}
	}
	return ""
}

// names are the flag as it is typed, with what stands for its value.
func (h flagHelp) names() string {
	s := "    "
	switch {
	case h.short != "" && h.long != "":
		s = "-" + h.short + ", --" + h.long
	case h.short != "":
		s = "-" + h.short
	default:
		s += "--" + h.long
	}
	if h.value != "" {
		s += " " + h.value
	}
	return s
}

// what is what the flag does, and its default.
func (h flagHelp) what() string {
	if h.fallback == "" || strings.Contains(h.usage, "(default") {
		return h.usage
	}
	return h.usage + " (default " + h.fallback + ")"
}
