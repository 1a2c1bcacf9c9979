package report

import (
	"encoding/json"
	"reflect"
	"strings"

	"github.com/twtrace/twtrace/internal/output"
)

// JSONSchema returns the JSON Schema of the JSON form, made from the types:
// docs/report.schema.json.
func JSONSchema() []byte {
	s := schemaOf(reflect.TypeFor[Report]())
	s["$schema"] = "https://json-schema.org/draft/2020-12/schema"
	s["title"] = Schema
	s["description"] = "What twtrace report -o json prints. Later versions may add fields."
	s["properties"].(map[string]any)["schema"].(map[string]any)["const"] = Schema
	out, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		panic(err) // strings, and maps and lists of them, cannot fail
	}
	return append(out, '\n')
}

func schemaOf(t reflect.Type) map[string]any {
	switch t.Kind() {
	case reflect.Pointer:
		return schemaOf(t.Elem())
	case reflect.Struct:
		return objectSchema(t)
	case reflect.Slice:
		items := schemaOf(t.Elem())
		if t.Elem().Kind() == reflect.Pointer {
			items["type"] = []string{items["type"].(string), "null"}
		}
		return map[string]any{"type": "array", "items": items}
	case reflect.String:
		return map[string]any{"type": "string"}
	case reflect.Float64:
		return map[string]any{"type": "number"}
	case reflect.Uint16, reflect.Uint32, reflect.Uint64:
		return map[string]any{"type": "integer", "minimum": 0}
	case reflect.Int64:
		return map[string]any{"type": "integer"}
	}
	panic("report: no schema of " + t.String())
}

func objectSchema(t reflect.Type) map[string]any {
	properties, required := map[string]any{}, []string{}
	for i := range t.NumField() {
		f := t.Field(i)
		name, optional := strings.CutSuffix(f.Tag.Get("json"), ",omitempty")
		if name == "" {
			continue
		}
		p := schemaOf(f.Type)
		p["description"] = description(name, f.Tag.Get("doc"))
		properties[name] = p
		if !optional {
			required = append(required, name)
		}
	}
	return map[string]any{"type": "object", "properties": properties, "required": required}
}

// description is what the field says of itself, or else what its name means in all that
// twtrace prints.
func description(name, doc string) string {
	if doc != "" {
		return doc
	}
	term, _ := output.FindTerm(name)
	return term.Doc
}
