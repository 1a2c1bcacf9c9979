package view

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/charmbracelet/x/ansi"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// batchColumns are the columns of Batch. Scripts count them: none is ever moved
// or removed, and new ones come last.
var batchColumns = []struct {
	title string
	cell  func(r *Row) string
}{
	{"SEV", func(r *Row) string { return strings.TrimSpace(r.Severity.mark()) }},
	{"COMM", func(r *Row) string { return r.name() }},
	{"PID", batchPID},
	{"DIR", batchDirection},
	{"PEER", batchPeer},
	{"TW", func(r *Row) string { return strconv.FormatUint(r.TimeWait, 10) }},
	{"TW_S", func(r *Row) string { return batchRate(r.In - r.Out) }},
	{"PORT_PCT", batchPorts},
	{"OPEN_S", func(r *Row) string { return batchRate(r.Open) }},
	{"CLOSE_S", func(r *Row) string { return batchRate(r.Close) }},
	{"FAIL_S", func(r *Row) string { return batchRate(r.Fail) }},
	{"LIFE50_MS", func(r *Row) string { return batchLife(r, 0.5) }},
	{"CLOSER", func(r *Row) string { side, _, _ := r.closer(); return side.String() }},
	{"CLOSER_PCT", batchCloserShare},
	{"IN_S", func(r *Row) string { return batchRate(r.In) }},
	{"OUT_S", func(r *Row) string { return batchRate(r.Out) }},
	{"PARKED", func(r *Row) string { return strconv.FormatUint(r.Parked, 10) }},
	{"EST", func(r *Row) string { return strconv.FormatUint(r.Established, 10) }},
	{"LIFE99_MS", func(r *Row) string { return batchLife(r, 0.99) }},
	{"LOCAL", batchLocal},
	{"NETNS", func(r *Row) string { return batchNumber(uint64(r.NetNS)) }},
	{"PIDS", func(r *Row) string { return batchNumber(uint64(r.PIDs)) }},
	{"PEERS", batchPeers},
	{"PPID", batchParent},
	{"PCOMM", func(r *Row) string { return r.who().PComm }},
	{"UID", batchUID},
	{"EXE", func(r *Row) string { return r.who().Exe }},
	{"UNIT", func(r *Row) string { return r.who().Unit }},
	{"CONTAINER", func(r *Row) string { return either(r.who().ContainerName, r.who().Container) }},
	{"POD", func(r *Row) string { return either(r.who().PodName, r.who().Pod) }},
}

func batchParent(r *Row) string { return batchNumber(uint64(r.who().PPID)) }

func batchUID(r *Row) string {
	if !r.who().HasUID {
		return ""
	}
	return decimal(r.who().UID)
}

func batchNumber(n uint64) string {
	if n == 0 {
		return ""
	}
	return strconv.FormatUint(n, 10)
}

func batchPID(r *Row) string { return batchNumber(uint64(r.Owner.PID)) }

func batchDirection(r *Row) string {
	switch r.Role {
	case event.Client:
		return "out"
	case event.Server:
		return "in"
	}
	return ""
}

// batchPeer is "*" where there are many, as a server's clients.
func batchPeer(r *Row) string {
	switch {
	case r.Remote.IsValid():
		return r.Remote.String()
	case r.Role == event.Server || r.Peers > 1:
		return "*"
	}
	return ""
}

func batchLocal(r *Row) string {
	switch {
	case !r.Local.Addr().IsValid():
		return ""
	case r.Local.Port() == 0:
		return r.Local.Addr().String()
	}
	return r.Local.String()
}

// batchPeers is how many peers the row has: destinations of a client, remote
// addresses of a server.
func batchPeers(r *Row) string {
	if r.Role == event.Server {
		return batchNumber(uint64(r.Clients))
	}
	return batchNumber(uint64(r.Peers))
}

func batchPorts(r *Row) string {
	if r.Usable <= 0 {
		return ""
	}
	return strconv.Itoa(int(100 * float64(r.Ports) / float64(r.Usable)))
}

func batchCloserShare(r *Row) string {
	_, n, of := r.closer()
	if of == 0 {
		return ""
	}
	return strconv.FormatUint(100*n/of, 10)
}

// batchRate has one decimal below ten, where it says something.
func batchRate(v float64) string {
	switch {
	case !known(v):
		return ""
	case math.Abs(v) < 9.95 && math.Abs(v-math.Round(v)) >= 0.05:
		return strconv.FormatFloat(v, 'f', 1, 64)
	}
	return strconv.FormatInt(int64(math.Round(v)), 10)
}

// batchLife is in milliseconds, with three digits.
func batchLife(r *Row, q float64) string {
	d, ok := r.Life.Quantile(q)
	if !ok {
		return ""
	}
	ms := float64(d) / float64(time.Millisecond)
	if ms <= 0 {
		return "0"
	}
	unit := math.Pow10(int(math.Floor(math.Log10(ms))) - 2)
	return strconv.FormatFloat(math.Round(ms/unit)*unit, 'f', max(0, 2-int(math.Floor(math.Log10(ms)))), 64)
}

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
	for _, c := range batchColumns {
		table[0] = append(table[0], c.title)
	}
	for i := range rows {
		var line []string
		for _, c := range batchColumns {
			line = append(line, batchCell(c.cell(rows[i])))
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
// two, until n are written (0 is no limit), src ends (io.EOF) or ctx is done;
// none of these is an error.
func RunBatch(ctx context.Context, src Source, w io.Writer, look Look, n int) error {
	for i := 0; n == 0 || i < n; i++ {
		s, err := src.Next(ctx)
		if err != nil {
			if errors.Is(err, io.EOF) || ctx.Err() != nil {
				return nil
			}
			return fmt.Errorf("next table: %w", err)
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
