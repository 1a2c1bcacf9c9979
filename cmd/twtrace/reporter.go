package main

import (
	"cmp"
	"context"
	"path/filepath"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/diagnose"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/pressure"
	tracefile "github.com/twtrace/twtrace/internal/record"
	"github.com/twtrace/twtrace/internal/replay"
	"github.com/twtrace/twtrace/internal/report"
	"github.com/twtrace/twtrace/internal/rows"
	"github.com/twtrace/twtrace/internal/session"
)

// reporter replays trace files for a report: it samples what top shows, about a thousand
// times over the whole recording.
type reporter struct {
	session  *session.Session
	files    *replay.Files
	made     *report.Builder
	total    *rows.Collector // of everything, where the table of the session forgets
	meter    *pressure.Meter
	diagnose *diagnose.Diagnosis
	snapshot conn.Snapshot
	at       int64 // the last step, ns since the epoch
	due      int64 // the next sample
	read     int   // events since the last sample
	zone     *time.Location
}

// A sample costs as much as the table is large. In a large one it waits for a share of
// that in events, but not for long.
const (
	sampleShare    = 8
	sampleAtLatest = 16 // steps of the report
)

func newReporter(s *session.Session, files *replay.Files, zone *time.Location) *reporter {
	start := max(files.Now().UnixNano(), files.From())
	return &reporter{session: s, files: files, made: report.NewBuilder(start), total: rows.NewCollector(),
		meter: pressure.NewMeter(s.ConnLimits), diagnose: diagnose.New(s, files, diagnose.Options{TablesOnly: true}), at: start, due: start, zone: zone}
}

func (r *reporter) report(ctx context.Context) (*report.Report, error) {
	if err := r.session.Run(ctx, r.record, r.idle); err != nil {
		return nil, err
	}
	last, err := r.session.EndRecord()
	if err != nil {
		return nil, err
	}
	if err := r.wait(r.files.LastTime()); err != nil {
		return nil, err
	}
	now := r.now()
	end := report.End{Now: now, Start: r.files.Header(), Rows: r.total.Rows(now), Damage: damages(r.files.Damages()),
		Limits: report.GroupLimits(limitsByNetNS(r.files)), End: last.End,
		Changes: changedSettings(r.files), Names: r.files.NetNSName, Zone: r.zone}
	if to := r.files.To(); to != 0 {
		end.Now = min(end.Now, to)
	}
	return r.made.Report(end), nil
}

func (r *reporter) now() int64 { return r.files.Now().UnixNano() }

// wait lets time go on to the end of the trace, in which nothing more happened.
func (r *reporter) wait(end int64) error {
	for r.files.SkipTo(end, int64(r.made.Step())) {
		if err := r.idle(); err != nil {
			return err
		}
	}
	if r.files.Within() {
		r.sample()
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
	r.total.Add(e)
	if e.Kind == event.StormStart || e.Kind == event.StormUpdate {
		r.due = 0 // such moments pass
	}
	return nil
}

// idle is called when time has gone on by a step, and between two events.
func (r *reporter) idle() error {
	now := r.now()
	if now == r.at || !r.files.Within() {
		return nil
	}
	r.at = now
	t := r.session.Table().Totals()
	r.made.Level(now, t.TimeWait, t.Open())
	size := len(r.snapshot.Groups) + len(r.snapshot.Destinations)
	if now >= r.due && (r.read >= size/sampleShare || now >= r.due+sampleAtLatest*int64(r.made.Step())) {
		r.sample()
	}
	return nil
}

func (r *reporter) sample() {
	now := r.files.Now()
	r.due, r.read = now.UnixNano()+int64(r.made.Step()), 0
	r.session.Table().Snapshot(now.UnixNano(), &r.snapshot)
	reading := r.meter.Measure(&r.snapshot)
	r.made.Held(now.UnixNano(), r.snapshot.Groups)
	r.made.Sample(now.UnixNano(), &reading, r.diagnose.Findings(now, &reading, &r.snapshot))
}

// changedSettings are the sysctls that changed while the recording ran.
func changedSettings(files *replay.Files) []report.Setting {
	var out []report.Setting
	for _, c := range files.Changes() {
		out = append(out, report.Setting(c))
	}
	return out
}

// limitsByNetNS are the sysctls that the recording has, by network namespace, or under 0
// if it has only one namespace's.
func limitsByNetNS(files *replay.Files) map[uint32]map[string]string {
	out := make(map[uint32]map[string]string)
	limits, _ := files.AllLimits()
	for netns, l := range limits {
		out[netns] = l.Map()
	}
	if len(out) == 0 {
		out[0] = files.Header().Limits
	}
	return out
}

// damages lists what is wrong with files, by their names.
func damages(list []tracefile.Damage) []string {
	var out []string
	for _, d := range list {
		d.File = cmp.Or(filepath.Base(d.File), d.File)
		out = append(out, d.String())
	}
	return out
}
