package tracer

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
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
	Tallies map[uint32]Tally       // by network namespace, of those that are not gone
	Total   Tally                  // of those that are gone too
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
	noRoom    uint64 // in the kernel's maps, as of the last reading
	final     *Account

	first        map[uint32]reading // by namespace: what later readings are compared with
	started      bool               // the first survey was taken
	before       int64              // mini-sockets alive at the first survey, less what was traced of them
	countsBirths bool               // the kernel counts births as they happen
	drift        []event.Drift      // as of the last survey

	gone  Tally            // of namespaces that are gone
	quiet map[uint32]Tally // of namespaces that could not be found at the last survey
}

// begin prepares the comparison with the kernel's own counters.
func (a *account) begin(countsBirths bool) {
	a.first, a.countsBirths = make(map[uint32]reading), countsBirths
}

// alive is how many mini-sockets there are: those before the trace, plus births,
// less ends.
func (a *account) alive(n Tally) uint64 {
	return uint64(max(a.before+int64(n.Births)-int64(n.Ends()), 0))
}

// end takes the last account.
func (a *account) end(t *Tracer) {
	if final, err := t.readAccount(); err == nil {
		a.final = &final
	}
}

func sortDrift(d []event.Drift) {
	slices.SortFunc(d, func(a, b event.Drift) int { return cmp.Compare(a.NetNS, b.NetNS) })
}

// Account returns what has been counted and lost so far, and after Stop the
// final account.
func (t *Tracer) Account() (Account, error) {
	if t.account.final != nil {
		a := *t.account.final
		a.lose(event.StageDecode, t.account.undecoded)
		a.lose(event.StageMap, t.account.noRoom+t.dec.procs.unknown)
		return a, nil
	}
	return t.readAccount()
}

// Drift returns by how much the trace and the kernel's own counters differed at
// the last Compare, for each namespace where they did.
func (t *Tracer) Drift() ([]event.Drift, error) { return t.account.drift, nil }

func (t *Tracer) readAccount() (Account, error) {
	a := Account{Total: t.account.gone, Lost: make(map[event.Stage]uint64)}
	var err error
	if a.Tallies, err = t.readTallies(); err != nil {
		return a, fmt.Errorf("read the tallies: %w", err)
	}
	for _, n := range a.Tallies {
		a.Total.add(n)
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
	t.account.noRoom = losses[bpfLossLOSS_CONNS] + losses[bpfLossLOSS_NETNS] + losses[bpfLossLOSS_PROCS] +
		losses[bpfLossLOSS_FOLLOW]
	a.lose(event.StageMap, t.account.noRoom+t.dec.procs.unknown)
	a.lose(event.StageTW, ledgerMisses(misses))
	a.lose(event.StageDecode, t.account.undecoded)
	skipped := otherMisses(misses)
	if n := misses[bpfProgState]; n > a.Caught {
		skipped += n - a.Caught
	}
	a.lose(event.StageSkipped, skipped)
	return a, nil
}

// ledgerMisses are the skipped runs of the programs that see begins and ends.
func ledgerMisses(misses map[string]uint64) uint64 {
	var sum uint64
	for _, h := range hooks {
		if h.set != "" && h.needed && !h.idle {
			sum += misses[h.program]
		}
	}
	return sum
}

// otherMisses are the skipped runs of the programs that see who accepts, who destroys,
// and which calls fail. For classic tracepoints kernels count them from 6.7 on.
func otherMisses(misses map[string]uint64) uint64 {
	var sum uint64
	for _, h := range hooks {
		if h.calls || h.set == Fentry && !h.needed {
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

// readTallies returns the tallies of the namespaces that are not gone. The map may
// change meanwhile; an entry that moves is read again.
func (t *Tracer) readTallies() (map[uint32]Tally, error) {
	all := make(map[uint32]Tally)
	var inum uint32
	var perCPU []bpfTally
	iter := t.coll.Maps[bpfMapTallies].Iterate()
	for iter.Next(&inum, &perCPU) {
		all[inum] = sumTally(perCPU)
	}
	return all, iter.Err()
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
