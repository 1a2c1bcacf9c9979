package output

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
)

//go:generate go run ./gen

// Docs returns the documentation of the records in Markdown, made from the
// table of fields: docs/records.md.
func Docs() string {
	var b strings.Builder
	b.WriteString(docsIntro)
	fmt.Fprintf(&b, "`text` prints `%s`.\n\n", strings.Join(textFields, ","))
	fmt.Fprintf(&b, "`wide` prints `%s`.\n\n", strings.Join(wideFields, ","))
	b.WriteString("`json` and `csv` print all fields, in the order below. `--fields` picks others in any format.\n\n")
	b.WriteString("## Events\n\n| `event` | when | `reason` |\n| --- | --- | --- |\n")
	for _, k := range kinds {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", k.kind, k.when, code(k.reasons))
	}
	b.WriteByte('\n')
	for _, g := range []struct {
		title  string
		fields []Field
	}{
		{"Fields of connections, and of `lost`", connFields},
		{"Fields of `storm_start`, `storm_update` and `storm_end`", stormFields},
		{"Fields of `start`", startFields},
		{"Fields of `end`", endFields},
	} {
		fmt.Fprintf(&b, "## %s\n\n| field | JSON | meaning |\n| --- | --- | --- |\n", g.title)
		for _, f := range g.fields {
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", f.Name, f.Type.json(), f.sentence())
		}
		b.WriteByte('\n')
	}
	return strings.TrimSuffix(b.String(), "\n")
}

const docsIntro = `<!-- Generated from internal/output by go generate; do not edit. -->
# Records

` + "`twtrace trace -o json`" + ` prints one object a line. The same names are the headers of CSV and, in capitals, the
headings of text, where durations are worded for people and ` + "`_ns`" + ` is left out of the heading. What is not known is
absent in JSON, empty in CSV and ` + "`-`" + ` in text. New fields may come at any time: readers skip what they do not know.
[records.schema.json](records.schema.json) is the JSON Schema of a line.

Strings from outside, such as a comm, are escaped in all formats: every byte that is not part of a printable UTF-8
character is ` + "`\\xNN`" + `, and a backslash is ` + "`\\\\`" + `. Invalid UTF-8, control and invisible characters so stay harmless and
distinguishable, and undoing the two escapes gives the bytes back. JSON and CSV then quote the result by their own
rules: in JSON each of these backslashes is doubled once more. Where a plain byte could be taken for something else it is
` + "`\\xNN`" + ` too: in text a space, a ` + "`#`" + ` in front and a lone ` + "`-`" + `, so that splitting at spaces always works; in CSV a
` + "`=`, `+`, `-` or `@`" + ` in front, so that no spreadsheet takes a name for a formula.

In text ` + "`start`, `lost` and `end`" + ` are lines that begin with ` + "`#`" + `. In CSV they are rows as the others are, lists written
` + "`a;b`" + ` and objects ` + "`k=v;k=v`" + `; with ` + "`--fields`" + ` they are there if ` + "`event`" + ` is among the fields. In JSON ` + "`--fields`" + ` does not
thin them.

`

// sentence is what the documentation says of f: its meaning, its values, and
// the record that has it if the title above does not say so.
func (f *Field) sentence() string {
	s := f.Doc
	unsaid := func(value string) bool { return !strings.Contains(s, "`"+value+"`") }
	if slices.ContainsFunc(f.Enum, unsaid) {
		s += ". One of `" + strings.Join(f.Enum, "`, `") + "`"
	}
	if f.On == "lost" {
		s = "on `lost`: " + s
	}
	return s
}

// code lists names in Markdown.
func code[T fmt.Stringer](names []T) string {
	out := make([]string, len(names))
	for i, n := range names {
		out[i] = "`" + n.String() + "`"
	}
	return strings.Join(out, ", ")
}

// json returns the JSON type in words.
func (t Type) json() string {
	switch t {
	case TypeInt, TypeUint, TypeDuration:
		return "integer"
	case TypeFloat:
		return "number"
	case TypeBool:
		return "boolean"
	case TypeList:
		return "array of strings"
	case TypeStrings:
		return "object of strings"
	case TypeCounts:
		return "object of integers"
	case TypeDrift:
		return "array of objects"
	}
	return "string"
}

// schema is the part of JSON Schema that the records need.
type schema struct {
	Schema      string            `json:"$schema,omitempty"`
	Title       string            `json:"title,omitempty"`
	Description string            `json:"description,omitempty"`
	Type        string            `json:"type"`
	Format      string            `json:"format,omitempty"`
	Pattern     string            `json:"pattern,omitempty"`
	Enum        []string          `json:"enum,omitempty"`
	Minimum     *int              `json:"minimum,omitempty"`
	Items       *schema           `json:"items,omitempty"`
	Properties  map[string]schema `json:"properties,omitempty"`
	Additional  *schema           `json:"additionalProperties,omitempty"`
	Required    []string          `json:"required,omitempty"`
}

// JSONSchema returns the JSON Schema of a record: docs/records.schema.json.
func JSONSchema() []byte {
	s := schema{
		Schema:      "https://json-schema.org/draft/2020-12/schema",
		Title:       fmt.Sprintf("twtrace record, schema %d", Schema),
		Description: "One line of twtrace trace -o json without --fields. Later versions may add fields.",
		Type:        "object",
		Properties:  map[string]schema{},
		Required:    []string{"time", "event"},
	}
	for _, f := range all {
		p := f.Type.schema()
		p.Description = f.Doc
		p.Enum = slices.Clone(f.Enum)
		s.Properties[f.Name] = p
	}
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // strings and maps of them cannot fail
	}
	return append(out, '\n')
}

func (t Type) schema() schema {
	zero := 0
	switch t {
	case TypeUint:
		return schema{Type: "integer", Minimum: &zero}
	case TypeTime:
		return schema{Type: "string", Format: "date-time"}
	case TypeHex:
		return schema{Type: "string", Pattern: "^[0-9a-f]{1,16}$"}
	case TypeList:
		return schema{Type: "array", Items: &schema{Type: "string"}}
	case TypeStrings:
		return schema{Type: "object", Additional: &schema{Type: "string"}}
	case TypeCounts:
		return schema{Type: "object", Additional: &schema{Type: "integer", Minimum: &zero}}
	case TypeDrift:
		n := schema{Type: "integer"}
		return schema{Type: "array", Items: &schema{
			Type:       "object",
			Properties: map[string]schema{"netns": n, "births": n, "reused": n, "refused": n, "alive": n},
			Required:   []string{"netns", "births", "reused", "refused", "alive"},
		}}
	}
	return schema{Type: t.json()}
}
