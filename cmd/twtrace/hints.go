package main

import (
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"github.com/xrash/smetrics"
)

// meant is what people look for who type the flag of another tool, or of another command
// of this one: our flags, and a value for them, the likeliest first. Those are offered that
// the command has.
var meant = map[string][]string{
	"P": {"rport", "lport", "port PORT"}, "port": {"rport", "lport", "port PORT"}, "ports": {"rport", "lport", "port PORT"},
	"dport": {"rport"}, "dest-port": {"rport"}, "remote-port": {"rport"}, "peer-port": {"rport"},
	"sport": {"lport"}, "src-port": {"lport"}, "local-port": {"lport"}, "listen": {"lport"},
	"addr": {"raddr", "laddr", "addr CIDR"}, "address": {"raddr", "laddr", "addr CIDR"}, "host": {"raddr", "laddr", "addr CIDR"}, "ip": {"raddr", "laddr", "addr CIDR"},
	"daddr": {"raddr"}, "dest": {"raddr"}, "dst": {"raddr"}, "peer": {"raddr"}, "remote": {"raddr"},
	"saddr": {"laddr"}, "source": {"laddr"}, "src": {"laddr"}, "local": {"laddr"},
	"cmd": {"comm"}, "command": {"comm"}, "name": {"comm"}, "process": {"comm", "pid"}, "program": {"comm", "exe"}, "tgid": {"pid"},
	"user": {"uid"}, "ppid": {"parent"}, "service": {"unit"}, "container-id": {"container"},
	"namespace": {"netns", "pod"}, "net": {"netns"}, "ns": {"netns"}, "n": {"count", "netns"},
	"json": {"output json"}, "csv": {"output csv"}, "html": {"output html"}, "md": {"output md"}, "markdown": {"output md"},
	"parquet": {"to parquet"}, "wide": {"output wide"}, "xml": {"output json"}, "yaml": {"output json"}, "format": {"output", "to"}, "f": {"read", "output"},
	"state": {"states all"}, "all-states": {"states all"}, "events": {"event"}, "type": {"event"}, "reasons": {"reason"},
	"limit": {"count", "lines"}, "max": {"count", "lines"}, "n-lines": {"lines"}, "head": {"count", "lines"}, "num": {"count"},
	"duration": {"window", "count"}, "time": {"duration", "window"}, "timeout": {"duration", "window"}, "t": {"duration", "window"}, "d": {"duration", "window", "interval"},
	"window": {"duration", "interval"}, "seconds": {"duration", "window"}, "refresh": {"interval"}, "delay": {"interval"}, "watch": {"interval"}, "every": {"interval", "rotate"},
	"output": {"to"}, "group": {"by"}, "group-by": {"by"}, "top": {"count", "lines"}, "columns": {"fields"}, "cols": {"fields"},
	"file": {"read", "write"}, "input": {"read"}, "replay": {"read"}, "in": {"read"},
	"out": {"write", "output"}, "output-file": {"write"}, "save": {"write"}, "since": {"from"}, "start": {"from"}, "until": {"to"}, "end": {"to"},
	"size": {"file-size", "buffer"}, "quiet": {"brief", "summary"}, "q": {"brief", "summary"}, "short": {"brief"}, "ipv4": {"4"}, "ipv6": {"6"}, "inet6": {"6"},
	"colour": {"no-color"}, "color": {"no-color"}, "no-colour": {"no-color"}, "plain": {"batch", "no-color"}, "once": {"count 1"}, "overwrite": {"force"}, "yes": {"force"}, "anonymize": {"redact"},
	"args": {"cmdline"}, "exec-cmd": {"exec"}, "on-storm": {"exec"}, "children": {"follow"}, "ebpf": {"hooks"}, "no-ebpf": {"no-bpf"}, "user-mode": {"no-bpf"},
}

// mostOffered bounds what a hint offers: more is a list, which --help has.
const mostOffered = 3

