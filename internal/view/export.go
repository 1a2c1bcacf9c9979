package view

import (
	"encoding/csv"
	"fmt"
	"html"
	"io"
	"math"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// exporter is a format that the rows on the screen are written to a file in.
type exporter struct {
	key, name string
	write     func(v *sheet, w io.Writer, s *State) error
}

var exporters = []exporter{{"n", "ndjson", (*sheet).ndjson}, {"c", "csv", (*sheet).csv}, {"h", "html", (*sheet).html}}

// sheet is what is on the screen and beyond its edges, as a table.
type sheet struct {
	noun    string
	top     []string // the lines above it
	heading []string
	cells   [][]string // in the terms of Batch: "" is not known
	free    []bool     // columns whose text others chose
	objects []object
}

// sheetOf is the table of a tab, or of the row that a page is about.
func sheetOf(s *State, d *Display) *sheet {
	v := &sheet{noun: "event", top: header(s, d, 160, Caps{Unicode: true})}
	if d.Tab == TabEvents && d.Page == NoPage {
		v.heading, v.free = []string{"TIME", "SEVERITY", "COUNT", "TEXT"}, []bool{false, false, false, true}
		for _, e := range s.Events {
			at := time.Unix(0, e.Time).UTC().Format(time.RFC3339Nano)
			v.cells = append(v.cells, []string{at, strings.TrimSpace(mark(e.Severity)), fmt.Sprint(e.Count), e.Text})
			v.objects = append(v.objects, entryObject(&e))
		}
		return v
	}
	v.noun = d.noun()
	list := d.Arrange(s.list(d))
	if i := d.index(list); d.Page == PageDetail && i >= 0 {
		list = list[i : i+1]
	}
	v.heading, v.free = []string{"TIME", "HOST"}, []bool{false, true}
	for _, f := range rowFields {
		v.heading, v.free = append(v.heading, f.heading()), append(v.free, f.typ == textField)
	}
	at := s.Time.UTC().Format(time.RFC3339Nano)
	for _, r := range list {
		cells := []string{at, s.Host}
		for _, f := range rowFields {
			cells = append(cells, f.cell(r))
		}
		v.cells = append(v.cells, cells)
		v.objects = append(v.objects, exportedRow(s, r))
	}
	return v
}

// ndjson writes an object a row.
func (v *sheet) ndjson(w io.Writer, _ *State) error {
	for _, o := range v.objects {
		if err := encode(w, o); err != nil {
			return err
		}
	}
	return nil
}

// csv writes a table for spreadsheets. No name in it can be taken for a formula.
func (v *sheet) csv(w io.Writer, _ *State) error {
	out := csv.NewWriter(w)
	if err := out.Write(v.heading); err != nil {
		return fmt.Errorf("write the heading: %w", err)
	}
	for _, cells := range v.cells {
		line := make([]string, len(cells))
		for i, cell := range cells {
			if line[i] = (Caps{Unicode: true}).safe(cell); v.free[i] && cell != "" && strings.Contains("=+-@", cell[:1]) {
				line[i] = fmt.Sprintf(`\x%02x`, cell[0]) + line[i][1:]
			}
		}
		if err := out.Write(line); err != nil {
			return fmt.Errorf("write a row: %w", err)
		}
	}
	out.Flush()
	return out.Error()
}

const htmlStyle = "body{font:14px monospace}table{border-collapse:collapse}th,td{padding:2px 8px;text-align:left}" +
	"th{background:#ddd}tr:nth-child(even){background:#f4f4f4}"

// html writes a page that needs nothing else.
func (v *sheet) html(w io.Writer, s *State) error {
	var b strings.Builder
	safe := func(text string) string { return html.EscapeString(Caps{Unicode: true}.safe(text)) }
	title := safe("twtrace " + s.Host + " " + s.Time.UTC().Format(time.RFC3339))
	fmt.Fprintf(&b, "<!doctype html>\n<meta charset=\"utf-8\">\n<title>%s</title>\n<style>%s</style>\n<h1>%s</h1>\n<pre>%s</pre>\n<table>\n",
		title, htmlStyle, title, html.EscapeString(strings.Join(v.top, "\n")))
	row := func(tag string, cells []string) {
		b.WriteString("<tr>")
		for _, cell := range cells {
			fmt.Fprintf(&b, "<%s>%s</%s>", tag, safe(cell), tag)
		}
		b.WriteString("</tr>\n")
	}
	row("th", v.heading)
	for _, cells := range v.cells {
		row("td", cells)
	}
	b.WriteString("</table>\n")
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write the page: %w", err)
	}
	return nil
}

// exportFile makes a new file in the current directory that only its owner can read,
// and returns its path.
func exportFile(at time.Time, extension string, write func(io.Writer) error) (path string, err error) {
	for i := range math.MaxInt8 {
		path = "twtrace-" + at.UTC().Format("20060102-150405")
		if i > 0 {
			path += fmt.Sprintf("-%d", i)
		}
		path += "." + extension
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if os.IsExist(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("create the file: %w", err)
		}
		if err := write(f); err != nil {
			f.Close()
			return "", err
		}
		if whole, err := filepath.Abs(path); err == nil {
			path = whole
		}
		return path, f.Close()
	}
	return "", fmt.Errorf("create the file: %w", os.ErrExist)
}
