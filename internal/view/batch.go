package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/output"
)

// batchCell makes a cell one word for scripts that split at spaces: nothing is
// "-", and a free text cannot be taken for that, for a remark or for more cells.
func batchCell(s string) string {
	s = strings.ReplaceAll(Caps{Unicode: true}.word(s), " ", `\x20`)
	if s[0] == '#' {
		s = `\x23` + s[1:]
	}
	return s
}

// Batch writes s as plain text, with the rows that look shows: remarks that begin with "#", a heading and a
// line a row, with no escape sequences whatever the processes are called.
func Batch(w io.Writer, s *State, look Look) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s host=%s interval=%s tw=%d open_s=%s close_s=%s fail_s=%s lost=%d in_s=%s out_s=%s parked=%d est=%d\n",
		s.Time.UTC().Format(time.RFC3339), batchCell(s.Host), interval(s.Interval), s.TimeWait,
		batchCell(batchRate(s.Rates.Open)), batchCell(batchRate(s.Rates.Close)), batchCell(batchRate(s.Rates.Fail)), lost(&s.Lost),
		batchCell(batchRate(s.Rates.In)), batchCell(batchRate(s.Rates.Out)), s.Parked, s.Established)
	if s.Finding != "" {
		fmt.Fprintf(&b, "# %s %s\n", s.Severity, output.Escape(nil, s.Finding))
	}
	if n := lost(&s.Lost); n > 0 {
		fmt.Fprintf(&b, "# lost %d%s\n", n, stages(&s.Lost))
	}
	for _, r := range s.Remarks {
		fmt.Fprintf(&b, "# %s\n", output.Escape(nil, r))
	}
	rows := look.Arrange(s.Rows)
	table := make([][]string, 1, len(rows)+1)
	for _, f := range rowFields {
		table[0] = append(table[0], strings.ToUpper(f.name))
	}
	for i := range rows {
		var line []string
		for _, f := range rowFields {
			line = append(line, batchCell(f.cell(rows[i])))
		}
		table = append(table, line)
	}
	align(&b, table)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// align writes cells in columns, with nothing behind the last.
func align(b *strings.Builder, table [][]string) {
	widths := make([]int, len(table[0]))
	for _, line := range table {
		for i, cell := range line {
			widths[i] = max(widths[i], ansi.StringWidth(cell))
		}
	}
	for _, line := range table {
		for i, cell := range line {
			b.WriteString(cell)
			if i < len(line)-1 {
				b.WriteString(strings.Repeat(" ", widths[i]-ansi.StringWidth(cell)+1))
			}
		}
		b.WriteByte('\n')
	}
}

// RunBatch writes a table for every state of src, with an empty line between
// two, or an object a line, until n are written (0 is no limit), src ends (io.EOF) or
// ctx is done; none of these is an error.
func RunBatch(ctx context.Context, src Source, w io.Writer, look Look, n int, objects bool) error {
	for i := 0; n == 0 || i < n; i++ {
		s, err := src.Next(ctx)
		if err != nil {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("next table: %w", err)
		}
		if objects {
			if err := Object(w, s, look); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return fmt.Errorf("write table: %w", err)
			}
		}
		if err := Batch(w, s, look); err != nil {
			return err
		}
	}
	return nil
}
