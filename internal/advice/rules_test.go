package advice

import (
	"os"
	"regexp"
	"strings"
	"testing"
)

// TestEachRuleHasItsFiles: a rule, its page and its test are found by its ID.
func TestEachRuleHasItsFiles(t *testing.T) {
	for _, r := range everyRule() {
		name := strings.ToLower(r.id)
		for file, has := range map[string]string{
			name + ".go":              "var " + name + ` = rule{id: "` + r.id + `", `,
			name + "_test.go":         "func Test" + r.id + "(t *testing.T)",
			"explain/" + r.id + ".md": "# " + r.id + " " + r.title + "\n",
		} {
			if text, err := os.ReadFile(file); err != nil || !strings.Contains(string(text), has) {
				t.Errorf("%s lacks %q (%v)", file, has, err)
			}
		}
	}
}

// TestRuleTable: each ID is there once.
func TestRuleTable(t *testing.T) {
	seen := map[string]bool{}
	for _, r := range everyRule() {
		if seen[r.id] || !regexp.MustCompile(`^TW\d{3}$`).MatchString(r.id) || r.title == "" || r.find == nil {
			t.Errorf("rule %q comes twice or lacks something", r.id)
		}
		seen[r.id] = true
		if found, ok := ruleOf(r.id); !ok || found.title != r.title {
			t.Errorf("%s is not found by its ID", r.id)
		}
	}
}
