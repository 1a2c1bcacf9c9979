package main

import (
	"cmp"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/output"
)

func configCommand() *cli.Command {
	return &cli.Command{
		Name:  "config",
		Usage: "print the default of each flag that can be set, and where it comes from",
		Description: "A flag on the command line goes before its variable, TWTRACE_ and its name, that goes before the file\n" +
			"of the user, $XDG_CONFIG_HOME/twtrace/config.yaml, and that before " + systemSettings + ".\n\n" + examples(
			"twtrace config                    all of them",
			"TWTRACE_INTERVAL=2s twtrace       refresh every 2 s",
			"twtrace config --config my.yaml   what my.yaml would set"),
		Flags:  []cli.Flag{outputFlag("text, wide, json, csv")},
		Action: runConfig,
	}
}

// builtIn is where a default comes from that nobody has set.
const builtIn = "built in"

func runConfig(c *cli.Context) error {
	s := settingsOf(c)
	if s.err != nil {
		return s.err
	}
	format, err := output.ParseFormat(c.String("output"))
	if err != nil {
		return usagef("--output: %v", err)
	}
	if err := s.table(c.App).Write(c.App.Writer, format); err != nil {
		return err
	}
	if format != output.Text && format != output.Wide {
		return nil
	}
	return s.writeFiles(c.App.Writer, "config")
}

// writeFiles writes which files there are, and what a command ignores.
func (s *flagDefaults) writeFiles(w io.Writer, verb string) error {
	lines := []string{""}
	for _, f := range s.files {
		lines = append(lines, fmt.Sprintf("# %s: %s", f.path, cmp.Or(f.ignored, fmt.Sprintf("%d set", len(f.keys)))))
	}
	for _, line := range s.ignored {
		if name, _, _ := strings.Cut(line, ":"); !s.uses(verb, name) {
			lines = append(lines, "# ignored "+line)
		}
	}
	for i, line := range lines {
		lines[i] = string(output.Escape(nil, line))
	}
	_, err := fmt.Fprintln(w, strings.Join(lines, "\n"))
	return err
}

// table has a line for each flag, value, and where that comes from, with the commands that
// have it so.
func (s *flagDefaults) table(app *cli.App) *output.Table {
	t := output.NewTable(output.TableColumn{Name: "key", Width: 15}, output.TableColumn{Name: "value", Width: 8},
		output.TableColumn{Name: "from", Width: 8}, output.TableColumn{Name: "commands", Width: 8})
	for _, name := range slices.Concat(settable, s.ofServe()) {
		type line struct{ value, from string }
		have := make(map[line][]string)
		var order []line
		for _, cmd := range app.Commands {
			i := slices.IndexFunc(cmd.Flags, func(f cli.Flag) bool { return f.Names()[0] == name })
			if i < 0 || cmd.Hidden || !sets(cmd.Name, name) {
				continue
			}
			set := s.find(cmd.Name, name)
			l := line{defaultOf(cmd.Flags[i]), cmp.Or(set.from, builtIn)}
			if _, isBool := cmd.Flags[i].(*cli.BoolFlag); isBool {
				l.value = cmp.Or(l.value, "off")
			}
			if have[l] == nil {
				order = append(order, l)
			}
			have[l] = append(have[l], cmd.Name)
		}
		for _, l := range order {
			value := output.Value{}
			if l.value != "" {
				value = output.Prose(l.value)
			}
			t.Add(output.Word(name), value, output.Prose(l.from), output.Prose(strings.Join(have[l], ", ")))
		}
	}
	return t
}

// ofServe are the settings of serve alone that are set.
func (s *flagDefaults) ofServe() (names []string) {
	for name := range s.byVerb[serveVerb] {
		if !slices.Contains(settable, name) {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}
