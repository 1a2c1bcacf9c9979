package main

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
)

// flagDefault is the value of a flag that a file or a variable sets: its setting. The one
// on the command line goes before it.
type flagDefault struct {
	value string
	from  string // the variable, or the file and its line
}

// variablePrefix and the name of a flag, in capitals and with _ for -, are a variable.
const variablePrefix = "TWTRACE_"

// variableOf is the variable for a flag.
func variableOf(flag string) string {
	return variablePrefix + strings.ToUpper(strings.ReplaceAll(flag, "-", "_"))
}

// settable are the flags that have a setting: how things look, and how a trace is made.
// What a run does is on its command line alone: which connections it shows, since a filter
// that nobody sees hides the culprit; which files it reads, writes and overwrites; which
// commands it runs; and what it shows that may be secret.
var settable = []string{
	"after", "agent", "ascii", "buffer", "by", "fail-on", "fields", "file-size", "header", "hooks", "interval",
	"lines", "max-conns", "max-readers", "min-free", "no-bpf", "no-color", "no-header", "no-mouse", "output", "past", "past-bytes", "preserve-screen", "redact", "rotate",
	"short-lived", "snapshot", "storm-rate", "storm-window", "strict", "syscalls", "utc", "window",
}

// outputIsContent are commands whose --output says what is in a file.
var outputIsContent = []string{"record", "report"}

// serveVerb is the command that takes all of its flags from settings: whoever starts it is
// a file too, and what reads it says what it traces.
const serveVerb = "serve"

// notOfService are the flags of serve that say where settings are, and are none.
var notOfService = []string{"config", "check-config"}

// sets tells whether a flag of a command has a setting.
func sets(verb, flag string) bool {
	if verb == serveVerb {
		return !slices.Contains(notOfService, flag)
	}
	return slices.Contains(settable, flag) && !slices.Contains(withoutSettings, verb) && !(flag == "output" && slices.Contains(outputIsContent, verb))
}

// flagDefaults are all of them, for a command and a flag.
type flagDefaults struct {
	byVerb  map[string]map[string]flagDefault
	files   []settingsFile // in the order in which they go before each other
	ignored []string       // variables that are no setting, and why
	err     error          // why they cannot be used
}

// find returns the setting of a flag; where there is none, from is "".
func (s *flagDefaults) find(verb, flag string) flagDefault { return s.byVerb[verb][flag] }

// verbFlags are the flags of each command; those of twtrace alone are those of top.
func verbFlags(app *cli.App) map[string][]cli.Flag {
	all := make(map[string][]cli.Flag)
	for _, c := range app.Commands {
		if !slices.Contains(settable, c.Name) { // agent is a key, and what that command does is on its command line
			all[c.Name] = c.Flags
		}
	}
	return all
}

// readSettings reads all that is set around a run.
func readSettings(app *cli.App, around surroundings) *flagDefaults {
	s := &flagDefaults{byVerb: make(map[string]map[string]flagDefault)}
	flags := verbFlags(app)
	s.files = around.read()
	// The last one wins: files, from the least to the most personal, and then variables.
	for i := len(s.files) - 1; i >= 0; i-- {
		f := &s.files[i]
		if f.err == nil && f.ignored == "" {
			f.err = f.parse(flags)
		}
		if f.err != nil {
			s.err = cmp.Or(s.err, f.err)
			continue
		}
		for _, k := range f.keys {
			s.add(flags, k)
		}
	}
	s.readVariables(flags, around.environ)
	for _, verb := range verbs {
		s.apply(verb, flags[verb])
	}
	s.apply("top", app.Flags)
	return s
}

// apply makes the settings of a command the defaults of its flags.
func (s *flagDefaults) apply(verb string, flags []cli.Flag) {
	for _, f := range flags {
		if set := s.find(verb, f.Names()[0]); set.from != "" {
			s.err = cmp.Or(s.err, setDefault(f, set))
		}
	}
}

// key is what a file or a variable sets, for one command or for all that have the flag.
type key struct {
	verb, flag string // verb is "" for all
	flagDefault
}

// add has a key go before what is set already.
func (s *flagDefaults) add(flags map[string][]cli.Flag, k key) {
	for verb, all := range flags {
		if k.verb != "" && k.verb != verb || !sets(verb, k.flag) || !hasFlag(all, k.flag) {
			continue
		}
		if s.byVerb[verb] == nil {
			s.byVerb[verb] = make(map[string]flagDefault)
		}
		s.byVerb[verb][k.flag] = k.flagDefault
	}
}

func hasFlag(flags []cli.Flag, name string) bool {
	return slices.ContainsFunc(flags, func(f cli.Flag) bool { return f.Names()[0] == name })
}

