package main

import (
	"io"
	"os"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/tracer"
)

// Where the app keeps its command line, the command to run, its attacher, and the recording that it reads.
const (
	metaArgs     = "args"
	metaSettings = "settings"
	metaAround   = "around"
	metaJob      = "job"
	metaAttacher = "attacher"
	metaFiles    = "files"
)

// jobArgs returns what follows "--" on the command line, nil if nothing does.
func jobArgs(c *cli.Context) []string {
	job, _ := c.App.Metadata[metaJob].([]string)
	return job
}

// parseJob returns the command after "--", not yet started, nil if there is none.
// Its stdout is stdout, its stderr that of twtrace.
func parseJob(c *cli.Context, stdout io.Writer) (*session.Job, error) {
	args := jobArgs(c)
	if len(args) == 0 {
		return nil, nil
	}
	return session.NewJob(args, stdout, c.App.ErrWriter)
}

// jobRoot is what this process starts from now on.
func jobRoot() tracer.Root { return tracer.Root{PID: uint32(os.Getpid()), Children: true} }
