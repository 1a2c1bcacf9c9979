package main

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// amid runs twtrace to its end with such settings around it.
func amid(around surroundings, args ...string) outcome {
	var stdout, stderr strings.Builder
	around.named = namedSettings(args)
	around.uid = os.Geteuid()
	code := runAmid(around, nil, append([]string{"twtrace"}, args...), &stdout, &stderr)
	return outcome{stdout.String(), stderr.String(), code}
}

// written is a file with that text.
func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	must(t, os.WriteFile(path, []byte(text), 0o644))
	return path
}

// setTo are the lines of twtrace config for a key: value, from, commands.
func setTo(o outcome, key string) (lines []string) {
	for line := range strings.Lines(o.stdout) {
		if rest, ok := strings.CutPrefix(strings.TrimSpace(line), key+","); ok {
			lines = append(lines, rest)
		}
	}
	return lines
}

// TestSettings: the command line goes before variables, these before the user's file, that
// before the host's; and what is for a command before what is for all.
func TestSettings(t *testing.T) {
	t.Parallel()
	system := written(t, "system.yaml", "interval: 9s\nutc: yes\nhooks: timer\nports:\n  interval: 8s\n  fields: [used, usable]\n")
	own := written(t, "own.yaml", "# mine\ninterval: 7s\n\nhooks: fentry\n")
	around := surroundings{system: system, own: own, environ: []string{"TWTRACE_HOOKS=auto", "TWTRACE_NO_COLOR=1", "PATH=/bin"}}
	o := amid(around, "config", "-o", "csv")
	for key, want := range map[string][]string{
		"interval":     {`7s,` + own + `:2,"top, ports, demo"`},
		"utc":          {`on,` + system + `:2,"top, trace, list, ports, storms, report, doctor, demo"`},
		"hooks":        {`auto,TWTRACE_HOOKS,"top, trace, ports, storms, record, doctor, serve, demo"`},
		"no-color":     {`on,TWTRACE_NO_COLOR,"top, doctor, demo"`},
		"fields":       {`,built in,"trace, list, storms"`, `"used,usable",` + system + `:6,ports`},
		"storm-window": {`10s,built in,"trace, storms, record, serve"`},
	} {
		if got := setTo(o, key); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q; %s", key, got, want, o.stderr)
		}
	}
	named := written(t, "named.yaml", "interval: 6s\n")
	o = amid(around, "config", "-o", "csv", "--config", named)
	if got, want := setTo(o, "interval"), `6s,`+named+`:1,"top, ports, demo"`; !slices.Equal(got, []string{want}) {
		t.Errorf("with --config: %q, want %q", got, want)
	}
	if help := amid(around, "help", "top").stdout; !strings.Contains(help, "(default 7s)") {
		t.Errorf("help does not know the default: %s", help)
	}
	text := amid(around, "config").stdout
	for _, want := range []string{"\n# " + own + ": 2 set\n", "\n# " + system + ": 5 set\n"} {
		if !strings.Contains(text, want) {
			t.Errorf("config lacks %q: %s", want, text)
		}
	}
}

// TestSettingsApply: a setting is a default, so that it conflicts with nothing, and a value
// on the command line goes before it.
func TestSettingsApply(t *testing.T) {
	t.Parallel()
	around := surroundings{environ: []string{"TWTRACE_OUTPUT=csv", "TWTRACE_HOOKS=timer", "TWTRACE_FIELDS=event"}}
	file := recordedFrom(t, played(1000, 5e9, busyClient(20)))
	if o := amid(around, "trace", "-r", file); o.code != exitOK || !strings.HasPrefix(strings.ReplaceAll(o.stdout, "\r", ""), "event\nstart\n") {
		t.Errorf("%+v", o)
	}
	if o := amid(around, "trace", "-r", file, "-o", "json", "--fields", "pid"); o.code != exitOK || !strings.Contains(o.stdout, "\n{\"pid\":4711}\n") {
		t.Errorf("%+v", o)
	}
	o := amid(around, "doctor", "-r", file)
	o.failed(t, exitDoctorUnknown, `--output: bad format "csv"; use text, json, md; --output csv comes from TWTRACE_OUTPUT (see twtrace doctor --help)`)
	// What says what a file has in it is not a default.
	if o := amid(around, "report", "-r", file); o.code != exitOK || !strings.HasPrefix(o.stdout, "<!") {
		t.Errorf("report: exit code %d, %q: %.40s", o.code, o.stderr, o.stdout)
	}
	around.environ = []string{"TWTRACE_RPORT=80", "TWTRACE_EXEC=true", "TWTRACE_UNKNOWN=1"}
	o = amid(around, "trace", "-r", file, "-o", "json")
	if want := "twtrace: ignored TWTRACE_EXEC: --exec is given on the command line only\n" +
		"twtrace: ignored TWTRACE_RPORT: filters are given on the command line only: one that nobody sees hides the culprit\n"; o.code != exitOK || o.stderr != want {
		t.Errorf("exit code %d, stderr %q, want %q", o.code, o.stderr, want)
	}
}

