package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/output/parquet"
	tracefile "github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/replay"
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "convert trace files to CSV, Parquet or JSON; merge or repair them",
		ArgsUsage: "[FILE...]",
		Description: "Stops at damage and writes nothing, unless --repair is given. Needs no root.\n\n" + examples(
			"twtrace convert -r t.ndjson.zst -w t.parquet              a table for DuckDB, ClickHouse, pandas",
			"twtrace convert -r t.ndjson.zst -t csv -w -               rows on stdout",
			"twtrace convert --repair -w whole.ndjson.zst -r t-*.zst   the intact records of damaged files, in one file"),
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "read", Aliases: []string{"r"}, Usage: "read trace files of one recording, `FILE...`; - is stdin", Category: categoryFile},
			&cli.StringFlag{Name: "to", Aliases: []string{"t"}, Usage: "`FORMAT`: output format: csv, ndjson or parquet", DefaultText: "from the name of the file", Category: categoryFile},
			&cli.StringFlag{Name: "write", Aliases: []string{"w"}, Usage: "write to `FILE`, as a trace file if it ends in .zst; - is stdout", Category: categoryFile},
			&cli.BoolFlag{Name: "repair", Usage: "skip what is damaged, and keep the rest", Category: categoryFile},
			&cli.BoolFlag{Name: "force", Usage: "overwrite an existing file", Category: categoryFile},
			&cli.BoolFlag{Name: "redact", Usage: "remove names, and replace addresses; common prefixes stay common", Category: categoryFile},
		},
		Action: runConvert,
	}
}

// target is where records go: all of them, or none.
type target interface {
	Write(*event.Event) error
	Close(end *event.Event) error // end is nil if there is none
	Discard() error
}

func runConvert(c *cli.Context) error {
	defer catchSignals(c)()
	names := fileNames(c)
	if len(names) == 0 {
		return usagef("convert requires --read FILE (-r), such as -r trace.ndjson.zst")
	}
	format, err := targetFormat(c.String("to"), c.String("write"))
	if err != nil {
		return err
	}
	if format == "parquet" && c.String("write") == "-" && toTerminal(c) {
		return usagef("--write - writes binary data, and stdout is a terminal: name a file")
	}
	var redactor *tracefile.Redactor
	if c.Bool("redact") {
		if redactor, err = tracefile.NewRedactor(nil); err != nil {
			return err
		}
	}
	reader, err := tracefile.Open(names, c.App.Reader)
	if err != nil {
		return err
	}
	defer reader.Close()
	to, err := openTarget(c, format, redactor, reader)
	if err != nil {
		return err
	}
	v := conversion{reader: reader, to: to, repair: c.Bool("repair")}
	err = v.run(c)
	if err == nil {
		err = to.Close(reader.End())
	}
	if err != nil {
		return errors.Join(err, to.Discard())
	}
	if v.records++; reader.End() != nil { // the start record, and the end record
		v.records++
	}
	note(c, "%s records", output.Count(v.records))
	return nil
}

// targetFormat returns the format of --to, or else of the file name.
func targetFormat(to, name string) (string, error) {
	if name == "" {
		return "", usagef("convert requires --write FILE (-w), such as -w trace.parquet")
	}
	for _, format := range []string{"csv", "ndjson", "parquet"} {
		if to == format || to == "" && strings.HasSuffix(strings.TrimSuffix(name, ".zst"), "."+format) {
			return format, nil
		}
	}
	if to == "" {
		return "", usagef("no format in the name %s: add --to csv, ndjson or parquet", name)
	}
	return "", usagef("--to: bad format %q: use csv, ndjson, parquet", to)
}

