package advice

import (
	"embed"
	"fmt"
	"slices"
	"strings"

	"github.com/xrash/smetrics"
)

// pages has a page about each finding, as ID.md: its title, and the parts that pageParts
// names.
//
//go:embed explain/*.md
var pages embed.FS

// pageParts are what every page says, in this order.
var pageParts = []string{
	"What you see", "Why", "How to prove it", "What helps now", "The fix", "What does not help", "References",
}

// UnknownID says that no finding has an ID, and which one is nearest to it.
type UnknownID struct{ ID, Nearest string }

func (e *UnknownID) Error() string {
	return fmt.Sprintf("no finding %q; did you mean %s? (explain without an ID lists them all)", e.ID, e.Nearest)
}

// Explain returns the page about the finding with the ID, for a terminal, or the one about
// an error, by its name or its text, or about a state. The error for what is none of these
// is an *UnknownID.
func Explain(id string) (string, error) {
	all, err := pageIDs()
	if err != nil {
		return "", err
	}
	wanted := strings.ToUpper(strings.TrimSpace(id))
	if slices.Contains(all, wanted) {
		return page(wanted)
	}
	found := pagesNaming(id)
	if len(found) == 0 {
		return "", &UnknownID{wanted, nearest(wanted, all)}
	}
	text, err := page(found[0])
	if len(found) > 1 {
		text += "\nSEE ALSO\n"
		for _, other := range found[1:] {
			title, err := titleOf(other)
			if err != nil {
				return "", err
			}
			text += fmt.Sprintf("twtrace explain %s  %s\n", other, title)
		}
	}
	return text, err
}

// page is the page of an ID.
func page(id string) (string, error) {
	text, err := pages.ReadFile("explain/" + id + ".md")
	if err != nil {
		return "", fmt.Errorf("explain %s: %w", id, err)
	}
	return renderPage(string(text)), nil
}

// titleOf is the title of a page, without its ID.
func titleOf(id string) (string, error) {
	text, err := pages.ReadFile("explain/" + id + ".md")
	if err != nil {
		return "", fmt.Errorf("explain %s: %w", id, err)
	}
	title, _, _ := strings.Cut(string(text), "\n")
	_, title, _ = strings.Cut(strings.TrimPrefix(title, "# "), " ")
	return title, nil
}

// Explanations lists all pages: an ID and its title on each line.
func Explanations() (string, error) {
	all, err := pageIDs()
	if err != nil {
		return "", err
	}
	var b strings.Builder
	for _, id := range all {
		title, err := titleOf(id)
		if err != nil {
			return "", err
		}
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

// nearest is the one of all with the smallest edit distance to id; a bare number is that
// of a TW.
func nearest(id string, all []string) string {
	if id != "" && strings.Trim(id, "0123456789") == "" {
		id = "TW" + id
	}
	distance := func(to string) int { return smetrics.WagnerFischer(id, to, 1, 1, 1) }
	return slices.MinFunc(all, func(a, b string) int { return distance(a) - distance(b) })
}
