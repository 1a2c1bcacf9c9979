package advice

import (
	"embed"
	"fmt"
	"slices"
	"strings"
)

// pages has the whole story of each finding, as ID.md: its title, and the parts that
// pageParts names.
//
//go:embed explain/*.md
var pages embed.FS

// pageParts are what every page says, in this order.
var pageParts = []string{
	"What you see", "Why", "How to prove it", "What helps now", "The fix", "What does not help", "References",
}

// UnknownID says that there is no finding with an ID, and which one may be meant.
type UnknownID struct{ ID, Nearest string }

func (e *UnknownID) Error() string {
	return fmt.Sprintf("no finding %q; the nearest is %s (explain without an ID lists them)", e.ID, e.Nearest)
}

// Explain returns the page of the finding with the ID, for a terminal. The error for
// an ID that there is not is an *UnknownID.
func Explain(id string) (string, error) {
	all, err := pageIDs()
	if err != nil {
		return "", err
	}
	id = strings.ToUpper(strings.TrimSpace(id))
	if !slices.Contains(all, id) {
		return "", &UnknownID{id, nearest(id, all)}
	}
	text, err := pages.ReadFile("explain/" + id + ".md")
	if err != nil {
		return "", fmt.Errorf("explain %s: %w", id, err)
	}
	return renderPage(string(text)), nil
}

// Explanations lists the pages that there are: an ID and what it is about on each line.
func Explanations() (string, error) {
	all, err := pageIDs()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, id := range all {
		text, err := pages.ReadFile("explain/" + id + ".md")
		if err != nil {
			return "", fmt.Errorf("explain %s: %w", id, err)
		}
		title, _, _ := strings.Cut(string(text), "\n")
		_, title, _ = strings.Cut(strings.TrimPrefix(title, "# "), " ")
		fmt.Fprintf(&b, "%-6s  %s\n", id, title)
	}
	return b.String(), nil
}

// pageIDs are the IDs that have a page, in order.
func pageIDs() ([]string, error) {
	files, err := pages.ReadDir("explain")
	if err != nil {
		return nil, fmt.Errorf("list explanations: %w", err)
	}
	var all []string
	for _, f := range files {
		all = append(all, strings.TrimSuffix(f.Name(), ".md"))
	}
	return all, nil
}

// nearest is the one of all that takes the fewest keys to make of id; a bare number
// is that of a TW.
func nearest(id string, all []string) string {
	if id != "" && strings.Trim(id, "0123456789") == "" {
		id = "TW" + id
	}
	return slices.MinFunc(all, func(a, b string) int { return keys(id, a) - keys(id, b) })
}

// keys is the edit distance of two words.
func keys(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replace := diagonal
			if a[i] != b[j] {
				replace++
			}
			diagonal = row[j+1]
			row[j+1] = min(row[j+1]+1, row[j]+1, replace)
		}
	}
	return row[len(b)]
}
