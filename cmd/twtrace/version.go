package main

import (
	"encoding/json"
	"fmt"
	"io"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/doctor"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/plan"
	tracefile "github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/report"
	"github.com/twtrace/twtrace/internal/tracer"
)

// commit is set by the build; a build from a checkout knows its own.
var commit = ""

// build is what version prints.
type build struct {
	Version  string         `json:"version"`
	Commit   string         `json:"commit,omitempty"`
	Go       string         `json:"go"`
	Platform string         `json:"platform"`
	HookSets []string       `json:"hook_sets"`
	Schemas  map[string]any `json:"schemas"`
}

func versionCommand() *cli.Command {
	return &cli.Command{
		Name:  "version",
		Usage: "print the version, its hook sets, and the versions of its formats",
		Flags: []cli.Flag{outputFlag("text or json")},
		Action: func(c *cli.Context) error {
			b := thisBuild()
			switch format := c.String("output"); format {
			case "text":
				return b.writeText(c.App.Writer)
			case "json":
				return json.NewEncoder(c.App.Writer).Encode(b)
			default:
				return usagef("--output: bad format %q: use text or json", format)
			}
		},
	}
}

func thisBuild() build {
	b := build{Version: version, Commit: commit, Go: runtime.Version(), Platform: runtime.GOOS + "/" + runtime.GOARCH,
		HookSets: []string{string(tracer.Fentry), string(tracer.Timer)},
		Schemas: map[string]any{"records": output.Schema, "trace_file": tracefile.Format,
			"doctor": doctor.Schema, "report": report.Schema, "plan": plan.Schema}}
	if info, ok := debug.ReadBuildInfo(); ok && b.Commit == "" {
		for _, s := range info.Settings {
			if s.Key == "vcs.revision" {
				b.Commit = s.Value
			}
		}
	}
	return b
}

func (b build) writeText(w io.Writer) error {
	known := b.Commit
	if known == "" {
		known = "unknown: not set by this build"
	}
	_, err := fmt.Fprintf(w, "twtrace %s\ncommit      %s\nbuilt with  %s %s\nhook sets   %s\n"+
		"schemas     records %v, trace file %v, %v, %v, %v\n",
		b.Version, known, b.Go, b.Platform, strings.Join(b.HookSets, ", "),
		b.Schemas["records"], b.Schemas["trace_file"], b.Schemas["doctor"], b.Schemas["report"], b.Schemas["plan"])
	return err
}
