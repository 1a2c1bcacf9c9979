package view

import (
	"encoding/json"
	"fmt"
	"io"
	"math"
	"os"
	"strings"
	"time"
)

// Objects writes rows as JSON, an object a line, in the columns of Batch; what is
// not known is left out.
func Objects(w io.Writer, s *State, rows []*Row) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false)
	for _, r := range rows {
		object := map[string]any{"time": s.Time.UTC().Format(time.RFC3339), "host": s.Host}
		for _, c := range batchColumns {
			if cell := c.cell(r); cell != "" {
				object[strings.ToLower(c.title)] = jsonValue(c.title, cell)
			}
		}
		if err := enc.Encode(object); err != nil {
			return fmt.Errorf("write rows: %w", err)
		}
	}
	return nil
}

// jsonValue makes a number of what is one: not of a comm in digits.
func jsonValue(title, cell string) any {
	switch title {
	case "SEV":
		return map[string]string{"!": "crit", "~": "warn"}[cell]
	case "COMM", "DIR", "PEER", "CLOSER", "LOCAL":
		return cell
	}
	var n json.Number
	if json.Unmarshal([]byte(cell), &n) != nil {
		return cell
	}
	return n
}

// exportFile makes a new file in the current directory that only its owner reads.
func exportFile(at time.Time, write func(io.Writer) error) (path string, err error) {
	for i := range math.MaxInt8 {
		path = "twtrace-" + at.UTC().Format("20060102-150405")
		if i > 0 {
			path += fmt.Sprintf("-%d", i)
		}
		path += ".ndjson"
		f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
		if os.IsExist(err) {
			continue
		}
		if err != nil {
			return "", fmt.Errorf("create the file: %w", err)
		}
		if err := write(f); err != nil {
			f.Close()
			return "", err
		}
		return path, f.Close()
	}
	return "", fmt.Errorf("create the file: %w", os.ErrExist)
}
