package metrics

import (
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// The reasons that have a label. What the table has without one of these is unknown.
var (
	enterReasons  = []event.Reason{event.ActiveClose, event.SimultaneousClose, event.LateFin}
	refuseReasons = []event.Reason{event.Buckets, event.Memory}
	exitReasons   = []event.Reason{event.Expired, event.Reused, event.Syn, event.Reset, event.Destroyed, event.NetnsExit}
	lossStages    = []event.Stage{event.StageRing, event.StageMap, event.StageSkipped, event.StageTW, event.StageDecode, event.StageQueue, event.StageNone}
)

// totals are the counters of all connections. They only grow, whatever the table forgets.
type totals struct {
	before  conn.Totals // at the sample before
	entered byReason
	exited  byReason
	refused byReason
	lost    [event.Stages]uint64
}

// byReason counts something by reason; event.ReasonNone are those of none that has a label.
type byReason [event.Churn + 1]uint64

// split adds n, of which those for one of reasons are grown(reason).
func (b *byReason) split(n uint64, reasons []event.Reason, grown func(event.Reason) uint64) {
	for _, r := range reasons {
		by := min(grown(r), n)
		b[r] += by
		n -= by
	}
	b[event.ReasonNone] += n
}

// restart has the next sample be of another table.
func (t *totals) restart() { t.before = conn.Totals{} }

// observe takes a snapshot into account. If reset, the table has forgotten why
// connections ended.
func (t *totals) observe(s *conn.Snapshot, reset bool) {
	now, before := &s.Totals, &t.before
	if reset {
		before.Ways = conn.Ways{}
	}
	ways := func(r event.Reason) uint64 { return uint64(now.Ways[r] - before.Ways[r]) } // 32 bits, which may wrap
	t.entered.split(now.Enters-before.Enters, enterReasons, ways)
	t.refused.split(now.Refused-before.Refused, refuseReasons, ways)
	t.exited.split(now.Exit()-before.Exit(), exitReasons, func(r event.Reason) uint64 { return now.Exited(r) - before.Exited(r) })
	for i := range t.lost {
		t.lost[i] += now.Lost[i] - before.Lost[i]
	}
	t.before = *now
}

func (t *totals) points(b *batch) {
	for _, c := range []struct {
		metric  *metric
		reasons []event.Reason
		n       *byReason
	}{{entered, enterReasons, &t.entered}, {refused, refuseReasons, &t.refused}, {exited, exitReasons, &t.exited}} {
		for _, r := range append(c.reasons, event.ReasonNone) {
			b.add(c.metric, label(c.metric.labels, reasonName(r)), float64(c.n[r]))
		}
	}
	for _, s := range lossStages {
		b.add(lost, label(lost.labels, stageName(s)), float64(t.lost[s.Index()]))
	}
}