// TestBadSettings: each mistake is one line with the file, the line in it, and what to do.
func TestBadSettings(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"a: 1\nintervl: 2s\n":                    `:1: no key "a": the keys are after, agent, ascii, `,
		"utc: yes\nintervl: 2s\n":                `:2: no key "intervl"; did you mean interval?`,
		"trce:\n  output: json\n":                `:1: no key "trce"; did you mean trace?`,
		"trace:\n  outptu: json\n":               `:2: no key "outptu" of trace; did you mean output?`,
		"exec: reboot\n":                         `:1: "exec" is no key: --exec is given on the command line only`,
		"rport: 80\n":                            `:1: "rport" is no key: filters are given on the command line only: one that`,
		"record:\n  output: json\n":              `:2: "output" is no key: --output is given on the command line only`,
		"utc: maybe\n":                           `:1: bad value "maybe" for --utc: use true or false`,
		"\ninterval: 2\n":                        `:2: bad value "2" for --interval: use a time with its unit, such as 30s`,
		"max-conns: many\n":                      `:1: bad value "many" for --max-conns: use a number`,
		"interval:\n":                            `:1: interval has no value: write interval: VALUE, or remove the line`,
		"output: {a: b}\n":                       `:1: output takes one value: write output: VALUE`,
		"utc: yes\nutc: no\n":                    `:2: key "utc" is there twice: remove one`,
		"- utc\n":                                `:1: expected KEY: VALUE lines`,
		"utc: yes\n  interval: 2s\n":             `:2: not YAML: `,
		"a: b: c\n":                              `:1: not YAML: `,
		"interval: &a 2s\nutc: *a\n":             `:2: utc takes one value: write utc: VALUE`,
		"x: " + strings.Repeat("y", maxSettings): `has more than 65536 bytes`,
	} {
		path := written(t, "config.yaml", text)
		for verb, code := range map[string]int{"trace": exitUsage, "config": exitUsage, "doctor": exitDoctorUnknown} {
			amid(surroundings{system: path}, verb, "-o", "json").failed(t, code, want)
		}
		if o := amid(surroundings{system: path}, "help", "trace"); o.code != exitOK {
			t.Errorf("no help with %q: %+v", text, o)
		}
	}
	amid(surroundings{}, "config", "--config", "/nonexistent").failed(t, exitUsage, "--config: open /nonexistent: no such file")
}

// TestForeignSettings: a file that another user can write to is not used, which matters
// under sudo, where HOME may be that user's.
func TestForeignSettings(t *testing.T) {
	t.Parallel()
	kerneltest.RequireRoot(t)
	foreign, loose, good := written(t, "foreign.yaml", "utc: yes\n"), written(t, "loose.yaml", "utc: yes\n"), written(t, "good.yaml", "utc: yes\n")
	must(t, os.Chown(foreign, 1000, 1000))
	must(t, os.Chmod(loose, 0o664))
	for path, want := range map[string]string{
		foreign:                              "owned by uid 1000, not by root or uid 0",
		loose:                                "others than its owner can write to it: chmod go-w " + loose,
		filepath.Join(good, "x"):             "not there",
		filepath.Join(t.TempDir(), "x.yaml"): "not there",
		"/dev/null":                          "not a regular file",
		good:                                 "1 set",
	} {
		o := amid(surroundings{own: path}, "config")
		if !strings.Contains(o.stdout, fmt.Sprintf("\n# %s: %s\n", path, want)) || o.code != exitOK {
			t.Errorf("%s: want %s; %s%s", path, want, o.stdout, o.stderr)
		}
		if used := regexp.MustCompile(`(?m)\bon +` + regexp.QuoteMeta(path)).MatchString(o.stdout); used != (path == good) {
			t.Errorf("%s: used: %v", path, used)
		}
	}
}

// TestSettable: each has a flag and a line in the docs, none reads, writes, overwrites or
// runs anything, shows what may be secret, or hides connections; and no key is both a
// command and a flag.
func TestSettable(t *testing.T) {
	t.Parallel()
	page, err := os.ReadFile("../../docs/configuration.md")
	must(t, err)
	flags := verbFlags(newApp(io.Discard, io.Discard))
	for _, name := range settable {
		if !hasFlag(allFlags(flags), name) {
			t.Errorf("there is no flag --%s", name)
		}
		if slices.Contains([]string{"btf", "cmdline", "config", "exec", "force", "read", "repair", "user", "write"}, name) {
			t.Errorf("--%s is dangerous as a default", name)
		}
		if !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/configuration.md lacks %s", name)
		}
	}
	for _, f := range allFlags(flags) {
		name := f.Names()[0]
		if slices.Contains(settable, name) && describeFlag(f).category == categoryFilter {
			t.Errorf("--%s is a filter", name)
		}
		if _, ok := flags[name]; ok && slices.Contains(settable, name) {
			t.Errorf("%s is a key and a command", name)
		}
	}
}