func openTarget(c *cli.Context, format string, redactor *tracefile.Redactor, reader *tracefile.Reader) (target, error) {
	path, start := c.String("write"), reader.Start()
	if format == "parquet" {
		return openParquet(c, redactor, &start)
	}
	o := tracefile.Options{Path: path, Stdout: c.App.Writer, Force: c.Bool("force"), Redact: redactor}
	switch packed := strings.HasSuffix(path, ".zst"); {
	case format == "csv":
		o.Plain = tracefile.CSV
	case !packed:
		o.Plain = tracefile.NDJSON
	}
	if o.Plain == tracefile.CSV && strings.HasSuffix(path, ".zst") {
		return nil, usagef("--to csv conflicts with a name that ends in .zst: CSV is not compressed")
	}
	w, err := tracefile.NewWriter(o, &start, time.Unix(0, start.Time))
	if err != nil {
		return nil, err
	}
	reader.OnLimits = func(list []tracefile.Limits, read tracefile.Read) {
		w.SetRead(read)
		for _, l := range list {
			for _, netns := range l.NetNS {
				w.SetLimits(netns, l.Sysctls)
				w.SetName(netns, l.Names[netns], netns == l.Home)
			}
		}
	}
	return &fileTarget{w}, nil
}

// fileTarget is a trace file, or lines of NDJSON or CSV.
type fileTarget struct{ *tracefile.Writer }

// Write sets the time of a block to that of its records.
func (t *fileTarget) Write(e *event.Event) error {
	return cmp.Or(t.Writer.Tick(time.Unix(0, e.Time)), t.Writer.Write(e))
}

// parquetTarget is a Parquet file.
type parquetTarget struct {
	table    *parquet.Writer
	file     *tracefile.File // nil if it is stdout
	redactor *tracefile.Redactor
}

func openParquet(c *cli.Context, redactor *tracefile.Redactor, start *event.Event) (target, error) {
	t := &parquetTarget{redactor: redactor}
	to := c.App.Writer
	if path := c.String("write"); path != "-" {
		file, err := tracefile.Create(path, c.Bool("force"))
		if err != nil {
			return nil, err
		}
		t.file, to = file, file
	}
	t.table = parquet.New(to)
	if err := t.Write(start); err != nil {
		return nil, errors.Join(err, t.Discard())
	}
	return t, nil
}

func (t *parquetTarget) Write(e *event.Event) error {
	if t.redactor != nil {
		t.redactor.Event(e)
	}
	return t.table.Write(e)
}

func (t *parquetTarget) Close(end *event.Event) error {
	if end != nil {
		if err := t.Write(end); err != nil {
			return err
		}
	}
	if err := t.table.Close(); err != nil || t.file == nil {
		return err
	}
	return t.file.Close()
}

func (t *parquetTarget) Discard() error {
	if t.file == nil {
		return nil
	}
	return t.file.Discard()
}

// conversion copies records.
type conversion struct {
	reader  *tracefile.Reader
	to      target
	repair  bool
	records uint64
	noted   int // damages so far
}

func (v *conversion) run(c *cli.Context) error {
	at := v.reader.Start().Time
	var e event.Event
	for {
		err := v.reader.Read(&e)
		if damage := v.damage(c); damage != nil {
			return damage
		}
		switch {
		case errors.Is(err, io.EOF):
			return nil
		case err != nil:
			return err
		case e.Time == 0: // a Lost event about damage
			e.Time = at
		}
		at = e.Time
		v.records++
		if err := v.to.Write(&e); err != nil {
			return err
		}
		if v.records%4096 == 0 && c.Context.Err() != nil {
			return errors.New("interrupted by a signal")
		}
	}
}

// damage prints new damage, and is an error without --repair.
func (v *conversion) damage(c *cli.Context) error {
	for ; v.noted < len(v.reader.Damage); v.noted++ {
		d := v.reader.Damage[v.noted]
		if !v.repair {
			return fmt.Errorf("%s; nothing was written. --repair keeps the intact records", d)
		}
		if v.noted < replay.MaxDamage {
			note(c, "%s", d)
		} else if v.noted == replay.MaxDamage {
			note(c, "and more")
		}
	}
	return nil
}
