package main

import (
	"cmp"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// mostUsed are the flags that the help of a command begins with: those that an incident
// needs, in this order.
var mostUsed = map[string][]string{
	"top":     {"netns", "read", "interval"},
	"trace":   {"rport", "pid", "output"},
	"list":    {"by", "netns", "output"},
	"ports":   {"interval", "rport", "output"},
	"storms":  {"duration", "exec", "output"},
	"record":  {"write", "duration", "ring"},
	"convert": {"read", "write", "to"},
	"report":  {"read", "write", "from"},
	"doctor":  {"window", "brief", "plan"},
	"serve":   {"past", "past-bytes", "socket"},
	"demo":    {"duration", "batch", "interval"},
}

// groups are the categories of flags in the order of the help; others follow.
var groups = []string{categoryFilter, categoryOutput, categoryFile, categoryRead, categoryLimits, categoryStorms, categoryPlan, categoryAgent, categoryTrace, ""}

func init() {
	// The only hook that the library has for a layout of one's own.
	cli.HelpPrinter = func(w io.Writer, _ string, data any) {
		switch of := data.(type) {
		case *cli.App:
			_, _ = io.WriteString(w, appHelp(of))
		case *cli.Command:
			_, _ = io.WriteString(w, commandHelp(of))
		}
	}
}

func helpCommand() *cli.Command {
	return &cli.Command{
		Name:      "help",
		Usage:     "show the help of a command",
		ArgsUsage: "[COMMAND]",
		Action: func(c *cli.Context) error {
			switch names := c.Args().Slice(); len(names) {
			case 0:
				cli.HelpPrinter(c.App.Writer, "", c.App)
				return nil
			case 1:
				if of := c.App.Command(names[0]); of != nil {
					cli.HelpPrinter(c.App.Writer, "", of)
					return nil
				}
				return unknownCommand(names[0])
			}
			return usagef("help takes one command, such as twtrace help trace")
		},
	}
}

// examplesMark divides a description from the examples.
const examplesMark = "Examples:\n\n  "

// examples are the first things that people do with a command. A line is the command, two
// spaces or more, and what it does.
func examples(lines ...string) string { return examplesMark + strings.Join(lines, "\n  ") }

// appHelp is the help of twtrace without a command.
func appHelp(app *cli.App) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", wrapped("twtrace "+app.Version+": "+app.Usage, 0, helpWidth))
	usageLines(&b, app.UsageText)
	about, tries := describe(app.Description)
	section(&b, "", about)
	section(&b, "Examples", exampleLines(tries))
	var list strings.Builder
	for _, c := range app.Commands {
		if !c.Hidden {
			list.WriteString(entry(c.Name, c.Usage, 14))
		}
	}
	section(&b, "Commands", list.String())
	first, _ := sections(app.Flags, mostUsed["top"])
	section(&b, "Most used flags of the live view", first)
	section(&b, "More", entry("twtrace help top", "all flags of the live view", 26)+
		entry("twtrace help COMMAND", "those of a command, with examples", 26))
	return strings.TrimRight(b.String(), "\n") + "\n"
}

// commandHelp is the help of a command: what it is, the flags that matter, examples,
// and then all other flags by groups.
func commandHelp(c *cli.Command) string {
	var b strings.Builder
	fmt.Fprintf(&b, "%s\n\n", wrapped("twtrace "+c.Name+": "+c.Usage, 0, helpWidth))
	first, rest := sections(c.Flags, mostUsed[c.Name])
	usage := "twtrace " + c.Name
	if first != "" || rest != nil {
		usage += " [flags]"
	}
	usageLines(&b, strings.TrimSpace(usage+" "+c.ArgsUsage))
	about, tries := describe(c.Description)
	section(&b, "", about)
	section(&b, "Most used", first)
	section(&b, "Examples", exampleLines(tries))
	for _, g := range rest {
		section(&b, g.title, g.text)
	}
	return strings.TrimRight(b.String(), "\n") + "\n"
}

func usageLines(b *strings.Builder, text string) {
	for i, line := range strings.Split(text, "\n") {
		lead := "usage: "
		if i > 0 {
			lead = "       "
		}
		b.WriteString(lead + line + "\n")
	}
	b.WriteByte('\n')
}

// section writes a part of the help, if there is any.
func section(b *strings.Builder, title, text string) {
	if text == "" {
		return
	}
	if title != "" {
		b.WriteString(title + ":\n")
	}
	b.WriteString(strings.TrimRight(text, "\n") + "\n\n")
}

// describe divides a description into paragraphs and examples.
func describe(text string) (about string, tries []string) {
	text, list, found := strings.Cut(text, examplesMark)
	if found {
		tries = strings.Split(list, "\n  ")
	}
	var paragraphs []string
	for p := range strings.SplitSeq(strings.TrimSpace(text), "\n\n") {
		if p = wrapped(p, 0, helpWidth); p != "" {
			paragraphs = append(paragraphs, p)
		}
	}
	return strings.Join(paragraphs, "\n\n"), tries
}

var exampleGap = regexp.MustCompile(` {2,}`)

// exampleLines has each example on a line, or on two where one of them is too long.
func exampleLines(tries []string) string {
	var pairs [][]string
	widest, longest := 0, 0
	for _, line := range tries {
		pair := append(exampleGap.Split(line, 2), "")
		pairs = append(pairs, pair)
		widest, longest = max(widest, len(pair[0])), max(longest, len(pair[1]))
	}
	var b strings.Builder
	for _, p := range pairs {
		if 2+widest+2+longest <= helpWidth {
			b.WriteString(entry(p[0], p[1], 2+widest+2))
		} else {
			b.WriteString("  " + p[0] + "\n      " + wrapped(p[1], 6, helpWidth) + "\n")
		}
	}
	return b.String()
}

// tuning is 1 for the limits that few people change: they go behind those that end a run.
func tuning(f cli.Flag) int {
	if slices.Contains([]string{"buffer", "max-conns"}, f.Names()[0]) {
		return 1
	}
	return 0
}

// group is a category of flags.
type group struct{ title, text string }

// sections returns the help of the flags that go first, and of all others by groups.
func sections(flags []cli.Flag, names []string) (first string, rest []group) {
	line := func(f cli.Flag) string {
		h := describeFlag(f)
		return entry(h.names(), h.what(), helpColumn)
	}
	for _, name := range names {
		if i := slices.IndexFunc(flags, func(f cli.Flag) bool { return f.Names()[0] == name }); i >= 0 {
			first += line(flags[i])
		}
	}
	flags = slices.Clone(flags)
	slices.SortStableFunc(flags, func(a, b cli.Flag) int { return tuning(a) - tuning(b) })
	text := make(map[string]string)
	titles := slices.Clone(groups)
	for _, f := range flags {
		if v, ok := f.(cli.VisibleFlag); ok && !v.IsVisible() || f == cli.HelpFlag || slices.Contains(names, f.Names()[0]) {
			continue
		}
		title := describeFlag(f).category
		if !slices.Contains(titles, title) {
			titles = append(titles, title)
		}
		text[title] += line(f)
	}
	for _, title := range titles {
		if text[title] != "" {
			rest = append(rest, group{cmp.Or(title, "Other"), text[title]})
		}
	}
	return first, rest
}

// shortDuration prints 1m0s as 1m.
func shortDuration(d time.Duration) string {
	s := d.String()
	if strings.HasSuffix(s, "m0s") {
		s = strings.TrimSuffix(s, "0s")
	}
	if strings.HasSuffix(s, "h0m") {
		s = strings.TrimSuffix(s, "0m")
	}
	return s
}
