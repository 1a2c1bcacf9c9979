package main

import (
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/kernel"
)

func doctorCommand() *cli.Command {
	return &cli.Command{
		Name:  "doctor",
		Usage: "say what is wrong with ports and TIME_WAIT, and what helps",
		Description: "Exit code: 0 ok, 1 warning, 2 critical, 3 unknown or usage, as monitoring plugins have it.\n" +
			"It looks at /proc and sock_diag, as any user, and does not trace: owners are not known.",
		Flags: []cli.Flag{
			&cli.BoolFlag{Name: "no-bpf", Usage: "do not trace (so far it never does)", Category: categoryTrace},
			&cli.StringFlag{Name: "netns", Aliases: []string{"N"}, Usage: "network namespace: `NAME`, inode, path or pid:N (default: this one)", Category: categoryFilter},
			&cli.DurationFlag{Name: "window", Value: time.Second, Usage: "watch the counters for `TIME`", Category: categoryTrace},
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "text", Usage: "`FORMAT`: text, json", Category: categoryOutput},
		},
		Action: runDoctor,
	}
}

func runDoctor(c *cli.Context) error {
	format := c.String("output")
	if format != "text" && format != "json" {
		return usagef("--output: bad format %q: it is text or json", format)
	}
	window, err := positive(c, "window")
	if err != nil {
		return err
	}
	ns, err := kernel.CurrentNetNS()
	if c.IsSet("netns") {
		ns, err = kernel.FindNetNS(c.String("netns"))
	}
	if err != nil {
		return exitError{exitDoctorUnknown, err.Error()}
	}
	facts, err := advice.Look(c.Context, ns, window)
	if err != nil {
		return exitError{exitDoctorUnknown, err.Error()}
	}
	report := advice.Report{Version: version, Facts: facts, Findings: advice.Diagnose(facts)}
	write := advice.WriteText
	if format == "json" {
		write = advice.WriteJSON
	}
	if err := write(c.App.Writer, report); err != nil {
		return err
	}
	if code := report.ExitCode(); code != 0 {
		return exitError{code: code}
	}
	return nil
}

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