// readVariables reads the variables, which go before files.
func (s *flagDefaults) readVariables(flags map[string][]cli.Flag, environ []string) {
	for _, e := range environ {
		name, value, _ := strings.Cut(e, "=")
		if !strings.HasPrefix(name, variablePrefix) {
			continue
		}
		flag := strings.ToLower(strings.ReplaceAll(strings.TrimPrefix(name, variablePrefix), "_", "-"))
		k := key{flag: flag, flagDefault: flagDefault{value, name}}
		if slices.Contains(settable, flag) && name == variableOf(flag) {
			s.add(flags, k)
			continue
		}
		if of := settingOfServe(flags, flag); of != notServed && name == variableOf(flag) {
			k.verb = serveVerb
			if s.add(flags, k); of == servedAlone {
				continue
			}
		}
		s.ignored = append(s.ignored, name+": "+whyNot(flags, flag))
	}
	slices.Sort(s.ignored)
}

// servedBy says whose flag of serve a name is.
type servedBy int

const (
	notServed   servedBy = iota // it is none, or has no setting
	servedAlone                 // no other command has it
	servedToo                   // others have it, and take it from the command line only
)

// settingOfServe says whether a name that is in no list of settings is one of serve.
func settingOfServe(flags map[string][]cli.Flag, name string) servedBy {
	if !hasFlag(flags[serveVerb], name) || !sets(serveVerb, name) {
		return notServed
	}
	for verb, all := range flags {
		if verb != serveVerb && hasFlag(all, name) {
			return servedToo
		}
	}
	return servedAlone
}

const onCommandLine = "given on the command line only"

// whyNot says why a name is no setting, and what to do.
func whyNot(flags map[string][]cli.Flag, name string) string {
	for _, all := range flags {
		for _, f := range all {
			if f.Names()[0] != name {
				continue
			}
			if describeFlag(f).category == categoryFilter {
				return "filters are " + onCommandLine + ": one that nobody sees hides the culprit"
			}
			return "--" + name + " is " + onCommandLine
		}
	}
	if near := nearest(name, settable); near != nil {
		return "no flag " + dashed(name) + didYouMean(near)
	}
	return "no flag " + dashed(name) + "; twtrace config lists what can be set"
}

// setDefault makes a setting the default of a flag.
func setDefault(f cli.Flag, s flagDefault) error {
	bad := func(use string) error {
		return usagef("%s: bad value %q for --%s: use %s", s.from, s.value, f.Names()[0], use)
	}
	switch f := f.(type) {
	case *cli.StringFlag:
		f.Value = s.value
	case *cli.PathFlag:
		f.Value = s.value
	case *cli.BoolFlag:
		switch strings.ToLower(s.value) {
		case "true", "yes", "on", "1":
			f.Value = true
		case "false", "no", "off", "0", "":
			f.Value = false
		default:
			return bad("true or false")
		}
	case *cli.DurationFlag:
		d, err := time.ParseDuration(s.value)
		if err != nil {
			return bad("a time with its unit, such as 30s")
		}
		f.Value = d
	case *cli.IntFlag:
		n, err := strconv.Atoi(s.value)
		if err != nil {
			return bad("a number")
		}
		f.Value = n
	case *cli.Float64Flag:
		n, err := strconv.ParseFloat(s.value, 64)
		if err != nil {
			return bad("a number")
		}
		f.Value = n
	default:
		return usagef("%s: --%s is %s", s.from, f.Names()[0], onCommandLine)
	}
	return nil
}

// settingsOf are those of the run.
func settingsOf(c *cli.Context) *flagDefaults {
	s, _ := c.App.Metadata[metaSettings].(*flagDefaults)
	return s
}

// explain adds to the message of a usage error where the values come from that it names,
// where they are not on the command line.
func (s *flagDefaults) explain(c *cli.Context, verb, msg string) string {
	for _, f := range commandFlags(c) {
		name := f.Names()[0]
		set := s.find(verb, name)
		if set.from == "" || c.IsSet(name) || strings.Contains(msg, set.from) {
			continue
		}
		for _, n := range f.Names() {
			if regexp.MustCompile(`(^|[ (])` + dashed(n) + `([ :,;.)]|$)`).MatchString(msg) {
				msg += fmt.Sprintf("; --%s %s comes from %s", name, set.value, set.from)
				break
			}
		}
	}
	return msg
}

// withoutSettings are the commands that work whatever the files have: they help to mend them.
var withoutSettings = []string{"agent", "help", "version", "completion", completeVerb, "config", "explain"}

// uses reports whether a command takes a setting from a variable.
func (s *flagDefaults) uses(verb, variable string) bool {
	for _, set := range s.byVerb[verb] {
		if set.from == variable {
			return true
		}
	}
	return false
}

// usable is the error that keeps a command from its settings. Variables that name a flag
// and set nothing are reported: whoever set them believes that they do.
func (s *flagDefaults) usable(c *cli.Context, verb string) error {
	if slices.Contains(withoutSettings, verb) {
		return nil
	}
	for _, line := range s.ignored {
		if name, _, _ := strings.Cut(line, ":"); s.uses(verb, name) {
			continue
		}
		if strings.HasSuffix(line, onCommandLine) || strings.Contains(line, onCommandLine+":") {
			note(c, "ignored %s", line)
		}
	}
	return s.err
}