// hintFlag offers flags for one that the command does not have, "" if none is near.
func hintFlag(c *cli.Context, typed string) string {
	flags := commandFlags(c)
	if typed == "sort" && offered(flags, "batch") != "" {
		return "; the key s sorts the live view, and its default is the worst first; did you mean --by (what a row is)?"
	}
	if offers := foreign(flags, typed); offers != nil {
		return didYouMean(offers)
	}
	if offer := attachedValue(flags, typed); offer != "" && !strings.HasPrefix(asTyped(c, typed), "--") {
		return didYouMean([]string{offer})
	}
	if verbs := havers(c.App, typed); verbs != nil {
		return "; " + dashed(typed) + " is a flag of " + enumerated(verbs, "and")
	}
	var offers []string
	for _, name := range nearest(typed, flagNames(flags)) {
		if offer := offered(flags, name); !slices.Contains(offers, offer) {
			offers = append(offers, offer)
		}
	}
	if offers != nil {
		return didYouMean(offers)
	}
	var all []string
	for _, cmd := range c.App.Commands {
		all = append(all, flagNames(cmd.Flags)...)
	}
	if near := nearest(typed, all); near != nil {
		return "; " + dashed(near[0]) + " is a flag of " + enumerated(havers(c.App, near[0]), "and")
	}
	return ""
}

// asTyped is an unknown flag with as many dashes as it was given.
func asTyped(c *cli.Context, name string) string {
	if slices.ContainsFunc(rawArgs(c), func(a string) bool { return a == "-"+name || strings.HasPrefix(a, "-"+name+"=") }) {
		return "-" + name
	}
	return "--" + name
}

func flagNames(flags []cli.Flag) (names []string) {
	for _, f := range flags {
		names = append(names, f.Names()...)
	}
	return names
}

// foreign offers what is meant by the flag of another tool.
func foreign(flags []cli.Flag, typed string) (offers []string) {
	for _, m := range meant[typed] {
		if offer := offered(flags, m); offer != "" && len(offers) < mostOffered {
			offers = append(offers, offer)
		}
	}
	return offers
}

// offered is a flag as it is typed, with its short name, "" if it is not among flags. What
// follows a space in name is its value.
func offered(flags []cli.Flag, name string) string {
	name, value, valued := strings.Cut(name, " ")
	i := slices.IndexFunc(flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), name) })
	switch {
	case i < 0 && valued && offered(flags, "r"+name) != "":
		return name + " " + value + " without dashes, for either side" // a word of the filter
	case i < 0:
		return ""
	}
	h := describeFlag(flags[i])
	switch {
	case valued && h.short != "":
		return "-" + h.short + " " + value
	case valued:
		return "--" + h.long + " " + value
	case h.long == "":
		return "-" + h.short
	case h.short != "":
		return "--" + h.long + " (-" + h.short + ")"
	}
	return "--" + h.long
}

// attachedValue offers -D 8080 for -D8080, and -b -c for -bc; "" if it is neither.
func attachedValue(flags []cli.Flag, typed string) string {
	short := func(name string) (takesValue, ok bool) {
		for _, f := range flags {
			if slices.Contains(f.Names(), name) {
				_, isBool := f.(*cli.BoolFlag)
				return !isBool, true
			}
		}
		return false, false
	}
	if len(typed) < 2 {
		return ""
	}
	if takesValue, ok := short(typed[:1]); ok && takesValue {
		return "-" + typed[:1] + " " + typed[1:]
	}
	var each []string
	for _, r := range typed {
		if _, ok := short(string(r)); !ok {
			return ""
		}
		each = append(each, "-"+string(r))
	}
	return strings.Join(each, " ")
}

// havers are the other commands that have a flag of that name.
func havers(app *cli.App, typed string) (verbs []string) {
	for _, cmd := range app.Commands {
		if slices.ContainsFunc(cmd.Flags, func(f cli.Flag) bool { return slices.Contains(f.Names(), typed) }) {
			verbs = append(verbs, cmd.Name)
		}
	}
	return verbs
}

// nearest are the names that typed may be a slip of, the likeliest first: about a letter in
// three may be wrong, or the end may be missing.
func nearest(typed string, names []string) (near []string) {
	distance := func(name string) int { return smetrics.WagnerFischer(typed, name, 1, 1, 1) }
	for _, name := range names {
		begun := len(typed) > 2 && strings.HasPrefix(name, typed)
		if begun || len(typed) > 1 && distance(name) <= (len(typed)+1)/3 {
			near = append(near, name)
		}
	}
	slices.SortStableFunc(near, func(a, b string) int { return distance(a) - distance(b) })
	return near[:min(len(near), mostOffered)]
}

