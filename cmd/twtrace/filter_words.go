package main

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/replay"
)

// asked is the filter that a command line describes, by flags and by words.
type asked struct {
	*filter.Filter
	named []kernel.NetNS // network namespaces that the user named, to see these alone; nil for all
}

// parseFilter returns what the flags and the words of the command line ask for.
func parseFilter(c *cli.Context) (asked, error) {
	var s spaces
	f, err := parseFilterFlags(c, &s)
	if err != nil {
		return asked{}, cmp.Or(s.failed, err)
	}
	words := filterWords(c)
	if err := notWords(c, words); err != nil {
		return asked{}, err
	}
	g, err := filterLanguage(c, &s).ParseArgs(words)
	if err == nil {
		err = f.And(g)
	}
	if err != nil {
		return asked{}, cmp.Or(s.failed, filterError("", err))
	}
	return asked{f, s.of(f)}, nil
}

// notWords is an error for what is hardly meant as a filter: a trace file, or a command.
func notWords(c *cli.Context, words []string) error {
	for i, w := range words {
		switch isFile := strings.HasSuffix(w, ".zst") || strings.HasSuffix(w, ".ndjson"); {
		case isFile && c.IsSet("read"):
			return usagef("unexpected argument %q: the names of files come before the filter", w)
		case isFile:
			return usagef("unexpected argument %q; did you mean -r %s?", w, w)
		case i == 0 && slices.Contains(verbs, w):
			return usagef("unexpected argument %q: give one command at a time; for a process of that name: comm %s", w, w)
		}
	}
	return nil
}

// filterError is a usage error, unless it is about a right that is missing: /proc's, and
// not the user's mistake.
func filterError(flag string, err error) error {
	if errors.Is(err, fs.ErrPermission) {
		return fmt.Errorf("%s%w", flag, err)
	}
	return usagef("%s%v", flag, err)
}

// filterLanguage is the language of the filter of a command: the words are its flags.
func filterLanguage(c *cli.Context, s *spaces) *filter.Language {
	l := &filter.Language{Where: c.Command.Name, Words: []string{}, NetNS: s.find}
	for _, f := range commandFlags(c) {
		l.Words = append(l.Words, f.Names()[0])
	}
	for either, one := range map[string]string{"port": "rport", "addr": "raddr"} {
		if slices.Contains(l.Words, one) {
			l.Words = append(l.Words, either)
		}
	}
	s.agent = mayReadAgent(c)
	if c.IsSet("read") {
		s.recording = func() (*replay.Files, error) { return openRecording(c) }
	}
	return l
}

// filters reports whether a command has a filter.
func filters(c *cli.Context) bool {
	return slices.ContainsFunc(commandFlags(c), func(f cli.Flag) bool { return f.Names()[0] == "netns" })
}

// filterWords are the arguments that filter. With --read they follow the names of files.
func filterWords(c *cli.Context) []string {
	if !filters(c) {
		return nil
	}
	args := c.Args().Slice()
	return args[len(fileArgs(c)):]
}

// fileArgs are the arguments that are names of files, after --read: all of those in front
// that exist or end as such names do, or all where there is no filter.
func fileArgs(c *cli.Context) []string {
	args := c.Args().Slice()
	if !filters(c) {
		return args
	}
	n := 0
	for c.IsSet("read") && n < len(args) && isTraceFile(args[n]) {
		n++
	}
	return args[:n]
}

// isTraceFile reports whether an argument names a file, and no filter.
func isTraceFile(arg string) bool {
	info, err := os.Stat(arg)
	return arg == "-" || err == nil && !info.IsDir() || strings.HasSuffix(arg, ".zst") || strings.HasSuffix(arg, ".ndjson")
}

// spaces finds network namespaces, and keeps what it found.
type spaces struct {
	recording func() (*replay.Files, error) // that has them; nil for this host
	failed    error                         // of recording
	agent     bool                          // an agent may know namespaces that are gone by now
	found     []kernel.NetNS
}

// find is the NetNS of a filter.Language.
func (s *spaces) find(spec string) (uint32, string, error) {
	if s.recording != nil {
		return s.recorded(spec)
	}
	ns, err := kernel.FindNetNS(spec)
	if inum, ok := filter.ParseInode(spec); err != nil && ok && s.agent {
		return inum, "", nil
	}
	if err != nil {
		return 0, "", err
	}
	s.found = append(s.found, ns)
	return ns.Inum, ns.Name, nil
}

// recorded finds a namespace of a recording. Where that has no name of any, a name is of
// this host.
func (s *spaces) recorded(spec string) (uint32, string, error) {
	files, err := s.recording()
	if err != nil {
		s.failed = err
		return 0, "", err
	}
	var names []string
	for inum, name := range files.NetNSNames() {
		if number, ok := filter.ParseInode(spec); name == spec && name != "" || ok && number == inum {
			return inum, name, nil
		}
		if name != "" {
			names = append(names, name)
		}
	}
	if inum, ok := filter.ParseInode(spec); ok {
		return inum, "", nil
	}
	if len(names) == 0 {
		ns, err := kernel.FindNetNS(spec)
		return ns.Inum, ns.Name, err
	}
	slices.Sort(names)
	return 0, "", filter.UnknownNetNS(spec, slices.Compact(names))
}

// of are the namespaces that f names, to see these alone; nil for all.
func (s *spaces) of(f *filter.Filter) (named []kernel.NetNS) {
	if f.Inverse || f.NetNS.Not {
		return nil
	}
	for _, ns := range s.found {
		have := slices.ContainsFunc(named, func(n kernel.NetNS) bool { return n.Inum == ns.Inum })
		if !have && slices.Contains(f.NetNS.Items, ns.Inum) {
			named = append(named, ns)
		}
	}
	return named
}
