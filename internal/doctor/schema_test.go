package doctor

import (
	"bytes"
	"encoding/json"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/twtrace/twtrace/internal/advice"
)

// TestSchema checks what is written against the published schema, and that the
// schema refuses what would break its readers.
func TestSchema(t *testing.T) {
	schema, err := jsonschema.NewCompiler().Compile("../../docs/doctor.schema.json")
	if err != nil {
		t.Fatal(err)
	}
	for name, r := range reports() {
		if err := schema.Validate(decoded(t, r)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
	guessed := reports()["crit"]
	guessed.Findings[0].Likely = &advice.Likely{Comm: "nginx", Processes: 3, Sockets: 4, Reason: "the only program"}
	v := decoded(t, guessed)
	if l, _ := check(v.(map[string]any))["likely"].(map[string]any); schema.Validate(v) != nil || l["comm"] != "nginx" {
		t.Errorf("a guess: %v, %v", l, schema.Validate(v))
	}
	for name, change := range map[string]func(report map[string]any){
		"no verdict":            func(r map[string]any) { delete(r, "verdict") },
		"another schema":        func(r map[string]any) { r["schema"] = "twtrace.doctor/v2" },
		"an unknown field":      func(r map[string]any) { r["netns"] = 1 },
		"an unknown exit code":  func(r map[string]any) { r["exit_code"] = 10 },
		"a check's status":      func(r map[string]any) { check(r)["status"] = "bad" },
		"a check's remedy":      func(r map[string]any) { check(r)["remedies"] = []any{map[string]any{"kind": "later", "text": "x"}} },
		"a check without scope": func(r map[string]any) { delete(check(r), "scope") },
	} {
		v := decoded(t, reports()["crit"])
		change(v.(map[string]any))
		if schema.Validate(v) == nil {
			t.Errorf("the schema takes %s", name)
		}
	}
}

func check(report map[string]any) map[string]any { return report["checks"].([]any)[0].(map[string]any) }

// decoded is a report as its readers see it.
func decoded(t *testing.T, r Report) any {
	t.Helper()
	var b bytes.Buffer
	if err := WriteJSON(&b, r); err != nil {
		t.Fatal(err)
	}
	var v any
	if err := json.Unmarshal(b.Bytes(), &v); err != nil {
		t.Fatal(err)
	}
	return v
}
