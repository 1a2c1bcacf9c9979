package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/replay"
)

// agentFlag chooses the agent that is read in the place of the kernel.
func agentFlag() cli.Flag {
	return &cli.StringFlag{Name: "agent", Value: "auto", Category: categoryAgent,
		Usage: "read the agent at `WHERE`: auto (" + agent.DefaultSocket + ", if one answers), a path, an http URL, or off"}
}

// agentless are flags that mean something only to hooks of one's own.
var agentless = []string{"hooks", "btf", "buffer", "max-conns", "syscalls", "follow", "cmdline", "states",
	"short-lived", "storm-rate", "storm-window", "no-bpf", "preflight", "plan"}

// agentAsk is what a verb wants of an agent; nil if it reads none.
type agentAsk struct {
	past time.Duration // of the past, unless --from asks for more
	live bool          // and what comes then
	held bool          // records of sockets that are open, too
	late bool          // the past is only for the table: what is shown starts now ...
	back time.Duration // ... or so long before
}

// allPast is more than any agent has.
const allPast = 10000 * time.Hour

// choosesAgent is the agent that the flags name, "" if none is to be read; auto reports
// whether it may be missing.
func choosesAgent(c *cli.Context) (where string, auto bool, err error) {
	where = c.String("agent")
	named := c.IsSet("agent") && where != "auto" && where != "off"
	switch {
	case where == "off" || where == "":
		return "", false, nil
	case c.IsSet("read") && named:
		return "", false, usagef("--agent conflicts with --read (-r)")
	case c.IsSet("read"):
		return "", false, nil
	case len(jobArgs(c)) > 0 && named:
		return "", false, usagef("--agent conflicts with a command to run: an agent traces the whole host")
	case len(jobArgs(c)) > 0:
		return "", false, nil
	}
	for _, name := range agentless {
		switch set := c.IsSet(name); {
		case set && named:
			return "", false, usagef("--%s conflicts with --agent: it is for a trace of one's own", name)
		case set:
			return "", false, nil
		}
	}
	if where == "auto" {
		return agent.DefaultSocket, true, nil
	}
	return where, false, nil
}

// mayReadAgent reports whether an agent is named, or listens where one does by default.
func mayReadAgent(c *cli.Context) bool {
	where, auto, err := choosesAgent(c)
	if err != nil || where == "" {
		return false
	}
	_, missing := os.Stat(where)
	return !auto || missing == nil
}

// askAgent asks the agent that the flags name for its stream; nil if none is to be read, or
// none answers and none is named.
func askAgent(c *cli.Context, ask agentAsk) (*agent.Stream, error) {
	where, auto, err := choosesAgent(c)
	if err != nil || where == "" {
		return nil, err
	}
	if c.IsSet("from") || c.IsSet("to") {
		ask.past = allPast
		if d, err := time.ParseDuration(c.String("from")); err == nil && d < 0 {
			ask.past = -d
		}
	}
	stream, err := agent.NewClient(where).Stream(c.Context, agent.Ask{Past: ask.past, Live: ask.live})
	denied := (*agent.DeniedError)(nil)
	switch {
	case err == nil && auto && stream.Filter != "":
		note(c, "the agent at %s traces only %s: not read; --agent %s reads it", where, stream.Filter, where)
		stream.Close()
		return nil, nil
	case err == nil:
		return stream, nil
	case auto && errors.As(err, &denied):
		note(c, "not read: %v", err)
		return nil, nil
	case auto:
		return nil, nil
	}
	return nil, agentError(err)
}

// agentError is the error of a request, with what to do about it.
func agentError(err error) error {
	if denied := (*agent.DeniedError)(nil); errors.As(err, &denied) {
		return deniedError{denied}
	}
	if errors.Is(err, agent.ErrNone) {
		return fmt.Errorf("%w: start one with twtrace serve", err)
	}
	return err
}

// deniedError is an agent that this user may not ask: exit code 3.
type deniedError struct{ error }

