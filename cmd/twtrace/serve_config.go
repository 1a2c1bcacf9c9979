package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/sandbox"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/storm"
)

// service is what serve is to do, as its flags and settings say.
type service struct {
	speech
	churn storm.Options
	user  sandbox.User
	web   webWishes
}

// parseService checks all that can be known of a service before it starts.
func parseService(c *cli.Context) (to service, wrong []error) {
	check := func(err error) {
		if err != nil {
			wrong = append(wrong, err)
		}
	}
	var err error
	to.speech, err = parseServe(c)
	check(err)
	to.churn, err = parseStorms(c)
	check(err)
	to.user, err = parseUser(c)
	check(err)
	to.web, err = parseWeb(c)
	check(err)
	to.WebConfig = to.web.Path
	f, err := parseFilter(c)
	check(err)
	_, err = parseTracer(c, f.Filter)
	check(err)
	_, err = positive(c, "duration")
	check(err)
	check(checkBTF(c.String("btf")))
	check(checkSocket(c.String("socket")))
	return to, wrong
}

func parseUser(c *cli.Context) (sandbox.User, error) {
	u, err := sandbox.LookupUser(c.String("user"))
	if err == nil {
		err = u.Check()
	}
	if err != nil {
		return u, usagef("--user: %v", err)
	}
	return u, nil
}

func checkBTF(path string) error {
	if path == "" {
		return nil
	}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("--btf: %w", err)
	}
	if err != nil {
		return usagef("--btf: %v", err)
	}
	return f.Close()
}

// maxSocketPath is how long the kernel lets the path of a socket be.
const maxSocketPath = 107

// checkSocket checks the path of a socket. The directory of the default one is made.
func checkSocket(path string) error {
	if path == agent.DefaultSocket {
		return nil
	}
	if path == "" || len(path) > maxSocketPath {
		return usagef("--socket: bad path %q: use one of 1 to %d bytes", path, maxSocketPath)
	}
	dir, err := os.Stat(filepath.Dir(path))
	switch {
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("--socket: %w", err)
	case err != nil:
		return usagef("--socket: %v: make the directory", err)
	case !dir.IsDir():
		return usagef("--socket: %s is not a directory", filepath.Dir(path))
	}
	return nil
}

// checkService is serve --check-config: what would be in force, where that comes from, and
// what is wrong with it. It starts nothing.
func checkService(c *cli.Context) error {
	to, wrong := parseService(c)
	s := settingsOf(c)
	failed := false
	for _, err := range wrong {
		if errors.Is(err, fs.ErrPermission) {
			note(c, "not checked: %v: run it as root", err)
			continue
		}
		failed = true
		complain(c.App.ErrWriter, s.explain(c, serveVerb, err.Error()))
	}
	if err := serviceTable(c, s, to.user).Write(c.App.Writer, output.Text); err != nil {
		return err
	}
	if err := s.writeFiles(c.App.Writer, serveVerb); err != nil {
		return err
	}
	if failed {
		return &session.ExitError{Code: exitUsage}
	}
	return nil
}

const fromCommandLine = "command line"

// serviceTable has a line for each flag of serve: its value, and where that comes from.
func serviceTable(c *cli.Context, s *flagDefaults, user sandbox.User) *output.Table {
	t := output.NewTable(output.TableColumn{Name: "key", Width: 15}, output.TableColumn{Name: "value", Width: 8}, output.TableColumn{Name: "from", Width: 8})
	add := func(name, text, from string) {
		value := output.Value{}
		if text != "" {
			value = output.Prose(text)
		}
		t.Add(output.Word(name), value, output.Prose(from))
	}
	for _, f := range c.Command.Flags {
		name := f.Names()[0]
		if !sets(serveVerb, name) || name == "help" {
			continue
		}
		from := cmp.Or(s.find(serveVerb, name).from, builtIn)
		if c.IsSet(name) {
			from = fromCommandLine
		}
		text := inForce(c, f)
		if name == "user" {
			text = fmt.Sprintf("%d:%d", user.UID, user.GID)
		}
		add(name, text, from)
	}
	if words := filterWords(c); len(words) > 0 {
		add("FILTER", strings.Join(words, " "), fromCommandLine)
	}
	return t
}

// inForce is the value of a flag as text, "" where it is nothing.
func inForce(c *cli.Context, f cli.Flag) string {
	name := f.Names()[0]
	switch f.(type) {
	case *cli.BoolFlag:
		if c.Bool(name) {
			return "on"
		}
		return "off"
	case *cli.DurationFlag:
		if c.Duration(name) == 0 {
			return ""
		}
		return shortDuration(c.Duration(name))
	}
	return fmt.Sprint(c.Value(name))
}
