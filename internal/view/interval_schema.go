package view

import "strings"

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
		return object{{"type", "object"}, {"properties", of("severity resource #netns laddr raddr #rport #used #usable")}}
	case findingsField:
		shares := list(append(of("role comm #pid #processes #n"), field{"share", object{{"type", "number"}}}, field{"per_s", object{{"type", "number"}}}))
		one := append(of("id severity title what who"), field{"contributors", shares})
		one = append(append(one, of("when why")...), field{"remedies", list(of("kind text command undo risk"))})
		return list(append(one, field{"consequences", list(one)}))
	case rowsField:
		var o object
		for _, f := range rowFields {
			o = append(o, field{f.name, append(f.typ.schema(), described(f.sentence())...)})
		}
		return list(o)
	}
	return object{{"type", t.json()}}
}
