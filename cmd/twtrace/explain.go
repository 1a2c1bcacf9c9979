package main

import (
	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/advice"
)

func explainCommand() *cli.Command {
	return &cli.Command{
		Name:      "explain",
		Usage:     "the whole story of a finding",
		ArgsUsage: "ID",
		Action: func(c *cli.Context) error {
			if c.Args().Len() != 1 {
				return usagef("explain takes the ID of a finding, such as TW101")
			}
			text, err := advice.Explain(c.Args().First())
			if err != nil {
				return usageError{err.Error()}
			}
			_, err = c.App.Writer.Write([]byte(text))
			return err
		},
	}
}
