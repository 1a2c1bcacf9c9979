package main

import (
	"bytes"
	"cmp"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/urfave/cli/v2"
	"golang.org/x/term"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	tracefile "github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/report"
	"github.com/twtrace/twtrace/internal/view"
)

func reportCommand() *cli.Command {
	return &cli.Command{
		Name:  "report",
		Usage: "make a page for a post-mortem of trace files",
		Description: "The page has all it needs inside, asks for nothing from anywhere, and can be mailed. The same files\n" +
			"make the same bytes.\n\n" + examples(
			"twtrace report -r t.ndjson.zst -w t.html           a page for the browser",
			"twtrace report -r t.ndjson.zst -o md               the same as text, for an issue or a wiki",
			"twtrace report -r t.ndjson.zst -o json | jq .totals   and for programs",
			"twtrace report -r t.ndjson.zst --from 22:10 --to 22:20 -w t.html   ten minutes of it"),
		Flags: append(tapeFlags("trace files, `FILE...`; - is stdin"),
			&cli.StringFlag{Name: "output", Aliases: []string{"o"}, Value: "html", Usage: "`FORMAT`: " + strings.Join(reportFormats(), ", "), Category: categoryOutput},
			&cli.StringFlag{Name: "write", Aliases: []string{"w"}, Value: "-", Usage: "write to `FILE`, which its owner alone can read; - is stdout", Category: categoryFile},
			&cli.BoolFlag{Name: "force", Usage: "replace a file that is there already", Category: categoryFile}),
		Action: runReport,
	}
}

// reportWriters are the forms of a report.
var reportWriters = map[string]func(io.Writer, *report.Report) error{
	"html": report.WriteHTML, "md": report.WriteMarkdown, "json": report.WriteJSON,
}

func reportFormats() []string { return slices.Sorted(maps.Keys(reportWriters)) }

func runReport(c *cli.Context) error {
	defer catchSignals(c)()
	if !c.IsSet("read") {
		return usagef("report needs -r FILE...: twtrace record makes them")
	}
	write := reportWriters[c.String("output")]
	if write == nil {
		return usagef("--output: bad format %q: use %s", c.String("output"), strings.Join(reportFormats(), ", "))
	}
	path := c.String("write")
	switch out, isFile := c.App.Writer.(*os.File); {
	case path == "-" && c.Bool("force"):
		return usagef("--force is for a file: name it with -w")
	case path == "-" && c.String("output") == "html" && isFile && term.IsTerminal(int(out.Fd())):
		return usagef("a page of HTML is not for a terminal: name a file with -w, or use -o md")
	case path != "-" && !c.Bool("force"):
		if _, err := os.Lstat(path); err == nil { // it would be told after all the work too
			return fmt.Errorf("%s exists: --force replaces it", path)
		}
	}
	s, err := newReplay(c)
	if err != nil {
		return err
	}
	defer s.close()
	defer s.stopOn(c.Context)()
	r, err := newReporter(s).report()
	if err != nil {
		return err
	}
	if s.stopping.Load() {
		return errors.New("interrupted")
	}
	var page bytes.Buffer
	if err := write(&page, r); err != nil {
		return err
	}
	if err := writeReport(c, path, page.Bytes()); err != nil {
		return err
	}
	return s.verdict(c)
}

func writeReport(c *cli.Context, path string, page []byte) error {
	if path == "-" {
		_, err := c.App.Writer.Write(page)
		return err
	}
	file, err := tracefile.Create(path, c.Bool("force"))
	if err != nil {
		return err
	}
	_, err = file.Write(page)
	return errors.Join(err, file.Close())
}

// reporter replays trace files for a report: it looks at the same as top does, about
// a thousand times over the whole recording.
type reporter struct {
	session  *session
	made     *report.Builder
	total    *summary // of everything, where the table of the session forgets
	meter    *pressure.Meter
	diagnose diagnosis
	snapshot conn.Snapshot
	due      int64 // the next look, ns since the epoch
	read     int   // events since the last look
}

// A look costs as much as the table is large. In a large one it waits for a share of
// that in events, but not for long.
const (
	lookShare    = 8
	lookAtLatest = 16 // steps of the report
)

func newReporter(s *session) *reporter {
	begin := max(s.tape.now, s.tape.from)
	return &reporter{session: s, made: report.NewBuilder(begin), total: newSummary(view.ByFlow),
		meter: pressure.NewMeter(s.limits.of), diagnose: diagnosis{limits: s.limits}, due: begin}
}

func (r *reporter) report() (*report.Report, error) {
	if err := r.session.read(r.record, r.idle); err != nil {
		return nil, err
	}
	t := r.session.tape
	first, last := t.reader.Start(), t.reader.End()
	if err := r.wait(last); err != nil {
		return nil, err
	}
	end := report.End{Now: t.now, Start: first.Start, Rows: r.total.rows(t.now), Damage: damages(t.reader.Damage),
		Limits: report.GroupLimits(t.limitsByNetNS())}
	if last != nil {
		end.End = last.End
	}
	if t.to != 0 {
		end.Now = min(end.Now, t.to)
	}
	return r.made.Report(end), nil
}

// wait lets time go on to the end of the trace, in which nothing more happened.
func (r *reporter) wait(last *event.Event) error {
	t := r.session.tape
	for last != nil && t.now < last.Time {
		t.now += min(int64(r.made.Step()), t.until(last.Time))
		if err := r.idle(); err != nil {
			return err
		}
	}
	if t.within() {
		r.look()
	}
	return nil
}

// record takes a record that is shown into account.
func (r *reporter) record(e *event.Event) error {
	r.read++
	if !e.Kind.Record() {
		return nil
	}
	r.made.Add(e)
	r.total.add(e)
	if e.Kind == event.StormStart || e.Kind == event.StormUpdate {
		r.due = 0 // such moments pass
	}
	return nil
}

// idle is called when time has gone on by a step.
func (r *reporter) idle() error {
	if !r.session.tape.within() {
		return nil
	}
	now, t := r.session.tape.now, r.session.table.Totals()
	r.made.Level(now, t.TimeWait, t.Established)
	size := len(r.snapshot.Groups) + len(r.snapshot.Destinations)
	if now >= r.due && (r.read >= size/lookShare || now >= r.due+lookAtLatest*int64(r.made.Step())) {
		r.look()
	}
	return nil
}

func (r *reporter) look() {
	now := r.session.tape.now
	r.due, r.read = now+int64(r.made.Step()), 0
	r.session.table.Snapshot(now, &r.snapshot)
	state := view.State{Time: time.Unix(0, now), Pressure: r.meter.Measure(&r.snapshot)}
	r.made.Look(now, &state.Pressure, r.diagnose.findings(&state, &r.snapshot))
}

// limitsByNetNS are the sysctls that the recording has, by namespace, or under 0 if it
// tells of one only.
func (t *tape) limitsByNetNS() map[uint32]map[string]string {
	out := make(map[uint32]map[string]string)
	for netns, l := range t.limits {
		out[netns] = l.Map()
	}
	if len(out) == 0 {
		out[0] = t.reader.Start().Start.Limits
	}
	return out
}

// damages words what is wrong with files, which are named if there are many.
func damages(list []tracefile.Damage) []string {
	var out []string
	for _, d := range list {
		d.File = cmp.Or(filepath.Base(d.File), d.File)
		out = append(out, d.String())
	}
	return out
}
