package main

import (
	"io"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/view"
)

func byFlag() cli.Flag {
	return &cli.StringFlag{Name: "by", Value: "flow", Category: categoryOutput,
		Usage: "one row for each `WHAT`: " + strings.Join(view.GroupingNames(), ", ")}
}

func parseBy(c *cli.Context) (view.Grouping, error) {
	by, err := view.ParseGrouping(c.String("by"))
	if err != nil {
		return 0, usagef("--by: %v", err)
	}
	return by, nil
}

// summary counts connections, to be printed as a table of groups.
type summary struct {
	by    view.Grouping
	conns *conn.Table
}

// newSummary returns an empty one, that forgets nothing while there is room.
func newSummary(by view.Grouping) *summary {
	const ever = 100 * 365 * 24 * time.Hour
	return &summary{by: by, conns: conn.New(conn.Options{Idle: ever})}
}

// add takes an event into account that has its owner.
func (s *summary) add(e *event.Event) {
	one := *e
	s.conns.Apply(&one)
}

// column is a column of the table, and what a row has there.
type column struct {
	output.TableColumn
	cell func(r *view.Row) output.Value
}

// whoColumns say what a row is of.
var whoColumns = []column{
	{output.TableColumn{Name: "group", Width: 8}, func(r *view.Row) output.Value { return output.String(r.Name()) }},
	{output.TableColumn{Name: "pid", Width: 7, Right: true}, func(r *view.Row) output.Value { return known(r.Owner.PID) }},
	{output.TableColumn{Name: "processes", Right: true}, func(r *view.Row) output.Value { return known(uint32(r.PIDs)) }},
	{output.TableColumn{Name: "ppid", Width: 7, Right: true}, ofWho(func(w *event.Who) output.Value { return known(w.PPID) })},
	{output.TableColumn{Name: "pcomm", Width: 8}, ofWho(func(w *event.Who) output.Value { return output.String(w.PComm) })},
	{output.TableColumn{Name: "comm", Wide: true}, func(r *view.Row) output.Value { return output.String(r.Owner.Comm) }},
	{output.TableColumn{Name: "uid", Right: true, Wide: true}, ofWho(uidOf)},
	{output.TableColumn{Name: "exe", Wide: true}, ofWho(func(w *event.Who) output.Value { return output.String(w.Exe) })},
	{output.TableColumn{Name: "unit", Wide: true}, ofWho(func(w *event.Who) output.Value { return output.String(w.Unit) })},
	{output.TableColumn{Name: "container", Wide: true}, ofWho(func(w *event.Who) output.Value { return output.String(w.Container) })},
	{output.TableColumn{Name: "pod", Wide: true}, ofWho(func(w *event.Who) output.Value { return output.String(w.Pod) })},
	{output.TableColumn{Name: "netns", Right: true, Wide: true}, func(r *view.Row) output.Value { return known(r.NetNS) }},
	{output.TableColumn{Name: "role", Width: 6}, func(r *view.Row) output.Value { return output.Word(r.Role.String()) }},
	{output.TableColumn{Name: "laddr", Wide: true}, func(r *view.Row) output.Value { return output.Addr(r.Local.Addr()) }},
	{output.TableColumn{Name: "lport", Right: true}, func(r *view.Row) output.Value { return known(r.Local.Port()) }},
	{output.TableColumn{Name: "raddr", Width: 9}, func(r *view.Row) output.Value { return output.Addr(r.Remote.Addr()) }},
	{output.TableColumn{Name: "rport", Right: true}, func(r *view.Row) output.Value { return known(r.Remote.Port()) }},
	{output.TableColumn{Name: "time_wait", Right: true}, func(r *view.Row) output.Value { return output.Uint(r.TimeWait) }},
}

// countColumns say what happened.
var countColumns = []column{
	{output.TableColumn{Name: "opened", Right: true}, func(r *view.Row) output.Value { return output.Uint(r.Total.Opens) }},
	{output.TableColumn{Name: "begins", Right: true}, func(r *view.Row) output.Value { return output.Uint(r.Total.Enters) }},
	{output.TableColumn{Name: "ends", Right: true}, func(r *view.Row) output.Value { return output.Uint(r.Total.Exit()) }},
	{output.TableColumn{Name: "closed", Right: true}, func(r *view.Row) output.Value { return output.Uint(r.Total.Closes) }},
	{output.TableColumn{Name: "failed", Right: true}, func(r *view.Row) output.Value { return output.Uint(r.Total.Fails.Total()) }},
	{output.TableColumn{Name: "refused", Right: true, Wide: true}, func(r *view.Row) output.Value { return output.Uint(r.Total.Refused) }},
	{output.TableColumn{Name: "life_p50_ns", Right: true}, func(r *view.Row) output.Value {
		if d, ok := r.Life.Quantile(0.5); ok {
			return output.Nanos(int64(d))
		}
		return output.Value{}
	}},
}

// known is a number of which 0 means that it is not known.
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

func ofWho(value func(*event.Who) output.Value) func(*view.Row) output.Value {
	return func(r *view.Row) output.Value {
		if r.Owner.Who == nil {
			return output.Value{}
		}
		return value(r.Owner.Who)
	}
}

// newTable returns an empty table of these columns, of which o may pick some.
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

// rows are the groups, as they are at now.
func (s *summary) rows(now int64) []view.Row {
	var snapshot conn.Snapshot
	s.conns.Snapshot(now, &snapshot)
	var b view.Builder
	return b.Build(&snapshot).Rows
}

// fill puts the groups into a table, those with most sockets in TIME_WAIT first.
func (s *summary) fill(t *output.Table, columns []column) {
	rows := view.Arrange(s.rows(time.Now().UnixNano()), s.by, view.SortTimeWait)
	for i := range rows {
		cells := make([]output.Value, len(columns))
		for j, c := range columns {
			cells[j] = c.cell(rows[i])
		}
		t.Add(cells...)
	}
}

// summarizer is an output.Writer that prints the table at the end alone: when the
// trace has ended, or, with no trace, when it is flushed.
type summarizer struct {
	*summary
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

// newCounter returns one for sockets that there are.
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
	t, err := newTable(o, columns)
	if err != nil {
		return nil, err
	}
	return &summarizer{newSummary(by), w, o.Format, t, columns, traces}, nil
}

// Write takes e into account, and with the end of a trace prints the table.
func (s *summarizer) Write(e *event.Event) error {
	if e.Kind == event.End {
		return s.print()
	}
	s.add(e)
	return nil
}

// Flush prints the table if no end comes.
func (s *summarizer) Flush() error {
	if s.traces {
		return nil
	}
	return s.print()
}

func (s *summarizer) print() error {
	s.fill(s.table, s.columns)
	return s.table.Write(s.out, s.format)
}
