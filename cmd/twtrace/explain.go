package main

import (
	"cmp"
	"errors"
	"io"
	"maps"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/advice"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "explain a finding; without an ID, list them all",
		ArgsUsage: "[ID]",
		Description: examples(
			"twtrace explain            list all findings",
			"twtrace explain TW101      what it is, how to prove it, what helps",
			"twtrace explain EADDRNOTAVAIL      the same for an error, or a state"),
		Action: func(c *cli.Context) error {
			text, err := explanation(c.Args().Slice())
			if unknown := (*advice.UnknownID)(nil); errors.As(err, &unknown) {
				return unknownFinding(c.Args().First(), unknown)
			}
			if err != nil {
				return err
			}
			_, err = io.WriteString(c.App.Writer, text)
			return err
		},
	}
}

func explanation(ids []string) (string, error) {
	switch len(ids) {
	case 0:
		return advice.Explanations()
	case 1:
		return advice.Explain(ids[0])
	}
	return "", usagef("explain takes one ID, such as TW101")
}

// unknownFinding is the error for a word that is no ID: with the findings whose pages have
// that word, those that have it in their titles or most often first, or the nearest ID.
func unknownFinding(typed string, unknown *advice.UnknownID) error {
	word := strings.ToLower(strings.TrimSpace(typed))
	if len(word) < 3 || strings.Trim(word, "0123456789") == "" {
		return usageError{unknown.Error()}
	}
	hits := make(map[string]int)
	for _, f := range findings() {
		id := f.word
		page, err := advice.Explain(id)
		if err != nil {
			return err
		}
		title, _, _ := strings.Cut(page, "\n")
		if n := strings.Count(strings.ToLower(page), word) + 100*strings.Count(strings.ToLower(title), word); n > 0 {
			hits[id] = n
		}
	}
	ids := slices.SortedFunc(maps.Keys(hits), func(a, b string) int {
		return cmp.Or(hits[b]-hits[a], strings.Compare(a, b))
	})
	if len(ids) == 0 {
		return usageError{unknown.Error()}
	}
	return usagef("no finding %q; that word is on the pages of %s: try twtrace explain %s", typed,
		enumerated(ids[:min(len(ids), mostOffered)], "and"), ids[0])
}

// findings are the IDs and titles of what explain knows.
func findings() (all []offer) {
	list, err := advice.Explanations()
	if err != nil {
		return nil
	}
	for line := range strings.Lines(list) {
		id, title, _ := strings.Cut(strings.TrimSpace(line), " ")
		all = append(all, offer{id, strings.TrimSpace(title)})
	}
	return all
}
