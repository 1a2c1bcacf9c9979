package main

import (
	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/clock"
)

// utcFlag is one of every command that prints times.
func utcFlag() cli.Flag {
	return &cli.BoolFlag{Name: "utc", Category: categoryOutput,
		Usage: "print times in UTC, not in this host's zone (TZ); JSON and CSV always have UTC"}
}

// clockOf returns what prints the times of text.
func clockOf(c *cli.Context) clock.Clock {
	if c.Bool("utc") {
		return clock.UTC
	}
	return clock.Local()
}

// clockFor returns what prints the times in sentences that an output format has: those
// for programs have UTC.
func clockFor(c *cli.Context, format string) clock.Clock {
	if format == "json" || format == "csv" {
		return clock.UTC
	}
	return clockOf(c)
}
