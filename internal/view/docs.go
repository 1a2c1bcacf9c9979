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
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.name, f.typ.json(), f.doc)
	}
	b.WriteString(docsRows)
	b.WriteString("| column | JSON | meaning |\n| --- | --- | --- |\n")
	for _, f := range rowFields {
		fmt.Fprintf(&b, "| `%s` `%s` | %s | %s |\n", strings.ToUpper(f.name), f.name, f.typ.json(), f.doc)
	}
	return b.String()
}

const docsIntro = `<!-- Made from internal/view by go test ./internal/view -run TestDocs -update; do not edit. -->
# The live view for scripts

` + "`twtrace top -o json`" + ` prints one object a line, each interval one. What is not known is absent, rates are per second, and
strings from outside are escaped as in [records](records.md). New fields may come at any time: readers skip what they do
not know. [top.schema.json](top.schema.json) is the JSON Schema of a line.

`

const docsRows = `
## Rows, and the columns of tables

` + "`twtrace top -b`" + ` prints lines that begin with ` + "`#`" + `, a heading and a line a row, with an empty line between two tables. The
columns are the fields of a row in ` + "`-o json`" + `, with names in capitals. They are never moved or removed, and new ones come
last; what is not known is ` + "`-`" + `, and a blank within a name is ` + "`\\x20`" + `, so that splitting at blanks always works. The key ` + "`e`" + `
exports the same fields.

`

func (t fieldType) json() string {
	switch t {
	case textField, severityField, timeField:
		return "string"
	case countField, rateField:
		return "number"
	case listField, findingsField, rowsField:
		return "array"
	}
	return "object"
}

// JSONSchema is the JSON Schema of an object: docs/top.schema.json.
func JSONSchema() []byte {
	properties := object{}
	for _, f := range stateFields {
		properties = append(properties, field{f.name, append(f.typ.schema(), described(f.doc)...)})
	}
	var line, text bytes.Buffer
	err := encode(&line, object{
		{"$schema", "https://json-schema.org/draft/2020-12/schema"},
		{"title", "twtrace top -o json"},
		{"description", "One line, of one interval. Later versions may add fields."},
		{"type", "object"},
		{"properties", properties},
		{"required", []string{"time", "interval_s", "tw", "lost", "rows"}},
	})
	if err := errors.Join(err, json.Indent(&text, line.Bytes(), "", "  ")); err != nil {
		panic(err) // strings and lists of them cannot fail
	}
	return text.Bytes()
}

func described(doc string) object {
	if doc == "" {
		return nil
	}
	return object{{"description", doc}}
}

func (t fieldType) schema() object {
	of := func(names string) object { // texts, but for the names behind a "#"
		var o object
		for _, name := range strings.Fields(names) {
			name, number := strings.CutPrefix(name, "#")
			kind := "string"
			if number {
				kind = "number"
			}
			o = append(o, field{name, object{{"type", kind}}})
		}
		return o
	}
	list := func(properties object) object {
		return object{{"type", "array"}, {"items", object{{"type", "object"}, {"properties", properties}}}}
	}
	switch t {
	case severityField:
		return object{{"enum", []string{"warn", "crit"}}}
	case timeField:
		return object{{"type", "string"}, {"format", "date-time"}}
	case countField:
		return object{{"type", "integer"}, {"minimum", 0}}
	case listField:
		return object{{"type", "array"}, {"items", object{{"type", "string"}}}}
	case stagesField:
		return object{{"type", "object"}, {"additionalProperties", object{{"type", "integer"}, {"minimum", 1}}}}
	case bucketsField:
		return object{{"type", "object"}, {"properties", append(of("severity #netns #used #usable"), field{"refusing", object{{"type", "boolean"}}})}}
	case portsField:
		return object{{"type", "object"}, {"properties", of("severity what #netns laddr raddr #rport #used #usable")}}
	case findingsField:
		return list(append(of("id severity title what who when why"), field{"remedies", list(of("kind text command undo risk"))}))
	case rowsField:
		var o object
		for _, f := range rowFields {
			o = append(o, field{f.name, append(f.typ.schema(), described(f.doc)...)})
		}
		return list(o)
	}
	return object{{"type", t.json()}}
}
