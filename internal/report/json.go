package report

import (
	"encoding/json"
	"io"
)

// WriteJSON writes r as one object on one line.
func WriteJSON(w io.Writer, r *Report) error {
	enc := json.NewEncoder(w)
	enc.SetEscapeHTML(false) // arrows and commands stay as they are
	return enc.Encode(r)
}
