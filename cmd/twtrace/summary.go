package main

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/rows"
)

func byFlag() cli.Flag {
	return &cli.StringFlag{Name: "by", Value: "flow", Category: categoryOutput,
		Usage: "one row per `WHAT`: " + strings.Join(rows.GroupingNames(), ", ")}
}

func parseBy(c *cli.Context) (rows.Grouping, error) {
	by, err := rows.ParseGrouping(c.String("by"))
	if err != nil {
		return 0, usagef("--by: %v", err)
	}
	return by, nil
}

// column is a column of the table, and what a row has there.
type column struct {
	output.TableColumn
	cell func(r *rows.Row) output.Value
}

// whoColumns say who a row is about.
var whoColumns = []column{
	{output.TableColumn{Name: "group", Width: 8}, func(r *rows.Row) output.Value { return output.String(r.Name()) }},
	{output.TableColumn{Name: "pid", Width: 7, Right: true}, func(r *rows.Row) output.Value { return known(r.Owner.PID) }},
	{output.TableColumn{Name: "processes", Right: true, Drop: 5}, func(r *rows.Row) output.Value { return known(uint32(r.PIDs)) }},
	{output.TableColumn{Name: "ppid", Width: 7, Right: true, Drop: 9}, ofWho(func(w *event.Who) output.Value { return known(w.PPID) })},
	{output.TableColumn{Name: "pcomm", Width: 8, Drop: 8}, ofWho(func(w *event.Who) output.Value { return output.String(w.PComm) })},
	{output.TableColumn{Name: "comm", Wide: true}, func(r *rows.Row) output.Value { return output.String(r.Owner.Comm) }},
	{output.TableColumn{Name: "uid", Right: true, Wide: true}, ofWho(uidOf)},
	{output.TableColumn{Name: "exe", Wide: true}, ofWho(func(w *event.Who) output.Value { return output.String(w.Exe) })},
	{output.TableColumn{Name: "unit", Wide: true}, ofWho(func(w *event.Who) output.Value { return output.String(w.Unit) })},
	{output.TableColumn{Name: "container", Wide: true}, ofWho(func(w *event.Who) output.Value { return output.String(w.Container) })},
	{output.TableColumn{Name: "pod", Wide: true}, ofWho(func(w *event.Who) output.Value { return output.String(w.Pod) })},
	{output.TableColumn{Name: "netns", Right: true, Data: true}, func(r *rows.Row) output.Value { return known(r.NetNS) }},
	{output.TableColumn{Name: "netns_name", Wide: true}, func(r *rows.Row) output.Value { return output.String(r.Space) }},
	{output.TableColumn{Name: "role", Width: 6, Drop: 4}, func(r *rows.Row) output.Value { return output.Word(r.Role.String()) }},
	{output.TableColumn{Name: "laddr", Wide: true}, func(r *rows.Row) output.Value { return output.Addr(r.Local.Addr()) }},
	{output.TableColumn{Name: "lport", Right: true, Drop: 3}, func(r *rows.Row) output.Value { return known(r.Local.Port()) }},
	{output.TableColumn{Name: "raddr", Width: 9}, func(r *rows.Row) output.Value { return output.Addr(r.Remote.Addr()) }},
	{output.TableColumn{Name: "rport", Right: true}, func(r *rows.Row) output.Value { return known(r.Remote.Port()) }},
	{output.TableColumn{Name: "time_wait", Right: true}, func(r *rows.Row) output.Value { return output.Uint(r.TimeWait) }},
}

// countColumns say what happened.
var countColumns = []column{
	{output.TableColumn{Name: "opens_total", Right: true}, func(r *rows.Row) output.Value { return output.Uint(r.Total.Opens) }},
	{output.TableColumn{Name: "time_wait_enters_total", Right: true}, func(r *rows.Row) output.Value { return output.Uint(r.Total.Enters) }},
	{output.TableColumn{Name: "time_wait_exits_total", Right: true, Drop: 6}, func(r *rows.Row) output.Value { return output.Uint(r.Total.Exit()) }},
	{output.TableColumn{Name: "closes_total", Right: true, Drop: 7}, func(r *rows.Row) output.Value { return output.Uint(r.Total.Closes) }},
	{output.TableColumn{Name: "fails_total", Right: true}, func(r *rows.Row) output.Value { return output.Uint(r.Total.Fails.Total()) }},
	{output.TableColumn{Name: "time_wait_refused_total", Right: true, Wide: true}, func(r *rows.Row) output.Value { return output.Uint(r.Total.Refused) }},
	{output.TableColumn{Name: "life_p50_ns", Right: true, Drop: 2}, func(r *rows.Row) output.Value {
		if d, ok := r.Life.Quantile(0.5); ok {
			return output.Nanos(int64(d))
		}
		return output.Value{}
	}},
}

