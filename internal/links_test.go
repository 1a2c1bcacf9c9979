package internal

import (
	"io/fs"
	"os"
	"path"
	"regexp"
	"strings"
	"testing"
)

var (
	link    = regexp.MustCompile(`\]\(([^)\s]+)\)`)
	heading = regexp.MustCompile(`(?m)^#+ +(.+)$`)
	notSlug = regexp.MustCompile(`[^\pL\pN _-]`)
)

// TestLinks: each link from a page to a file or a heading of this repository leads
// somewhere.
func TestLinks(t *testing.T) {
	root := os.DirFS("..")
	n := 0
	for _, glob := range pages {
		names, err := fs.Glob(root, glob)
		if err != nil {
			t.Fatal(err)
		}
		for _, name := range names {
			text := page(t, root, name)
			for _, m := range link.FindAllStringSubmatch(text, -1) {
				if strings.Contains(m[1], "://") {
					continue
				}
				n++
				file, anchor, _ := strings.Cut(m[1], "#")
				to := name
				if file != "" {
					to = path.Join(path.Dir(name), file)
				}
				if _, err := fs.Stat(root, to); err != nil {
					t.Errorf("%s: link to %s: %v", name, m[1], err)
				} else if anchor != "" && !anchors(page(t, root, to))[anchor] {
					t.Errorf("%s: link to %s: no such heading", name, m[1])
				}
			}
		}
	}
	if n < 20 {
		t.Errorf("only %d links found", n)
	}
}

// quoted is a path of this repository in a page, perhaps with wildcards.
var quoted = regexp.MustCompile("`((?:internal|cmd|bpf|docs)/[A-Za-z0-9_./*-]+)`")

// TestPaths: the files that the pages for developers name are there. NNN in a name
// is a number to be chosen.
func TestPaths(t *testing.T) {
	root := os.DirFS("..")
	n := 0
	for _, name := range []string{"ARCHITECTURE.md", "CONTRIBUTING.md", "bpf/README.md"} {
		for _, m := range quoted.FindAllStringSubmatch(page(t, root, name), -1) {
			n++
			glob := strings.TrimSuffix(strings.ReplaceAll(m[1], "NNN", "*"), "/")
			if found, err := fs.Glob(root, glob); err != nil || len(found) == 0 {
				t.Errorf("%s: there is no %s", name, m[1])
			}
		}
	}
	if n < 50 {
		t.Errorf("only %d paths found", n)
	}
}

func page(t *testing.T, root fs.FS, name string) string {
	text, err := fs.ReadFile(root, name)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// anchors are the names of the headings of a page, as GitHub makes them.
func anchors(text string) map[string]bool {
	all := make(map[string]bool)
	for _, m := range heading.FindAllStringSubmatch(text, -1) {
		all[strings.ReplaceAll(notSlug.ReplaceAllString(strings.ToLower(m[1]), ""), " ", "-")] = true
	}
	return all
}
