package main

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/advice"
)

// TestPreflightExplained: every ID that a preflight can print has a page, and every such
// page an ID. The IDs stand in the source as words.
func TestPreflightExplained(t *testing.T) {
	id := regexp.MustCompile(`"(TWD\d+)"`)
	printed := make(map[string]bool)
	for _, pattern := range []string{"../../internal/doctor/*.go", "../../internal/tracer/*.go"} {
		files, err := filepath.Glob(pattern)
		must(t, err)
		for _, file := range files {
			if strings.HasSuffix(file, "_test.go") {
				continue
			}
			source, err := os.ReadFile(file)
			must(t, err)
			for _, m := range id.FindAllSubmatch(source, -1) {
				printed[string(m[1])] = true
			}
		}
	}
	list, err := advice.Explanations()
	must(t, err)
	explained := regexp.MustCompile(`(?m)^TWD\d+`).FindAllString(list, -1)
	if want := slices.Sorted(maps.Keys(printed)); len(want) < 9 || !slices.Equal(explained, want) {
		t.Errorf("explained are %q, printed %q", explained, want)
	}
	table, err := os.ReadFile("../../docs/doctor.md")
	must(t, err)
	for id := range printed {
		if !strings.Contains(string(table), id) {
			t.Errorf("docs/doctor.md does not name %s", id)
		}
	}
}
