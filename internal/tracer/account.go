package tracer

import (
	"cmp"
	"fmt"
	"maps"
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
}

// Ends counts ends of mini-sockets by reason; ReasonNone is an early end of
// which the hooks in use do not show the reason.
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

// Starts is how often TIME_WAIT started.
func (t Tally) Starts() uint64 { return t.Births - t.Parked + t.Promoted }

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
}

func (c *bpfTally) tally() Tally {
	return Tally{Births: c.Births, Parked: c.Parked, Promoted: c.Promoted,
		TimeWait: c.Ends, NeverTW: c.ParkedEnds, Refused: c.Refused}
}

// Account is what a trace has counted and lost so far.
type Account struct {
	Tallies map[uint32]Tally       // by network namespace, of those that are not gone
	Total   Tally                  // of those that are gone too
	Lost    map[event.Stage]uint64 // stages with no loss are absent
	Late    uint64                 // promotions found at the end of TIME_WAIT only
	Vitals  event.Vitals
}

// account is the side of Account that outlives the kernel's objects.
type account struct {
	noRoom uint64 // in the kernel's maps, as of the last reading
	final  *Account

	first        map[uint32]reading // by namespace: what later readings are compared with
	started      bool               // the first survey was taken
	before       int64              // mini-sockets alive at the first survey, less what was traced of them
	countsBirths bool               // the kernel counts births as they happen
	differs      []event.Drift      // at the last survey
	drift        []event.Drift      // of that, what was so at the survey before, too

	gone  Tally            // of namespaces that are gone
	quiet map[uint32]Tally // of namespaces that could not be found at the last survey
}

// start prepares the comparison with the kernel's own counters.
func (a *account) start(countsBirths bool) {
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
		a.lose(event.StageDecode, t.undecoded)
		a.lose(event.StageMap, t.account.noRoom+t.dec.procs.unknown)
		return a, nil
	}
	return t.readAccount()
}

func (t *Tracer) readAccount() (Account, error) {
	tallies, err := t.readTallies()
	if err != nil {
		return Account{}, fmt.Errorf("read the tallies: %w", err)
	}
	losses, err := t.readLosses()
	if err != nil {
		return Account{}, fmt.Errorf("read the losses: %w", err)
	}
	v, err := t.vitals()
	if err != nil {
		return Account{}, err
	}
	misses := make(map[string]uint64, len(v.Programs))
	for _, p := range v.Programs {
		misses[p.Name] = p.Skipped
	}
	a := t.account.of(tallies, losses, misses)
	a.Vitals = v
	a.lose(event.StageDecode, t.undecoded)
	a.lose(event.StageMap, t.account.noRoom+t.dec.procs.unknown)
	return a, nil
}

// vitals is how the programs and the ring are doing.
func (t *Tracer) vitals() (v event.Vitals, err error) {
	if t.ring != nil {
		v.RingUsed, v.RingSize = t.ring.used(), uint64(t.ring.size())
	}
	v.MaxConns = uint64(t.coll.Maps[bpfMapTwtraceConns].MaxEntries())
	for _, name := range slices.Sorted(maps.Keys(t.coll.Programs)) {
		s, err := t.coll.Programs[name].Stats()
		if err != nil {
			return v, fmt.Errorf("statistics of %s: %w", name, err)
		}
		v.Programs = append(v.Programs, event.Program{Name: name, Runs: s.RunCount, Time: s.Runtime, Skipped: s.RecursionMisses})
	}
	return v, nil
}

// losses are the counters of the kernel side, by bpfLoss.
type losses [bpfLossLOSS_MAX]uint64

// of is the account of what the kernel side has counted; misses are the skipped runs by
// program. What was lost on this side is not in it.
func (a *account) of(tallies map[uint32]Tally, lost losses, misses map[string]uint64) Account {
	out := Account{Tallies: tallies, Total: a.gone, Lost: make(map[event.Stage]uint64), Late: lost[bpfLossLOSS_LATE]}
	for _, n := range tallies {
		out.Total.add(n)
	}
	a.noRoom = lost[bpfLossLOSS_CONNS] + lost[bpfLossLOSS_NETNS] + lost[bpfLossLOSS_PROCS] + lost[bpfLossLOSS_FOLLOW]
	out.lose(event.StageRing, lost[bpfLossLOSS_RING])
	// The second programs have handled some of what the first have skipped.
	births := min(misses[bpfProgTwskHash], lost[bpfLossLOSS_BIRTH])
	out.lose(event.StageTW, ledgerMisses(misses)-births)
	accepts := min(misses[bpfProgSockAccept]+misses[bpfProgMptcpAccept], lost[bpfLossLOSS_ACCEPT])
	skipped := otherMisses(misses) - accepts
	if n := misses[bpfProgState]; n > lost[bpfLossLOSS_CAUGHT] { // those behind it have handled the rest
		skipped += n - lost[bpfLossLOSS_CAUGHT]
	}
	out.lose(event.StageSkipped, skipped)
	return out
}

// ledgerMisses are the skipped runs of the programs that see starts and ends of TIME_WAIT.
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
		if h.calls || h.set == Fentry && !h.needed && !h.preemptible {
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

// readLosses returns the counters, summed over the CPUs.
func (t *Tracer) readLosses() (losses, error) {
	var out losses
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
