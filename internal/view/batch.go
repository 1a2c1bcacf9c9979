package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strconv"
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

// Batch writes s as plain text, with the rows that d shows: remarks, which start with "#", a heading and a
// line a row, with no escape sequences whatever the processes are called.
func Batch(w io.Writer, s *State, d Display) error {
	var b strings.Builder
	fmt.Fprintf(&b, "# %s host=%s interval_s=%g time_wait=%d opens_per_s=%s ended_per_s=%s fails_per_s=%s lost_total=%d "+
		"time_wait_enters_per_s=%s time_wait_exits_per_s=%s parked=%d established=%d close_wait=%s\n",
		s.Time.UTC().Format(time.RFC3339), batchCell(s.Host), s.Interval.Round(10*time.Millisecond).Seconds(), s.TimeWait,
		batchCell(batchRate(s.Rates.Open)), batchCell(batchRate(s.Rates.Close)), batchCell(batchRate(s.Rates.Fail)), lost(&s.Lost),
		batchCell(batchRate(s.Rates.In)), batchCell(batchRate(s.Rates.Out)), s.Parked, s.Established,
		batchCell(known(s.Polled, s.CloseWait)))
	if s.Finding != "" {
		fmt.Fprintf(&b, "# %s\n", strings.TrimLeft(strings.ToUpper(s.Severity.String())+" "+string(output.Escape(nil, s.Finding)), " "))
	}
	if n := lost(&s.Lost); n > 0 {
		fmt.Fprintf(&b, "# lost %d%s\n", n, stages(&s.Lost))
	}
	for _, r := range s.Remarks {
		fmt.Fprintf(&b, "# %s\n", output.Escape(nil, r))
	}
	list := d.Arrange(s.Rows)
	table := make([][]string, 1, len(list)+1)
	for _, f := range rowFields {
		table[0] = append(table[0], f.heading())
	}
	for i := range list {
		var line []string
		for _, f := range rowFields {
			line = append(line, batchCell(f.cell(list[i])))
		}
		table = append(table, line)
	}
	align(&b, table)
	if _, err := io.WriteString(w, b.String()); err != nil {
		return fmt.Errorf("write table: %w", err)
	}
	return nil
}

// known is n, "" unless it is known.
func known(yes bool, n uint64) string {
	if !yes {
		return ""
	}
	return strconv.FormatUint(n, 10)
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
func RunBatch(ctx context.Context, src Source, w io.Writer, d Display, n int, objects bool) error {
	for i := 0; n == 0 || i < n; i++ {
		s, err := src.Next(ctx)
		if err != nil {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("next table: %w", err)
		}
		if objects {
			if err := Object(w, s, d); err != nil {
				return err
			}
			continue
		}
		if i > 0 {
			if _, err := io.WriteString(w, "\n"); err != nil {
				return fmt.Errorf("write table: %w", err)
			}
		}
		if err := Batch(w, s, d); err != nil {
			return err
		}
	}
	return nil
}
