package output

import (
	_ "embed"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
)

//go:generate go run ./gen

// Docs returns the documentation of the records in Markdown, made from the
// table of fields: docs/records.md.
func Docs() string {
	var b strings.Builder
	b.WriteString(strings.ReplaceAll(docsIntro, "SCHEMA", strconv.Itoa(Schema)) + "\n")
	fmt.Fprintf(&b, "`text` prints `%s`, and on a terminal that is too narrow for them, fewer.\n\n", strings.Join(Default(Text), ","))
	fmt.Fprintf(&b, "`wide` prints `%s`.\n\n", strings.Join(wideFields, ","))
	b.WriteString("`json` and `csv` print all fields, in the order below. `--fields` selects others in any format.\n\n")
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
	b.WriteString("## Names that are in no record\n\nTables (`top`, `ports`, `list --by`, `trace --summary`) and reports have the names above, and these.\n\n" +
		"| name | JSON | meaning |\n| --- | --- | --- |\n")
	for _, t := range tableTerms {
		fmt.Fprintf(&b, "| `%s` | %s | %s |\n", t.Name, t.Type.json(), t.Doc)
	}
	return b.String() + "\n" + docsChanges()
}

// docsIntro is what stands above the tables, with SCHEMA for its number.
//
//go:embed records.intro.md
var docsIntro string

// changes documents what a schema changed, newest first, in Markdown. Old names are in
// the terms.
var changes = []string{
	2: "One name for one thing, in all that twtrace prints, and the unit in each name. Trace files of schema 1 are read as before, " +
		"and `--fields` and `--closer` take the old names.\n\n" +
		"In `top`, `dir` (`out`, `in`) is `role` (`client`, `server`), `peer` and `local` are `raddr`, `rport`, `laddr` and `lport`, " +
		"lifetimes are in nanoseconds, not milliseconds, and `container` and `pod` are ids beside `container_name` and `pod_name`.\n\n" +
		"The report is `twtrace.report/v2`. Beside the table below, `begin` is `start`, owners have `group`, not `name`, and " +
		"`closed_by_local_total` and `closed_by_known_total`, not `closed_first` and `closer_known`; `totals.before` is `snapshots_total`, " +
		"`no_port` is `no_port_total`, namespaces have `used` and `usable`, not `time_wait` and `limit`, and the arrays in `series` " +
		"and the lists by reason are `opens`, `fails`, `time_wait_enters`, `time_wait_exits` and `time_wait_refused`.",
}

// docsChanges returns the section on what changed, and since when.
func docsChanges() string {
	var b strings.Builder
	b.WriteString("## What changed\n")
	for n := len(changes) - 1; n > 1; n-- {
		fmt.Fprintf(&b, "\n### Schema %d\n\n%s\n", n, changes[n])
	}
	b.WriteString("\n| where | until schema 1 | from schema 2 on |\n| --- | --- | --- |\n")
	for _, place := range []string{inRecords, inPorts, inTop, inSummary, inReport} {
		for _, t := range Terms() {
			for _, old := range t.Was {
				if old.In == place {
					fmt.Fprintf(&b, "| %s | `%s` | `%s` |\n", place, old.Name, t.Name)
				}
			}
		}
	}
	return b.String()
}

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
