package tracer

import (
	"fmt"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// Tally is what the kernel side counted in one network namespace since the
// start. It is exact even where events were dropped.
type Tally struct {
	Births   uint64 // mini-sockets born, in either substate
	Parked   uint64 // of those, in FIN_WAIT2
	Promoted uint64 // parked ones that reached TIME_WAIT
	TimeWait Ends   // ends of TIME_WAIT
	NeverTW  Ends   // ends of parked ones that were never promoted
	Refused  uint64 // mini-sockets that the kernel had no room for
	Rearms   uint64 // timers started anew
}

// Ends counts ends of mini-sockets by reason; ReasonNone is an early end of
// which the hooks in use do not tell how it came about.
type Ends [len(endReasons)]uint64

// endReasons are the reasons in the order in which the kernel side counts them.
var endReasons = [...]event.Reason{event.Expired, event.Reused, event.Syn, event.Reset, event.Destroyed,
	event.NetnsExit, event.ReasonNone}

// Total is the number of ends.
func (e Ends) Total() uint64 {
	var sum uint64
	for _, n := range e {
		sum += n
	}
	return sum
}

// By is the number of ends for a reason.
func (e Ends) By(r event.Reason) uint64 {
	i := slices.Index(endReasons[:], r)
	if i < 0 {
		return 0
	}
	return e[i]
}

func (e *Ends) add(o Ends) {
	for i, n := range o {
		e[i] += n
	}
}

// Begins is how often TIME_WAIT began.
func (t Tally) Begins() uint64 { return t.Births - t.Parked + t.Promoted }

// Ends is how many mini-sockets ended, in either substate.
func (t Tally) Ends() uint64 { return t.TimeWait.Total() + t.NeverTW.Total() }

// Reused is how many ended because connect() took their port, in either substate.
func (t Tally) Reused() uint64 { return t.TimeWait.By(event.Reused) + t.NeverTW.By(event.Reused) }

func (t *Tally) add(o Tally) {
	t.Births += o.Births
	t.Parked += o.Parked
	t.Promoted += o.Promoted
	t.TimeWait.add(o.TimeWait)
	t.NeverTW.add(o.NeverTW)
	t.Refused += o.Refused
	t.Rearms += o.Rearms
}

func (c *bpfTally) tally() Tally {
	return Tally{Births: c.Births, Parked: c.Parked, Promoted: c.Promoted,
		TimeWait: c.Ends, NeverTW: c.ParkedEnds, Refused: c.Refused, Rearms: c.Rearms}
}

// Account is what a trace has counted and lost so far.
type Account struct {
	Tallies map[uint32]Tally // by network namespace
	Total   Tally
	Lost    map[event.Stage]uint64 // stages with no loss are absent
	Late    uint64                 // promotions found at the end of TIME_WAIT only
	Caught  uint64                 // transitions that a busy program skipped and another handled
	BPF     []ProgramStats
}

// ProgramStats are the kernel's statistics of one program. Runs and RuntimeNS
// are 0 unless kernel.bpf_stats_enabled is 1.
type ProgramStats struct {
	Name      string
	Runs      uint64
	RuntimeNS uint64
	Misses    uint64 // runs skipped because the program was already running there
}

// account is the side of Account that outlives the kernel's objects.
type account struct {
	undecoded uint64
	before    map[uint32]kernel.Counters // at the start, by namespace
	final     *Account
	drift     []event.Drift
}

// begin reads the kernel's own counters of every namespace, for the drift.
func (a *account) begin() error {
	list, err := kernel.ListNetNS()
	if err != nil {
		return fmt.Errorf("list network namespaces: %w", err)
	}
	a.before = make(map[uint32]kernel.Counters, len(list))
	for _, ns := range list {
		if c, err := ns.Counters(); err == nil { // it may be gone already
			a.before[ns.Inum] = c
		}
	}
	return nil
}

// alive is how many mini-sockets there are: those before the trace, plus births,
// less ends.
func (a *account) alive(n Tally) uint64 {
	sum := n.Births
	for _, c := range a.before {
		sum += c.TimeWait
	}
	return sum - min(sum, n.Ends())
}

// end takes the last readings.
func (a *account) end(t *Tracer) {
	final, err := t.readAccount()
	if err != nil {
		return
	}
	a.final = &final
	a.drift = a.compare(final)
}

// compare returns the namespaces where the kernel counted otherwise. A namespace
// that came after the start began with all counters at zero.
func (a *account) compare(now Account) []event.Drift {
	list, err := kernel.ListNetNS()
	if err != nil {
		return nil
	}
	var out []event.Drift
	for _, ns := range list {
		c, err := ns.Counters()
		if err != nil {
			continue
		}
		b, t := a.before[ns.Inum], now.Tallies[ns.Inum]
		d := event.Drift{
			NetNS:  ns.Inum,
			Births: int64(c.TW+c.TWKilled-b.TW-b.TWKilled) - int64(t.Births),
			Reused: int64(c.TWRecycled-b.TWRecycled) - int64(t.Reused()),
			Alive:  int64(c.TimeWait) - int64(b.TimeWait+t.Births-t.Ends()),
		}
		if d.Births != 0 || d.Reused != 0 || d.Alive != 0 {
			out = append(out, d)
		}
	}
	return out
}

// Account returns what has been counted and lost so far, and after Stop the
// final account.
func (t *Tracer) Account() (Account, error) {
	if t.account.final != nil {
		a := *t.account.final
		if t.account.undecoded > 0 {
			a.Lost[event.StageDecode] = t.account.undecoded
		}
		return a, nil
	}
	return t.readAccount()
}

// Drift returns by how much the trace and the kernel's own counters differ, for
// each namespace where they do.
func (t *Tracer) Drift() ([]event.Drift, error) {
	if t.account.final != nil {
		return t.account.drift, nil
	}
	a, err := t.readAccount()
	if err != nil {
		return nil, err
	}
	return t.account.compare(a), nil
}

func (t *Tracer) readAccount() (Account, error) {
	a := Account{Tallies: make(map[uint32]Tally), Lost: make(map[event.Stage]uint64)}
	if err := t.readTallies(&a); err != nil {
		return a, fmt.Errorf("read the tallies: %w", err)
	}
	losses, err := t.readLosses()
	if err != nil {
		return a, fmt.Errorf("read the losses: %w", err)
	}
	misses := make(map[string]uint64)
	for name, p := range t.coll.Programs {
		s, err := p.Stats()
		if err != nil {
			return a, fmt.Errorf("statistics of %s: %w", name, err)
		}
		misses[name] = s.RecursionMisses
		a.BPF = append(a.BPF, ProgramStats{Name: name, Runs: s.RunCount,
			RuntimeNS: uint64(s.Runtime), Misses: s.RecursionMisses})
	}
	a.Late = losses[bpfLossLOSS_LATE]
	a.Caught = losses[bpfLossLOSS_CAUGHT]
	a.lose(event.StageRing, losses[bpfLossLOSS_RING])
	a.lose(event.StageMap, losses[bpfLossLOSS_CONNS]+losses[bpfLossLOSS_NETNS])
	a.lose(event.StageTW, ledgerMisses(misses))
	a.lose(event.StageDecode, t.account.undecoded)
	if skipped := misses[bpfProgState]; skipped > a.Caught {
		a.lose(event.StageSkipped, skipped-a.Caught)
	}
	return a, nil
}

// ledgerMisses are the skipped runs of the programs that see begins and ends.
func ledgerMisses(misses map[string]uint64) uint64 {
	var sum uint64
	for _, h := range hooks {
		if h.set != "" && h.needed {
			sum += misses[h.program]
		}
	}
	return sum
}

func (a *Account) lose(where event.Stage, n uint64) {
	if n > 0 {
		a.Lost[where] = n
	}
}

func (t *Tracer) readTallies(a *Account) error {
	var inum uint32
	var perCPU []bpfTally
	iter := t.coll.Maps[bpfMapTallies].Iterate()
	for iter.Next(&inum, &perCPU) {
		var sum Tally
		for _, c := range perCPU {
			sum.add(c.tally())
		}
		a.Tallies[inum] = sum
		a.Total.add(sum)
	}
	return iter.Err()
}

// readLosses returns the counters by bpfLoss, summed over the CPUs.
func (t *Tracer) readLosses() ([bpfLossLOSS_MAX]uint64, error) {
	var out [bpfLossLOSS_MAX]uint64
	for i := range out {
		var perCPU []uint64
		if err := t.coll.Maps[bpfMapLosses].Lookup(uint32(i), &perCPU); err != nil {
			return out, err
		}
		for _, n := range perCPU {
			out[i] += n
		}
	}
	return out, nil
}
