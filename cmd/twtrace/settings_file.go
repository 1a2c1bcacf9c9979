package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"go.yaml.in/yaml/v3"
	"golang.org/x/sys/unix"
)

// systemSettings are those of the host.
const systemSettings = "/etc/twtrace/config.yaml"

// maxSettings bounds a file of settings.
const maxSettings = 64 << 10

// surroundings are where settings come from.
type surroundings struct {
	environ []string
	named   string // --config: this file alone, "" if it is not given
	system  string // of the host
	own     string // of the user, "" if there is no home
	uid     int    // who runs twtrace
}

// theseSurroundings are those of this process.
func theseSurroundings(args []string) surroundings {
	a := surroundings{environ: os.Environ(), named: namedSettings(args), system: systemSettings, uid: os.Geteuid()}
	if dir, err := os.UserConfigDir(); err == nil {
		a.own = filepath.Join(dir, "twtrace", "config.yaml")
	}
	return a
}

// namedSettings is the value of --config: it is read before the command line is, since it
// gives the defaults of that.
func namedSettings(args []string) (name string) {
	for i, arg := range args {
		if arg == "--" {
			break
		}
		if value, ok := strings.CutPrefix(arg, "--config="); ok {
			name = value
		} else if arg == "--config" && i+1 < len(args) {
			name = args[i+1]
		}
	}
	return name
}

func configFlag() cli.Flag {
	return &cli.StringFlag{Name: "config", Usage: "read defaults of flags from `FILE` only: see twtrace config"}
}

// settingsFile is a file of settings.
type settingsFile struct {
	path    string
	text    []byte
	ignored string // why it is not used, "" if it is
	keys    []key
	err     error
}

// read reads the files, the one that goes before the others first.
func (a surroundings) read() []settingsFile {
	if a.named != "" {
		f := settingsFile{path: a.named}
		if f.text, f.err = readNamed(a.named); f.err != nil {
			f.err = usagef("--config: %v", f.err)
		}
		return []settingsFile{f}
	}
	var all []settingsFile
	for _, path := range []string{a.own, a.system} {
		if path == "" {
			continue
		}
		f := settingsFile{path: path}
		f.text, f.ignored, f.err = readTrusted(path, a.uid)
		all = append(all, f)
	}
	return all
}

func readNamed(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	return readSmall(file)
}

func readSmall(file *os.File) ([]byte, error) {
	text, err := io.ReadAll(io.LimitReader(file, maxSettings+1))
	if err == nil && len(text) > maxSettings {
		err = fmt.Errorf("%s has more than %d bytes", file.Name(), maxSettings)
	}
	return text, err
}

// readTrusted reads a file that nobody named. Who runs twtrace must own it, or root, and
// nobody else may write to it: under sudo, HOME may be that of another user.
func readTrusted(path string, uid int) (text []byte, ignored string, err error) {
	file, err := os.OpenFile(path, os.O_RDONLY|unix.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ENOTDIR) {
		return nil, "not there", nil
	}
	if errors.Is(err, fs.ErrPermission) {
		return nil, "not readable for this user", nil
	}
	if err != nil {
		return nil, "", usagef("settings: %v", err)
	}
	defer file.Close()
	var stat unix.Stat_t
	if err := unix.Fstat(int(file.Fd()), &stat); err != nil {
		return nil, "", fmt.Errorf("settings: %s: %w", path, err)
	}
	switch {
	case stat.Mode&unix.S_IFMT != unix.S_IFREG:
		return nil, "not a regular file", nil
	case stat.Uid != 0 && int(stat.Uid) != uid:
		return nil, fmt.Sprintf("owned by uid %d, not by root or uid %d", stat.Uid, uid), nil
	case stat.Mode&0o022 != 0:
		return nil, "others than its owner can write to it: chmod go-w " + path, nil
	}
	if text, err = readSmall(file); err != nil {
		return nil, "", usagef("settings: %v", err)
	}
	return text, "", nil
}

var yamlLine = regexp.MustCompile(`^yaml: (?:unmarshal errors:\n *)?line (\d+): (.*)$`)

