package main

import (
	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/replay"
)

const categoryRead = "Recordings"

// readFlags are those of commands that can read trace files.
func readFlags() []cli.Flag {
	return append(partFlags("read trace files, `FILE...`, instead of tracing this host; - is stdin"),
		&cli.Float64Flag{Name: "speed", Usage: "replay `N` times as fast as it happened", DefaultText: "1 on a terminal; otherwise as fast as possible", Category: categoryRead})
}

// partFlags say which part of which files is read.
func partFlags(usage string) []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "read", Aliases: []string{"r"}, Usage: usage, Category: categoryRead},
		&cli.StringFlag{Name: "from", Usage: "start at `TIME`: 22:14, +30s after the start of the recording, -1m before its end", Category: categoryRead},
		&cli.StringFlag{Name: "to", Usage: "stop at `TIME`", Category: categoryRead},
	}
}

// liveOnly are flags that mean something to a running trace alone.
var liveOnly = []string{"hooks", "btf", "buffer", "max-conns", "syscalls", "follow", "cmdline", "duration", "states",
	"short-lived", "storm-rate", "storm-window", "exec"}

// openRecording opens the files that the flags name, once for a command line: their names of
// network namespaces are those of its filter.
func openRecording(c *cli.Context) (*replay.Files, error) {
	if files, ok := c.App.Metadata[metaFiles].(*replay.Files); ok {
		return files, nil
	}
	files, err := openFiles(c)
	if err == nil {
		c.App.Metadata[metaFiles] = files
	}
	return files, err
}

// openFiles opens the files that the flags name.
func openFiles(c *cli.Context) (*replay.Files, error) {
	for _, name := range liveOnly {
		if c.IsSet(name) {
			return nil, usagef("--%s conflicts with --read (-r): it is for a running trace", name)
		}
	}
	names := fileNames(c)
	speed := c.Float64("speed")
	if c.IsSet("speed") && !(speed > 0 && speed <= 1e6) {
		return nil, usagef("--speed: bad number %v; use one above 0", speed)
	}
	files, err := replay.Open(replay.Options{Files: names, Stdin: c.App.Reader, Speed: speed})
	if err != nil {
		return nil, err
	}
	if err := files.Part(c.String("from"), c.String("to"), clockOf(c).Location()); err != nil {
		files.Close()
		return nil, usagef("%v", err)
	}
	return files, nil
}

// fileNames are the files that -r names, and the arguments behind it.
func fileNames(c *cli.Context) []string {
	return append(c.StringSlice("read"), fileArgs(c)...)
}
