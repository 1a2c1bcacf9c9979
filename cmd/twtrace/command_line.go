package main

import (
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// jobVerbs run a command, which follows "--".
var jobVerbs = []string{"trace", "record"}

// arrange puts the flags of a command line before its other arguments: the library stops
// at the first argument that is no flag, and would ignore the flags behind it. job is the
// command that follows "--", nil if none does.
func arrange(app *cli.App, args []string) (arranged, job []string) {
	if len(args) == 0 || len(args) > 1 && args[1] == completeVerb { // its words are those of another command line
		return args, nil
	}
	flags := app.Flags
	var front, back []string
	verb := ""
	for rest := args[1:]; len(rest) > 0; {
		arg := rest[0]
		rest = rest[1:]
		switch {
		case arg == "--" && slices.Contains(jobVerbs, verb):
			job, rest = rest, nil
		case arg == "--":
			back, rest = append(back, rest...), nil
		case len(arg) > 1 && arg[0] == '-':
			front = append(front, arg)
			if takesNext(flags, arg) && len(rest) > 0 {
				front, rest = append(front, rest[0]), rest[1:]
			}
		case verb == "" && len(back) == 0 && app.Command(arg) != nil:
			verb, flags = arg, app.Command(arg).Flags
			front = append([]string{arg}, front...) // the flags in front of it are its own too
		default:
			back = append(back, arg)
		}
	}
	arranged = append([]string{args[0]}, front...)
	if slices.ContainsFunc(back, func(s string) bool { return strings.HasPrefix(s, "-") && s != "-" }) {
		arranged = append(arranged, "--")
	}
	return append(arranged, back...), job
}

// takesNext reports whether the value of a flag is the next argument.
func takesNext(flags []cli.Flag, arg string) bool {
	name := strings.TrimPrefix(strings.TrimPrefix(arg, "-"), "-")
	for _, f := range flags {
		if _, isBool := f.(*cli.BoolFlag); slices.Contains(f.Names(), name) {
			return !isBool
		}
	}
	return false // unknown, or with its value behind a "="
}
