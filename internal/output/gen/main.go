// Command gen writes the documentation of the records, docs/records.md and
// docs/records.schema.json, from the table of fields.
package main

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"github.com/twtrace/twtrace/internal/output"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "gen:", err)
		os.Exit(1)
	}
}

func run() error {
	root, err := moduleRoot()
	if err != nil {
		return err
	}
	docs := filepath.Join(root, "docs")
	if err := os.MkdirAll(docs, 0o755); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(docs, "records.md"), []byte(output.Docs()), 0o644); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(docs, "records.schema.json"), output.JSONSchema(), 0o644)
}

// moduleRoot returns the directory of go.mod, so that gen does the same from
// wherever it is run.
func moduleRoot() (string, error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for {
		_, err := os.Stat(filepath.Join(dir, "go.mod"))
		if err == nil {
			return dir, nil
		}
		parent := filepath.Dir(dir)
		if !errors.Is(err, fs.ErrNotExist) || parent == dir {
			return "", fmt.Errorf("find go.mod: %w", err)
		}
		dir = parent
	}
}