// didYouMean words what is offered.
func didYouMean(offers []string) string {
	if len(offers) == 0 {
		return ""
	}
	return "; did you mean " + enumerated(offers, "or") + "?"
}

// enumerated joins words: a, b and c.
func enumerated(all []string, last string) string {
	n := len(all)
	if n < 2 {
		return strings.Join(all, "")
	}
	return strings.Join(all[:n-1], ", ") + " " + last + " " + all[n-1]
}

// rawArgs is the command line.
func rawArgs(c *cli.Context) []string {
	all, _ := c.App.Metadata[metaArgs].([]string)
	return all
}

// otherCommands is what people look for who type a command of another tool.
var otherCommands = map[string]string{
	"ls": "list", "show": "list", "ps": "list", "ss": "list", "sockets": "list",
	"live": "top", "watch": "top", "stat": "top", "tui": "top", "view": "top", "run": "top",
	"dump": "record", "capture": "record", "save": "record", "follow": "trace", "tail": "trace", "events": "trace",
	"replay": "trace -r FILE", "play": "top -r FILE", "read": "trace -r FILE", "open": "top -r FILE",
	"diagnose": "doctor", "diag": "doctor", "status": "doctor", "health": "doctor", "fix": "doctor", "advise": "doctor", "summary": "doctor --brief",
	"plan": "doctor --plan", "sysctl": "doctor --sysctl", "preflight": "check", "probe": "check", "test": "check",
	"why": "explain", "info": "explain", "man": "help", "usage": "help", "html": "report", "page": "report",
	"export": "convert", "merge": "convert", "repair": "convert --repair", "redact": "convert --redact", "csv": "convert", "parquet": "convert",
	"settings": "config", "defaults": "config", "env": "config", "port": "ports", "storm": "storms", "monitor": "storms", "alert": "storms",
}

// unknownCommand is the error for a line whose first word is no command: with the nearest
// one, or all.
func unknownCommand(words ...string) error {
	word := words[0]
	lower := strings.ToLower(word)
	switch other, ok := otherCommands[lower]; {
	case ok:
		if len(words) > 1 {
			other = strings.Replace(other, "FILE", words[1], 1)
		}
		return usagef("unknown command %q; did you mean twtrace %s?", word, other)
	case isRecording(word):
		return usagef("unknown command %q; did you mean twtrace -r %s?", word, word)
	case strings.HasPrefix(lower, "tw") && strings.Trim(lower[2:], "0123456789d") == "":
		return usagef("unknown command %q; did you mean twtrace explain %s?", word, strings.ToUpper(word))
	}
	var offers []string
	for _, name := range nearest(lower, verbs) {
		offers = append(offers, "twtrace "+name)
	}
	if offers == nil {
		return usagef("unknown command %q: the commands are %s; for a process of that name: twtrace comm %s", word, strings.Join(verbs, ", "), word)
	}
	return usagef("unknown command %q%s", word, didYouMean(offers))
}

// isRecording tells whether a word is likely the name of a trace file.
func isRecording(word string) bool {
	for _, end := range []string{".zst", ".ndjson"} {
		if strings.HasSuffix(word, end) {
			return true
		}
	}
	info, err := os.Stat(word)
	return err == nil && info.Mode().IsRegular()
}

// strayArgument is the error for a word where a command takes flags only.
func strayArgument(c *cli.Context, word string) error {
	flags := c.Command.Flags
	has := func(name string) bool { return offered(flags, name) != "" }
	offer := ""
	switch {
	case slices.Contains(verbs, word):
		return usagef("unexpected argument %q: twtrace %s is a command of its own; give one command at a time", word, word)
	case isRecording(word) && has("read"), has("read") && has("write"):
		offer = "-r " + word
	case isRecording(word) && has("write"):
		offer = "-w " + word
	}
	if offer == "" {
		return usagef("unexpected argument %q: %s takes flags only", word, c.Command.Name)
	}
	return usagef("unexpected argument %q; did you mean %s?", word, offer)
}