// parse reads the keys of a file: the name of a flag for all commands that have it, or the
// name of a command with keys below it.
func (f *settingsFile) parse(flags map[string][]cli.Flag) error {
	var doc yaml.Node
	if err := yaml.Unmarshal(f.text, &doc); err != nil {
		if m := yamlLine.FindStringSubmatch(err.Error()); m != nil {
			return usagef("%s:%s: not YAML: %s; write KEY: VALUE on each line", f.path, m[1], m[2])
		}
		return usagef("%s:1: not YAML: %s; write KEY: VALUE on each line", f.path, strings.TrimPrefix(err.Error(), "yaml: "))
	}
	if len(doc.Content) == 0 {
		return nil
	}
	general, special, err := f.section(flags, "", doc.Content[0])
	f.keys = append(general, special...) // what is for one command goes before what is for all
	return err
}

// section reads the keys for a command, or for all: verb is "".
func (f *settingsFile) section(flags map[string][]cli.Flag, verb string, node *yaml.Node) (general, special []key, err error) {
	if node.Kind == yaml.ScalarNode && node.Tag == "!!null" {
		return nil, nil, nil
	}
	if node.Kind != yaml.MappingNode {
		return nil, nil, f.bad(node, "expected KEY: VALUE lines")
	}
	seen := make(map[string]bool)
	for i := 0; i+1 < len(node.Content); i += 2 {
		name, value := node.Content[i], node.Content[i+1]
		if seen[name.Value] {
			return nil, nil, f.bad(name, "key %q is there twice: remove one", name.Value)
		}
		seen[name.Value] = true
		if _, ok := flags[name.Value]; ok && verb == "" {
			_, below, err := f.section(flags, name.Value, value)
			if err != nil {
				return nil, nil, err
			}
			special = append(special, below...)
			continue
		}
		if err := f.known(flags, verb, name); err != nil {
			return nil, nil, err
		}
		text, err := f.scalar(name.Value, value)
		if err != nil {
			return nil, nil, err
		}
		k := key{verb, name.Value, flagDefault{text, fmt.Sprintf("%s:%d", f.path, name.Line)}}
		if verb == "" {
			general = append(general, k)
		} else {
			special = append(special, k)
		}
	}
	return general, special, nil
}

// known is an error for a key that is no setting, or none of the command.
func (f *settingsFile) known(flags map[string][]cli.Flag, verb string, name *yaml.Node) error {
	of, names := "", settable
	if verb != "" {
		of, names = " of "+verb, nil
		for _, flag := range flags[verb] {
			if n := flag.Names()[0]; sets(verb, n) {
				names = append(names, n)
			}
		}
	}
	if slices.Contains(names, name.Value) {
		return nil
	}
	if verb == "" {
		names = slices.Concat(names, verbs)
	}
	if hasFlag(slices.Concat(flags[verb], allFlags(flags)), name.Value) && (verb == "" || hasFlag(flags[verb], name.Value)) {
		switch of := settingOfServe(flags, name.Value); {
		case verb != "" || of == notServed:
			return f.bad(name, "%q is no key: %s", name.Value, whyNot(flags, name.Value))
		case of == servedAlone:
			return f.bad(name, "%q is a key of serve: write it below %s:", name.Value, serveVerb)
		}
		return f.bad(name, "%q is no key: %s; for serve, write it below %s:", name.Value, whyNot(flags, name.Value), serveVerb)
	}
	if near := nearest(name.Value, names); near != nil {
		return f.bad(name, "no key %q%s%s", name.Value, of, didYouMean(near))
	}
	return f.bad(name, "no key %q%s: the keys are %s", name.Value, of, strings.Join(names, ", "))
}

func allFlags(flags map[string][]cli.Flag) (all []cli.Flag) {
	for _, f := range flags {
		all = append(all, f...)
	}
	return all
}

// scalar is the value of a key as text; a list becomes one with commas.
func (f *settingsFile) scalar(name string, value *yaml.Node) (string, error) {
	switch value.Kind {
	case yaml.ScalarNode:
		if value.Tag == "!!null" {
			return "", f.bad(value, "%s has no value: write %s: VALUE, or remove the line", name, name)
		}
		return value.Value, nil
	case yaml.SequenceNode:
		var items []string
		for _, item := range value.Content {
			if item.Kind != yaml.ScalarNode {
				return "", f.bad(item, "%s takes a list of words", name)
			}
			items = append(items, item.Value)
		}
		return strings.Join(items, ","), nil
	}
	return "", f.bad(value, "%s takes one value: write %s: VALUE", name, name)
}

func (f *settingsFile) bad(at *yaml.Node, format string, args ...any) error {
	return usagef("%s:%d: %s", f.path, at.Line, fmt.Sprintf(format, args...))
}
