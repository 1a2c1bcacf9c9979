package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/agent"
	tracefile "github.com/twtrace/twtrace/internal/record"
)

// saveAgent writes the past of an agent to a file, with the rights of this user, and prints
// its name.
func saveAgent(c *cli.Context) error {
	defer catchSignals(c)()
	past, err := positive(c, "past")
	if err != nil {
		return err
	}
	stream, err := agent.NewClient(c.String("socket")).Stream(c.Context, agent.Ask{Past: cmp.Or(past, allPast)})
	if err != nil {
		return agentError(err)
	}
	defer stream.Close()
	path := filepath.Join(c.String("dir"), "twtrace-"+stream.Now.UTC().Format("20060102-150405")+".ndjson.zst")
	file, err := tracefile.Create(path, false)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, stream)
	if err = errors.Join(err, file.Close()); err != nil {
		os.Remove(path) // it says nothing that the agent does not know better
		return fmt.Errorf("save the past: %w", err)
	}
	note(c, "saved the past from %s to %s", clockOf(c).Time(stream.From), clockOf(c).Time(stream.Now.Truncate(time.Second)))
	_, err = fmt.Fprintln(c.App.Writer, path)
	return err
}
