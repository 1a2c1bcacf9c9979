package main

import (
	"embed"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// completionScripts have a function for each shell that asks the hidden command
// __complete: what it offers is what this version has.
//
//go:embed completion
var completionScripts embed.FS

var shells = []string{"bash", "zsh", "fish"}

func completionCommand() *cli.Command {
	return &cli.Command{
		Name:      "completion",
		Usage:     "print the script that has a shell complete commands, flags and values",
		ArgsUsage: "bash|zsh|fish",
		Description: examples(
			"source <(twtrace completion bash)      for this session",
			"twtrace completion bash > /etc/bash_completion.d/twtrace      for all",
			"twtrace completion fish > ~/.config/fish/completions/twtrace.fish      the same for fish"),
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 || !slices.Contains(shells, c.Args().First()) {
				return usagef("completion takes the name of a shell: bash, zsh or fish; for example twtrace completion bash")
			}
			script, err := completionScripts.ReadFile("completion/" + c.Args().First())
			if err != nil {
				return err
			}
			_, err = c.App.Writer.Write(script)
			return err
		},
	}
}

// completeVerb is what the scripts ask.
const completeVerb = "__complete"

func completeCommand() *cli.Command {
	return &cli.Command{
		Name:            completeVerb,
		Hidden:          true,
		SkipFlagParsing: true,
		ArgsUsage:       "WORD...",
		Action: func(c *cli.Context) error {
			return completeWords(c.App, c.Args().Slice()).write(c.App.Writer)
		},
	}
}

// completion is what a shell offers in the place of the last word.
type completion struct {
	words   []offer
	files   bool // the names of files, which the shell knows better
	nospace bool // more of the word follows
}

// offer is a word, and what it means.
type offer struct{ word, means string }

// write prints a line for each word, with a tab before what it means. Lines with a colon
// say how the shell goes on.
func (o completion) write(w io.Writer) error {
	var b strings.Builder
	if o.files {
		b.WriteString(":files\n")
	}
	if o.nospace {
		b.WriteString(":nospace\n")
	}
	for _, x := range o.words {
		b.WriteString(x.word)
		if x.means != "" {
			b.WriteString("\t" + x.means)
		}
		b.WriteByte('\n')
	}
	_, err := io.WriteString(w, b.String())
	return err
}

// beginning keeps the words that begin with typed.
func (o completion) beginning(typed string) completion {
	o.words = slices.DeleteFunc(o.words, func(x offer) bool { return !strings.HasPrefix(x.word, typed) })
	return o
}

// completeWords offers what the last of words may become.
func completeWords(app *cli.App, words []string) completion {
	if len(words) == 0 {
		words = []string{""}
	}
	before, typed := words[:len(words)-1], words[len(words)-1]
	if slices.Contains(before, "--") {
		return completion{files: true} // the command to trace
	}
	verb, flags := "", app.Flags
	var wants cli.Flag // the flag whose value typed is
	for _, word := range before {
		switch {
		case wants != nil:
			wants = nil
		case strings.HasPrefix(word, "-"):
			if takesNext(flags, word) {
				wants = flagOf(flags, word)
			}
		case verb == "":
			if cmd := app.Command(word); cmd != nil {
				verb, flags = word, cmd.Flags
			}
		}
	}
	name, value, assigned := strings.Cut(typed, "=")
	switch {
	case wants != nil:
		return values(verb, wants, typed)
	case assigned && strings.HasPrefix(name, "--") && flagOf(flags, name) != nil:
		o := values(verb, flagOf(flags, name), value)
		for i := range o.words {
			o.words[i].word = name + "=" + o.words[i].word
		}
		return o
	case strings.HasPrefix(typed, "-"):
		return flagOffers(flags).beginning(typed)
	case verb == "":
		return commandOffers(app).beginning(typed)
	}
	return arguments(app, verb, flags, before).beginning(typed)
}

func flagOf(flags []cli.Flag, typed string) cli.Flag {
	name := strings.TrimLeft(typed, "-")
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	if i < 0 {
		return nil
	}
	return flags[i]
}

func commandOffers(app *cli.App) (o completion) {
	for _, c := range app.Commands {
		if !c.Hidden {
			o.words = append(o.words, offer{c.Name, c.Usage})
		}
	}
	return o
}

func flagOffers(flags []cli.Flag) (o completion) {
	for _, f := range flags {
		h := describeFlag(f)
		if h.long != "" {
			o.words = append(o.words, offer{"--" + h.long, h.usage})
		}
		if h.short != "" {
			o.words = append(o.words, offer{"-" + h.short, h.usage})
		}
	}
	return o
}

// arguments offers what a command takes beside flags.
func arguments(app *cli.App, verb string, flags []cli.Flag, before []string) (o completion) {
	switch verb {
	case "explain":
		return completion{words: findings()}
	case "help":
		return commandOffers(app)
	case "agent":
		return completion{words: []offer{{"status", "what it has, and how it is doing"}, {"save", "its past, to a file"}}}
	case "completion":
		for _, s := range shells {
			o.words = append(o.words, offer{s, ""})
		}
		return o
	case "convert":
		return completion{files: true}
	}
	last := ""
	if len(before) > 0 {
		last = before[len(before)-1]
	}
	if f := flagOf(flags, last); f != nil && !strings.HasPrefix(last, "-") && describeFlag(f).category == categoryFilter {
		return values(verb, f, "") // the word of a filter
	}
	for _, f := range flags {
		if h := describeFlag(f); h.category == categoryFilter && h.long != "" && h.value != "" {
			o.words = append(o.words, offer{h.long, h.usage})
		}
	}
	o.files = hasFlag(flags, "read") && slices.ContainsFunc(before, func(s string) bool { return s == "-r" || s == "--read" })
	return o
}
