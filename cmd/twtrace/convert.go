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
)

func convertCommand() *cli.Command {
	return &cli.Command{
		Name:      "convert",
		Usage:     "make a table, or a whole file, of trace files",
		ArgsUsage: "[FILE...]",
		Description: "Damage ends it, and nothing is written, unless --repair is given. Needs no root.\n\n" + examples(
			"twtrace convert -r t.ndjson.zst -w t.parquet              a table for DuckDB, ClickHouse, pandas",
			"twtrace convert -r t.ndjson.zst -t csv -w -               rows on stdout",
			"twtrace convert --repair -w whole.ndjson.zst -r t-*.zst   what is left of damaged files, in one"),
		Flags: []cli.Flag{
			&cli.StringSliceFlag{Name: "read", Aliases: []string{"r"}, Usage: "trace files of one recording, `FILE...`; - is stdin", Category: categoryFile},
			&cli.StringFlag{Name: "to", Aliases: []string{"t"}, Usage: "`FORMAT`: csv, ndjson, parquet", DefaultText: "what the name of the file tells", Category: categoryFile},
			&cli.StringFlag{Name: "write", Aliases: []string{"w"}, Usage: "write to `FILE`, packed as record does if it ends in .zst; - is stdout", Category: categoryFile},
			&cli.BoolFlag{Name: "repair", Usage: "take what is whole of torn or damaged files", Category: categoryFile},
			&cli.BoolFlag{Name: "force", Usage: "replace a file that is there already", Category: categoryFile},
			&cli.BoolFlag{Name: "redact", Usage: "no names, and other addresses with the same prefixes in common", Category: categoryFile},
		},
		Action: runConvert,
	}
}

// target is where records go to: all of them, or none.
type target interface {
	Write(*event.Event) error
	Close(end *event.Event) error // end is nil if there is none
	Discard() error
}

func runConvert(c *cli.Context) error {
	defer catchSignals(c)()
	names, err := fileNames(c)
	if err != nil {
		return err
	}
	if len(names) == 0 {
		return usagef("convert needs -r FILE")
	}
	format, err := targetFormat(c.String("to"), c.String("write"))
	if err != nil {
		return err
	}
	if format == "parquet" && c.String("write") == "-" && toTerminal(c) {
		return usagef("-w - writes binary data, and stdout is a terminal: name a file")
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

// targetFormat is the format that --to names, or else the name of the file.
func targetFormat(to, name string) (string, error) {
	if name == "" {
		return "", usagef("convert needs -w FILE")
	}
	for _, format := range []string{"csv", "ndjson", "parquet"} {
		if to == format || to == "" && strings.HasSuffix(strings.TrimSuffix(name, ".zst"), "."+format) {
			return format, nil
		}
	}
	if to == "" {
		return "", usagef("the name %s does not tell a format: -t csv, ndjson or parquet", name)
	}
	return "", usagef("--to: bad format %q: csv, ndjson or parquet", to)
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
		return nil, usagef("CSV is not packed: name a file that does not end in .zst")
	}
	w, err := tracefile.NewWriter(o, &start, time.Unix(0, start.Time))
	if err != nil {
		return nil, err
	}
	reader.OnLimits = func(list []tracefile.Limits) {
		for _, l := range list {
			for _, netns := range l.NetNS {
				w.SetLimits(netns, l.Sysctls)
			}
		}
	}
	return &fileTarget{w}, nil
}

// fileTarget is a trace file, or its lines.
type fileTarget struct{ *tracefile.Writer }

// Write has the time of a block be that of its records.
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
	told    int // damages
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
		case e.Time == 0: // what is said of damage
			e.Time = at
		}
		at = e.Time
		v.records++
		if err := v.to.Write(&e); err != nil {
			return err
		}
		if v.records%4096 == 0 && c.Context.Err() != nil {
			return errors.New("stopped by a signal")
		}
	}
}

// damage tells what is new of it, and is an error unless that is to be repaired.
func (v *conversion) damage(c *cli.Context) error {
	for ; v.told < len(v.reader.Damage); v.told++ {
		d := v.reader.Damage[v.told]
		if !v.repair {
			return fmt.Errorf("%s; nothing is written: --repair takes what is whole", d)
		}
		if v.told < maxDamage {
			note(c, "%s", d)
		} else if v.told == maxDamage {
			note(c, "and more")
		}
	}
	return nil
}
