package main

import (
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/tracer"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "can this host be traced, by which hooks, and what would be missing",
		Description: "Exit code: 0 it can, 3 it cannot, and what is missing stands in the table. " + examples(
			"twtrace check                       as this user",
			"twtrace check -o json               for a script, an object a line"),
		Flags: []cli.Flag{
			outputFlag("text, wide, json, csv"),
			&cli.StringFlag{Name: "btf", Usage: "kernel types from `FILE` (default: the running kernel's)", Category: categoryTrace},
		},
		Action: runCheck,
	}
}

// runCheck prints a line for each requirement and each hook, and exits 3 if a
// trace would not start.
func runCheck(c *cli.Context) error {
	opts, err := parseOutput(c)
	if err != nil {
		return err
	}
	reqs, hooks, failed := tracer.Check(tracer.Options{BTF: c.String("btf")})
	table := output.NewTable(
		output.TableColumn{Name: "status", Width: 6},
		output.TableColumn{Name: "check", Width: 40},
		output.TableColumn{Name: "detail", Width: 10},
	)
	refused := make(map[string]bool)
	for _, r := range reqs {
		status, detail := "ok", output.Value{}
		if r.Err != nil {
			refused[r.Name] = true
			status, detail = "FAIL", output.Prose(r.Err.Error())
			if failed == nil {
				status = "warn" // there is another way
			}
		}
		table.Add(output.Word(status), output.Prose(r.Name), detail)
	}
	for _, h := range hooks {
		status, detail := "ok", h.Tells
		switch {
		case h.Err == nil:
		case failed == nil && refused["hook set "+string(h.Set)]:
			status, detail = "unused", h.Err.Error()
		default:
			status, detail = "warn", fmt.Sprintf("%v: %s", h.Err, h.Without)
			if h.Needed {
				status = "FAIL"
			}
		}
		table.Add(output.Word(status), output.Prose(h.Name+" on "+h.Target), output.Prose(detail))
	}
	if failed == nil {
		for _, l := range tracer.Lacks() {
			table.Add(output.Word("warn"), output.Word("capabilities"), output.Prose(l))
		}
	}
	if opts.Format == output.Text {
		host, err := kernel.ThisHost()
		if err != nil {
			return err
		}
		fmt.Fprintf(c.App.Writer, "twtrace %s on %s, Linux %s %s\n\n", version,
			output.Escape(nil, host.Hostname), host.Release, host.Machine)
	}
	if err := table.Write(c.App.Writer, opts.Format); err != nil {
		return err
	}
	return failed
}
