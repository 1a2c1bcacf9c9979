package main

import (
	"errors"
	"io"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/advice"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "the whole story of a finding; without an ID, which there are",
		ArgsUsage: "[ID]",
		Action: func(c *cli.Context) error {
			text, err := explanation(c.Args().Slice())
			if unknown := (*advice.UnknownID)(nil); errors.As(err, &unknown) {
				return usageError{err.Error()}
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
	return "", usagef("explain takes the ID of one finding, such as TW101")
}
