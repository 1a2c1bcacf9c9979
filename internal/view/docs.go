package view

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// Docs is the documentation of what scripts read of the view, in Markdown, made from
// the tables of fields: docs/top.md.
func Docs() string {
	var b strings.Builder
	b.WriteString(docsIntro)
	b.WriteString("| field | JSON | meaning |\n| --- | --- | --- |\n")
	for _, f := range stateFields {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.name, f.typ.json(), f.sentence())
	}
	b.WriteString(docsRows)
	b.WriteString("| column | JSON | meaning |\n| --- | --- | --- |\n")
	for _, f := range rowFields {
		fmt.Fprintf(&b, "| `%s` `%s` | %s | %s |\n", f.heading(), f.name, f.typ.json(), f.sentence())
	}
	return b.String()
}

const docsIntro = `<!-- Made from internal/view by go test ./internal/view -run TestDocs -update; do not edit. -->
# The live view for scripts

` + "`twtrace top -o json`" + ` prints one JSON object per interval, one per line. Unknown values are absent, rates are per second,
and strings from outside are escaped as in [records](records.md). New fields may appear at any time: ignore those that you
do not know. [top.schema.json](top.schema.json) is the JSON Schema of a line. Names mean the same as in records;
[records.md](records.md#what-changed) has those that were different before schema 2.

`

const docsRows = `
## Rows, and the columns of tables

` + "`twtrace top -b`" + ` prints comment lines that start with ` + "`#`" + `, a heading and one line per row, with an empty line between two
tables. The columns are the fields of a row in ` + "`-o json`" + `, with the headings below. No column is ever moved or removed, and new
ones are added at the end. An unknown value is ` + "`-`" + `, and a space within a name is ` + "`\\x20`" + `, so splitting at spaces always works.
The key ` + "`e`" + ` exports the same fields.

`

// JSONSchema is the JSON Schema of an object: docs/top.schema.json.
func JSONSchema() []byte {
	properties := object{}
	for _, f := range stateFields {
		properties = append(properties, field{f.name, append(f.typ.schema(), described(f.sentence())...)})
	}
	var line, text bytes.Buffer
	err := encode(&line, object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", "twtrace top -o json"},
		{"description", "One line per interval. Later versions may add fields."},
		{"type", "object"},
		{"properties", properties},
		{"required", []string{"time", "interval_s", "time_wait", "lost_total", "rows"}},
	})
	if err := errors.Join(err, json.Indent(&text, line.Bytes(), "", "  ")); err != nil {
		panic(err) // strings and lists of them cannot fail
	}
	return text.Bytes()
}
