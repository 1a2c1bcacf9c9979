package main

import (
	"errors"

	"github.com/urfave/cli/v2"
)

// readTape diagnoses a recording.
func (d *doctor) readTape(c *cli.Context) error {
	return errors.New("not yet")
}