// followAgent opens the stream of an agent as the flags say.
func followAgent(c *cli.Context, stream *agent.Stream, ask agentAsk, f *filter.Filter, talk func(string, ...any)) (*replay.Files, error) {
	files, err := replay.Follow(replay.Options{Filter: f, Now: stream.Now, Held: ask.held, Talk: talk}, "the agent at "+stream.Where, stream)
	if err != nil {
		return nil, err
	}
	switch {
	case c.IsSet("from") || c.IsSet("to"):
		err = files.Part(c.String("from"), c.String("to"), clockOf(c).Location())
		if err != nil {
			err = usagef("%v", err)
		}
	case ask.late:
		files.Between(max(stream.Now.Add(-ask.back).UnixNano(), files.Began().UnixNano()), 0)
	}
	if err != nil {
		files.Close()
		return nil, err
	}
	if talk != nil {
		talk("%s", agentWordsOf(c, stream, ask))
	}
	return files, nil
}

// agentWordsOf say which agent is read, and from when on it knows.
func agentWordsOf(c *cli.Context, s *agent.Stream, ask agentAsk) string {
	words := "reading the agent at " + s.Where
	if ask.past > 0 {
		words += ", whose past starts at " + clockOf(c).Time(s.From)
	}
	if s.Filter != "" {
		words += "; it traces only " + s.Filter
	}
	if s.Dropped > 0 {
		words += fmt.Sprintf("; older records, %s, are dropped", output.Count(s.Dropped))
	}
	return words
}

func agentCommand() *cli.Command {
	return &cli.Command{
		Name:      "agent",
		ArgsUsage: "status|save",
		Usage:     "show what a running agent has, or save its past to a file",
		Description: examples(
			"twtrace agent status                what the agent of this host has",
			"twtrace agent save --past 5m        the last five minutes, to a file that -r reads"),
		Flags: []cli.Flag{
			&cli.DurationFlag{Name: "past", Usage: "save: the records of the last `TIME`", DefaultText: "all there are", Category: categoryAgent},
			&cli.StringFlag{Name: "dir", Value: ".", Usage: "save: write the file to directory `DIR`", Category: categoryAgent},
			&cli.StringFlag{Name: "socket", Value: agent.DefaultSocket, Usage: "`WHERE`: path of the socket, or http URL", Category: categoryAgent},
			outputFlag("text, json"),
		},
		Action: runAgent,
	}
}

func runAgent(c *cli.Context) error {
	args := c.Args().Slice()
	if len(args) != 1 || args[0] != "status" && args[0] != "save" {
		return usagef("agent takes one word: status or save")
	}
	if args[0] == "save" {
		return saveAgent(c)
	}
	if !slices.Contains([]string{"text", "json"}, c.String("output")) {
		return usagef("--output: bad format %q: use text or json", c.String("output"))
	}
	answer, err := agent.NewClient(c.String("socket")).Get(context.Background(), "/v1/status")
	if err != nil {
		return agentError(err)
	}
	if c.String("output") == "text" {
		if answer, err = statusText(answer); err != nil {
			return err
		}
	}
	_, err = c.App.Writer.Write(answer)
	return err
}

// statusText has a line for each member of a status: "past.bytes  1234".
func statusText(answer []byte) ([]byte, error) {
	var b bytes.Buffer
	d := json.NewDecoder(bytes.NewReader(answer))
	d.UseNumber()
	var all map[string]any
	if err := d.Decode(&all); err != nil {
		return nil, fmt.Errorf("read the status of the agent: %w", err)
	}
	for _, name := range []string{"version", "began", "host", "kernel", "filter", "sampled", "table", "past", "readers", "lost_by_stage", "drift", "hooks", "missing", "remarks"} {
		writeStatus(&b, name, all[name])
	}
	return b.Bytes(), nil
}

func writeStatus(b *bytes.Buffer, name string, v any) {
	switch v := v.(type) {
	case nil:
	case map[string]any:
		for _, k := range slices.Sorted(maps.Keys(v)) {
			writeStatus(b, name+"."+k, v[k])
		}
	case []any:
		var words []string
		for _, x := range v {
			words = append(words, fmt.Sprint(x))
		}
		if len(words) > 0 {
			fmt.Fprintf(b, "%-32s %s\n", name, output.Escape(nil, strings.Join(words, ", ")))
		}
	default:
		fmt.Fprintf(b, "%-32s %s\n", name, output.Escape(nil, fmt.Sprint(v)))
	}
}
