package tracer

import (
	"maps"
	"slices"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// TestAccount: what of the kernel's numbers counts as lost, and where.
func TestAccount(t *testing.T) {
	for _, tt := range []struct {
		name   string
		losses losses
		misses map[string]uint64
		want   map[event.Stage]uint64
		late   uint64
	}{
		{"nothing", losses{}, map[string]uint64{bpfProgTwskAlloc: 5}, nil, 0}, // it has mostly nothing to do
		{"the ring", losses{bpfLossLOSS_RING: 3}, nil, map[event.Stage]uint64{event.StageRing: 3}, 0},
		{"late is not lost", losses{bpfLossLOSS_LATE: 9}, nil, nil, 9},
		{"transitions that another program caught", losses{bpfLossLOSS_CAUGHT: 5}, map[string]uint64{bpfProgState: 5}, nil, 0},
		{"and more of them", losses{bpfLossLOSS_CAUGHT: 5}, map[string]uint64{bpfProgState: 7},
			map[event.Stage]uint64{event.StageSkipped: 2}, 0},
		{"starts and ends of TIME_WAIT", losses{}, map[string]uint64{bpfProgTimerStart: 1, bpfProgTwskHash: 2, bpfProgTimerCancel: 4},
			map[event.Stage]uint64{event.StageTW: 7}, 0},
		{"starts that another program caught", losses{bpfLossLOSS_BIRTH: 3}, map[string]uint64{bpfProgTwskHash: 4, bpfProgTwskHashCaught: 9},
			map[event.Stage]uint64{event.StageTW: 1}, 0},
		{"who accepts, aborts and fails", losses{}, map[string]uint64{bpfProgSockAccept: 1, bpfProgSockAbort: 2, bpfProgExitBind: 4},
			map[event.Stage]uint64{event.StageSkipped: 7}, 0},
		{"accepts that another program caught", losses{bpfLossLOSS_ACCEPT: 3},
			map[string]uint64{bpfProgSockAccept: 2, bpfProgMptcpAccept: 2, bpfProgSockAcceptCaught: 9},
			map[event.Stage]uint64{event.StageSkipped: 1}, 0},
	} {
		var a account
		got := a.of(nil, tt.losses, tt.misses)
		if !maps.Equal(got.Lost, tt.want) || got.Late != tt.late {
			t.Errorf("%s: lost %v, %d late; want %v, %d", tt.name, got.Lost, got.Late, tt.want, tt.late)
		}
	}
	var a account
	a.of(nil, losses{bpfLossLOSS_CONNS: 1, bpfLossLOSS_NETNS: 2, bpfLossLOSS_PROCS: 4, bpfLossLOSS_FOLLOW: 8, bpfLossLOSS_RING: 16}, nil)
	if a.noRoom != 15 {
		t.Errorf("no room in the maps %d times, want 15", a.noRoom)
	}
}

// TestFinalAccount: after the end, what this side loses is still added to what the kernel lost.
func TestFinalAccount(t *testing.T) {
	here := Tally{Births: 10, Parked: 6, Promoted: 4, TimeWait: expired(3), NeverTW: reused(1), Refused: 2}
	gone := Tally{Births: 5, TimeWait: expired(5)}
	tr := &Tracer{account: account{gone: gone, before: 100}}
	final := tr.account.of(map[uint32]Tally{7: here}, losses{bpfLossLOSS_CONNS: 2, bpfLossLOSS_LATE: 1}, nil)
	tr.account.final = &final
	tr.undecoded, tr.dec.procs.unknown = 3, 4
	tr.account.drift = []event.Drift{{NetNS: 7, Births: 1}}
	info, err := tr.EndInfo("stopped")
	if err != nil {
		t.Fatal(err)
	}
	if info.Births != 15 || info.Parked != 6 || info.Promoted != 4 || info.Begins != 13 || info.Refused != 2 || info.Late != 1 {
		t.Errorf("%+v", info)
	}
	if info.Alive != 100+15-9 || info.Why != "stopped" || !slices.Equal(info.Drift, tr.account.drift) {
		t.Errorf("%+v", info)
	}
	if want := map[string]uint64{"expired": 8}; !maps.Equal(info.Ends, want) {
		t.Errorf("ends %v, want %v", info.Ends, want)
	}
	if want := map[string]uint64{"decode": 3, "map": 6}; !maps.Equal(info.Lost, want) {
		t.Errorf("lost %v, want %v", info.Lost, want)
	}
	tr.account.before = -1000
	if n := tr.account.alive(here); n != 0 {
		t.Errorf("%d alive", n)
	}
}

// TestTally: a tally in Go is that of the kernel, summed over the CPUs.
func TestTally(t *testing.T) {
	perCPU := []bpfTally{
		{Births: 1, Parked: 2, Promoted: 3, Refused: 4, Ends: [7]uint64{5, 6}, ParkedEnds: [7]uint64{6: 7}},
		{Births: 10, Parked: 20, Promoted: 30, Refused: 40, Ends: [7]uint64{50}},
	}
	want := Tally{Births: 11, Parked: 22, Promoted: 33, Refused: 44, TimeWait: Ends{55, 6}, NeverTW: Ends{6: 7}}
	if got := sumTally(perCPU); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
	if want.Starts() != 11-22+33 || want.Ends() != 68 || want.Reused() != 6 {
		t.Errorf("%d starts, %d ends, %d reused", want.Starts(), want.Ends(), want.Reused())
	}
}

// TestSettled: the tally of a namespace is folded away once nothing has changed in it from
// one survey to the next, and nobody lists the namespace.
func TestSettled(t *testing.T) {
	var a account
	some, more := Tally{Births: 1}, Tally{Births: 2}
	for i, step := range []struct {
		tallies map[uint32]Tally
		listed  map[uint32]bool
		want    []uint32
	}{
		{map[uint32]Tally{0: some, 1: some, 2: some, 3: some}, map[uint32]bool{1: true, 2: true}, nil},
		{map[uint32]Tally{0: some, 1: some, 2: some, 3: some}, map[uint32]bool{1: true}, []uint32{3}},
		{map[uint32]Tally{0: some, 1: some, 2: more}, map[uint32]bool{1: true}, nil},
		{map[uint32]Tally{0: some, 1: some, 2: more}, map[uint32]bool{1: true, 2: true}, nil}, // found again
		{map[uint32]Tally{0: some, 1: some, 2: more}, map[uint32]bool{1: true}, nil},
		{map[uint32]Tally{0: some, 1: some, 2: more}, nil, []uint32{2}},
		{map[uint32]Tally{0: some, 1: some}, nil, []uint32{1}},
	} {
		if got := a.settled(step.tallies, step.listed); !slices.Equal(got, step.want) {
			t.Errorf("survey %d: %v, want %v", i, got, step.want)
		}
	}
}
