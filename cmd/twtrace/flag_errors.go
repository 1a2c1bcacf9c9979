package main

import (
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
)

// onUsageError keeps the library from printing its help to stdout, and words
// what the standard library's flag package says. That has no types to tell by.
func onUsageError(c *cli.Context, err error, _ bool) error {
	msg := wordFlagError(c, err.Error())
	if c.Command.Name == c.App.Name {
		return verbError{"top", usageError{msg}}
	}
	return verbError{c.Command.Name, usageError{msg}}
}

// The flag package's own words, up to the flag's name.
var (
	unknownFlag = regexp.MustCompile(`^flag provided but not defined: -(.+)$`)
	noArgument  = regexp.MustCompile(`^flag needs an argument: -(.+)$`)
	badValue    = regexp.MustCompile(`^invalid (?:boolean )?value (".*") for (?:flag )?-([^ :]+): .*$`)
)

// wordFlagError names the flag as it is typed, and says what to do.
func wordFlagError(c *cli.Context, msg string) string {
	if m := unknownFlag.FindStringSubmatch(msg); m != nil {
		return "unknown flag " + asTyped(c, m[1]) + hintFlag(c, m[1])
	}
	if m := noArgument.FindStringSubmatch(msg); m != nil {
		return dashed(m[1]) + " requires a value: use " + takes(c, m[1])
	}
	if m := badValue.FindStringSubmatch(msg); m != nil {
		return dashed(m[2]) + ": bad value " + m[1] + ": use " + takes(c, m[2])
	}
	return msg
}

// dashed returns a flag's name as people type it.
func dashed(name string) string {
	if len(name) == 1 {
		return "-" + name
	}
	return "--" + name
}

// commandFlags are those of the command that c runs.
func commandFlags(c *cli.Context) []cli.Flag {
	if c.Command.Name == c.App.Name {
		return c.App.Flags
	}
	return c.Command.Flags
}

// takes says what the flag of that name takes.
func takes(c *cli.Context, name string) string {
	for _, f := range commandFlags(c) {
		if !slices.Contains(f.Names(), name) {
			continue
		}
		switch f.(type) {
		case *cli.DurationFlag:
			return "a time with its unit, such as 30s"
		case *cli.BoolFlag:
			return dashed(name) + " without a value"
		case *cli.StringFlag, *cli.StringSliceFlag:
			return strings.TrimSpace(dashed(name) + " " + describeFlag(f).value)
		}
	}
	return "a number"
}
