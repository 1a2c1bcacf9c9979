package main

import (
	"cmp"
	"fmt"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/tracer"
)

func checkCommand() *cli.Command {
	return &cli.Command{
		Name:  "check",
		Usage: "check whether this host can be traced, with which hooks, and what would be missing",
		Description: "Exit code: 0 if it can be traced, 3 if not; the table shows what is missing. " + examples(
			"twtrace check                       check with the rights of this user",
			"twtrace check -o json               for a script, one JSON object per line"),
		Flags: []cli.Flag{
			outputFlag("text, wide, json, csv"),
			&cli.StringFlag{Name: "btf", Usage: "read kernel types from `FILE` (default: the running kernel's)", Category: categoryTrace},
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
	reqs, hooks, missing, failed := tracer.CheckMissing(tracer.Options{BTF: c.String("btf")})
	var lacks []string
	if failed == nil {
		lacks = tracer.Lacks()
	}
	lines := checkLines(reqs, hooks, failed != nil, lacks)
	if opts.Format == output.Text {
		host, err := kernel.ThisHost()
		if err != nil {
			return err
		}
		width := textWidth(c)
		missing = append(missing, lacks...)
		fmt.Fprintf(c.App.Writer, "%s\ntwtrace %s on %s, Linux %s %s\n\n", checkHead(checkSentence(reqs, missing, failed), missing, width),
			version, output.Escape(nil, host.Hostname), host.Release, host.Machine)
		if width > 0 {
			return cmp.Or(writeChecks(c.App.Writer, lines, width), failed)
		}
	}
	return cmp.Or(checkTable(lines).Write(c.App.Writer, opts.Format), failed)
}

// checkTable has the lines as a table.
func checkTable(lines []checkLine) *output.Table {
	table := output.NewTable(
		output.TableColumn{Name: "status", Width: 6},
		output.TableColumn{Name: "check", Width: 40},
		output.TableColumn{Name: "detail", Width: 10},
	)
	for _, l := range lines {
		detail := output.Value{}
		if l.detail != "" {
			detail = output.Prose(l.detail)
		}
		table.Add(output.Word(l.status), output.Prose(l.check), detail)
	}
	return table
}

// checkLines are a line for each requirement, each hook, and each right that is lacking.
// Where not all has failed, there is another way around a requirement.
func checkLines(reqs []tracer.Requirement, hooks []tracer.Hook, failed bool, lacks []string) (lines []checkLine) {
	refused := make(map[string]bool)
	for _, r := range reqs {
		l := checkLine{status: checkOK, check: r.Name}
		if r.Err != nil {
			refused[r.Name] = true
			l.status, l.detail = checkWarn, r.Err.Error()
			if failed {
				l.status = checkFail
			}
		}
		lines = append(lines, l)
	}
	for _, h := range hooks {
		l := checkLine{checkOK, h.Name + " on " + h.Target, h.Shows}
		switch {
		case h.Err == nil:
		case !failed && refused["hook set "+string(h.Set)]:
			l.status, l.detail = checkUnused, h.Err.Error()
		default:
			l.status, l.detail = checkWarn, fmt.Sprintf("%v: %s", h.Err, h.Without)
			if h.Needed {
				l.status = checkFail
			}
		}
		lines = append(lines, l)
	}
	for _, l := range lacks {
		lines = append(lines, checkLine{checkWarn, "capabilities", l})
	}
	return lines
}
