package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/twtrace/twtrace/internal/agent"
	tracefile "github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/report"
)

func reportCommand() *cli.Command {
	return &cli.Command{
		Name:  "report",
		Usage: "make a page for a post-mortem from trace files",
		Description: "The page is self-contained, loads nothing from elsewhere, and can be mailed. The same files always\n" +
			"make the same page, byte for byte.\n\n" + examples(
			"twtrace report -r t.ndjson.zst -w t.html           a page for the browser",
			"twtrace report -r t.ndjson.zst -o md               the same in Markdown, for an issue or a wiki",
			"twtrace report -r t.ndjson.zst -o json | jq .totals   the same in JSON, for programs",
			"twtrace report -r t.ndjson.zst --from 22:10 --to 22:20 -w t.html   only these ten minutes"),
		Flags: append(partFlags("read trace files, `FILE...`; - is stdin"),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "html", Usage: "`FORMAT`: output format: " + strings.Join(reportFormats(), ", "), Category: categoryOutput},
			&cli.StringFlag{Name: "write", Aliases: []string{"w"}, Value: "-", Usage: "write to `FILE`, readable by its owner only; - is stdout", Category: categoryFile},
			agentFlag(),
			utcFlag(),
			&cli.BoolFlag{Name: "force", Usage: "overwrite an existing file", Category: categoryFile}),
		Action: runReport,
	}
}

// reportWriters are the forms of a report.
var reportWriters = map[string]func(io.Writer, *report.Report) error{
	"html": report.WriteHTML, "md": report.WriteMarkdown, "json": report.WriteJSON,
}

func reportFormats() []string { return slices.Sorted(maps.Keys(reportWriters)) }

func runReport(c *cli.Context) error {
	defer catchSignals(c)()
	if where, _, err := choosesAgent(c); err != nil {
		return err
	} else if !c.IsSet("read") && where == "" {
		return needsRecording()
	}
	write := reportWriters[c.String("output")]
	if write == nil {
		return usagef("--output: bad format %q: use %s", c.String("output"), strings.Join(reportFormats(), ", "))
	}
	path := c.String("write")
	switch out, isFile := c.App.Writer.(*os.File); {
	case path == "-" && c.Bool("force"):
		return usagef("--force requires -w FILE")
	case path == "-" && c.String("output") == "html" && isFile && term.IsTerminal(int(out.Fd())):
		return usagef("refusing to write HTML to a terminal: name a file with -w, or use -o md")
	case path != "-" && !c.Bool("force"):
		if _, err := os.Lstat(path); err == nil { // it would be told after all the work too
			return fmt.Errorf("%s exists: use --force to overwrite it", path)
		}
	}
	var stream *agent.Stream
	if !c.IsSet("read") {
		var err error
		if stream, err = askAgent(c, agentAsk{past: allPast}); err != nil {
			return err
		}
		if stream == nil {
			return needsRecording()
		}
	}
	s, err := openPast(c, wants{agent: agentAsk{past: allPast}}, stream)
	if err != nil {
		return err
	}
	defer s.Close()
	defer s.stopOnContext(c)()
	r, err := newReporter(s.Session, s.files, clockFor(c, c.String("output")).Location()).report(c.Context)
	if err != nil {
		return err
	}
	if s.Stopping() {
		return errors.New("interrupted")
	}
	var page bytes.Buffer
	if err := write(&page, r); err != nil {
		return err
	}
	if err := writeReport(c, path, page.Bytes()); err != nil {
		return err
	}
	return s.verdict(c)
}

func needsRecording() error {
	return usagef("report requires -r FILE: make one with twtrace record, or an agent: twtrace serve")
}

func writeReport(c *cli.Context, path string, page []byte) error {
	if path == "-" {
		_, err := c.App.Writer.Write(page)
		return err
	}
	file, err := tracefile.Create(path, c.Bool("force"))
	if err != nil {
		return err
	}
	_, err = file.Write(page)
	return errors.Join(err, file.Close())
}