// known is a number; 0 is unknown.
func known[T ~uint16 | ~uint32](n T) output.Value {
	if n == 0 {
		return output.Value{}
	}
	return output.Uint(uint64(n))
}

func uidOf(w *event.Who) output.Value {
	if !w.HasUID {
		return output.Value{}
	}
	return output.Uint(uint64(w.UID))
}

func ofWho(value func(*event.Who) output.Value) func(*rows.Row) output.Value {
	return func(r *rows.Row) output.Value {
		if r.Owner.Who == nil {
			return output.Value{}
		}
		return value(r.Owner.Who)
	}
}

// namedSpaces are columns for people: a network namespace without a name has its number.
func namedSpaces(columns []column) []column {
	columns = slices.Clone(columns)
	i := slices.IndexFunc(columns, func(c column) bool { return c.Name == "netns_name" })
	columns[i].cell = func(r *rows.Row) output.Value {
		if r.Space == "" {
			return known(r.NetNS)
		}
		return output.String(r.Space)
	}
	return columns
}

// newTable returns an empty table of the columns that o selects, or of all.
func newTable(o output.Options, columns []column) (*output.Table, error) {
	var heads []output.TableColumn
	for _, c := range columns {
		heads = append(heads, c.TableColumn)
	}
	t := output.NewTable(heads...)
	if o.Fields != nil {
		if err := t.Select(o.Fields); err != nil {
			return nil, usagef("--fields: %v", err)
		}
	}
	return t, nil
}

// fillTable puts the groups into a table, those with most sockets in TIME_WAIT first.
func fillTable(t *output.Table, columns []column, groups []*rows.Row) {
	for _, r := range groups {
		cells := make([]output.Value, len(columns))
		for j, c := range columns {
			cells[j] = c.cell(r)
		}
		t.Add(cells...)
	}
}

// summarizer is an output.Writer that prints the table at the end alone: when the
// trace is finished, or, with no trace, when it is flushed.
type summarizer struct {
	by      rows.Grouping
	counted *rows.Collector
	out     io.Writer
	format  output.Format
	table   *output.Table
	columns []column
	traces  bool
}

// newSummarizer returns one for a trace, as the flags say.
func newSummarizer(c *cli.Context, w io.Writer) (*summarizer, error) {
	return summarize(c, w, slices.Concat(whoColumns, countColumns), true)
}

// newCounter returns one for the sockets alive now.
func newCounter(c *cli.Context, w io.Writer) (*summarizer, error) {
	return summarize(c, w, whoColumns, false)
}

func summarize(c *cli.Context, w io.Writer, columns []column, traces bool) (*summarizer, error) {
	by, err := parseBy(c)
	if err != nil {
		return nil, err
	}
	o, err := parseTable(c)
	if err != nil {
		return nil, err
	}
	if o.Format == output.Text || o.Format == output.Wide {
		columns = namedSpaces(columns)
	}
	t, err := newTable(o, columns)
	if err != nil {
		return nil, err
	}
	t.SetWidth(o.Width)
	return &summarizer{by, rows.NewCollector(), w, o.Format, t, columns, traces}, nil
}

// Write takes e into account.
func (s *summarizer) Write(e *event.Event) error {
	if e.Kind != event.End {
		s.counted.Add(e)
	}
	return nil
}

// Finish prints the table of a trace, whether it came to its end or a part was asked for.
func (s *summarizer) Finish() error { return s.print() }

// Flush prints the table if there is no trace to finish.
func (s *summarizer) Flush() error {
	if s.traces {
		return nil
	}
	return s.print()
}

func (s *summarizer) print() error {
	fillTable(s.table, s.columns, rows.Arrange(s.counted.Rows(time.Now().UnixNano()), s.by, rows.SortTimeWait))
	return s.table.Write(s.out, s.format)
}
