package tracer

import (
	"errors"
	"slices"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// expired is n ends of TIME_WAIT by expiry.
func expired(n uint64) (e Ends) { e[0] = n; return e }

// reused is n ends of TIME_WAIT by reuse.
func reused(n uint64) (e Ends) { e[1] = n; return e }

// read is a reading with the tally at rest.
func read(c kernel.Counters, t Tally) reading { return reading{1, offsetsOf(c, t, t)} }

func TestDrift(t *testing.T) {
	const netns = 4026531840
	before := kernel.Counters{TW: 1000, TWKilled: 10, TWRecycled: 7, TWOverflow: 3, TimeWait: 200}
	tests := []struct {
		name  string
		now   kernel.Counters
		tally Tally
		want  event.Drift
	}{
		{"nothing happened", before, Tally{}, event.Drift{}},
		{
			"all was seen",
			kernel.Counters{TW: 1090, TWKilled: 20, TWRecycled: 12, TWOverflow: 5, TimeWait: 250},
			Tally{Births: 100, Parked: 40, TimeWait: expired(45), NeverTW: reused(5), Refused: 2},
			event.Drift{},
		},
		{
			"three births were hidden",
			kernel.Counters{TW: 1103, TWKilled: 10, TWRecycled: 7, TWOverflow: 3, TimeWait: 303},
			Tally{Births: 100},
			event.Drift{Births: 3, Alive: 3},
		},
		{
			"two ends were hidden, by reuse",
			kernel.Counters{TW: 1100, TWKilled: 10, TWRecycled: 9, TWOverflow: 3, TimeWait: 298},
			Tally{Births: 100},
			event.Drift{Reused: 2, Alive: -2},
		},
		{
			"a refusal was taken for another end",
			kernel.Counters{TW: 1000, TWKilled: 10, TWRecycled: 7, TWOverflow: 4, TimeWait: 200},
			Tally{},
			event.Drift{Refused: 1},
		},
		{
			"more was traced than there was",
			kernel.Counters{TW: 1000, TWKilled: 10, TWRecycled: 7, TWOverflow: 3, TimeWait: 200},
			Tally{Births: 4, TimeWait: reused(1), Refused: 2},
			event.Drift{Births: -4, Reused: -1, Refused: -2, Alive: -3},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			test.want.NetNS = netns
			if got := read(test.now, test.tally).drift(netns, read(before, Tally{}), true); got != test.want {
				t.Errorf("got %+v, want %+v", got, test.want)
			}
		})
	}
}

// TestDriftOfOldKernel leaves births out where the kernel counts them as they
// expire.
func TestDriftOfOldKernel(t *testing.T) {
	first := read(kernel.Counters{}, Tally{})
	now := read(kernel.Counters{TW: 2, TimeWait: 5}, Tally{Births: 9, TimeWait: expired(2)})
	want := event.Drift{NetNS: 1, Alive: -2}
	if got := now.drift(1, first, false); got != want {
		t.Errorf("got %+v, want %+v", got, want)
	}
}

// TestDriftUncertain reads while sockets come and go: what may be nothing is
// nothing, and of what cannot be, the least that it is gets reported.
func TestDriftUncertain(t *testing.T) {
	first := read(kernel.Counters{TW: 50}, Tally{})
	before := Tally{Births: 100, TimeWait: expired(10)}
	after := Tally{Births: 105, TimeWait: expired(12)}
	for _, test := range []struct {
		births, alive uint64
		want          event.Drift
	}{
		{100, 90, event.Drift{}},
		{105, 95, event.Drift{}},
		{105, 88, event.Drift{}},
		{99, 90, event.Drift{Births: -1}},
		{107, 96, event.Drift{Births: 2, Alive: 1}},
		{103, 87, event.Drift{Alive: -1}},
	} {
		test.want.NetNS = 1
		c := kernel.Counters{TW: 50 + test.births, TimeWait: test.alive}
		if got := (reading{1, offsetsOf(c, before, after)}).drift(1, first, true); got != test.want {
			t.Errorf("%d births and %d alive: got %+v, want %+v", test.births, test.alive, got, test.want)
		}
	}
}

// TestNarrowest: of several readings the one counts during which least happened, and a
// reading during which nothing did is the last.
func TestNarrowest(t *testing.T) {
	births := func(n ...uint64) func() (Tally, error) {
		return func() (Tally, error) {
			if len(n) == 0 {
				return Tally{}, errors.New("read once too often")
			}
			next := Tally{Births: n[0]}
			n = n[1:]
			return next, nil
		}
	}
	counters := func() (kernel.Counters, error) { return kernel.Counters{TW: 100, TimeWait: 100}, nil }
	for _, tt := range []struct {
		tally func() (Tally, error)
		want  span
	}{
		{births(90, 90), span{10, 10}},
		{births(80, 90, 95, 95), span{5, 5}},
		{births(80, 90, 91, 94, 95, 99), span{6, 9}},
		{births(80, 90, 91, 101, 102, 112), span{10, 20}},
	} {
		got, err := narrowest(tt.tally, counters)
		if err != nil || got.births != tt.want {
			t.Errorf("%+v, want %+v (%v)", got.births, tt.want, err)
		}
	}
	gone := errors.New("gone")
	if _, err := narrowest(births(1, 2), func() (kernel.Counters, error) { return kernel.Counters{}, gone }); !errors.Is(err, gone) {
		t.Error(err)
	}
	if _, err := narrowest(births(1), counters); err == nil {
		t.Error("a tally that cannot be read is no error")
	}
}

// TestCompare follows namespaces through surveys: one that is gone is left out, and
// so is what the one before it did with the same inode number.
func TestCompare(t *testing.T) {
	var a account
	a.start(true)
	survey := func(all map[uint32]reading) Survey {
		s := Survey{readings: all, listed: make(map[uint32]bool)}
		for inum := range all {
			s.listed[inum] = true
		}
		return s
	}
	at := func(cookie uint64, births int64) reading {
		return reading{cookie, offsets{births: span{births, births}}}
	}
	steps := []struct {
		name string
		all  map[uint32]reading
		want []event.Drift
	}{
		{"the first survey", map[uint32]reading{1: at(11, 100), 2: at(12, 5)}, nil},
		{"no change", map[uint32]reading{1: at(11, 100), 2: at(12, 5)}, nil},
		{"both change", map[uint32]reading{1: at(11, 102), 2: at(12, 4)},
			[]event.Drift{{NetNS: 1, Births: 2}, {NetNS: 2, Births: -1}}},
		{"one is gone", map[uint32]reading{1: at(11, 102)}, []event.Drift{{NetNS: 1, Births: 2}}},
		{"another has its number", map[uint32]reading{1: at(11, 100), 2: at(13, -70)}, nil},
		{"and drifts", map[uint32]reading{1: at(11, 100), 2: at(13, -69)}, []event.Drift{{NetNS: 2, Births: 1}}},
		{"another without a gap", map[uint32]reading{1: at(11, 100), 2: at(14, 7)}, nil},
	}
	for _, step := range steps {
		a.compare(survey(step.all))
		if !slices.Equal(a.differs, step.want) {
			t.Errorf("%s: %+v, want %+v", step.name, a.differs, step.want)
		}
	}
}

// TestDriftThatLasts: what one survey alone shows was on its way, and is not reported.
func TestDriftThatLasts(t *testing.T) {
	var a account
	a.start(true)
	at := func(births, alive int64) Survey {
		o := offsets{births: span{births, births}, alive: span{alive, alive}}
		return Survey{readings: map[uint32]reading{1: {11, o}}, listed: map[uint32]bool{1: true}}
	}
	for _, step := range []struct {
		name          string
		births, alive int64
		want          event.Drift
	}{
		{"the first survey", 100, 7, event.Drift{}},
		{"births on their way", 102, 9, event.Drift{}},
		{"they have come", 100, 7, event.Drift{}},
		{"ends on their way", 100, 4, event.Drift{}},
		{"others, and births that were not seen", 103, 9, event.Drift{}},
		{"those stay", 103, 10, event.Drift{NetNS: 1, Births: 3, Alive: 2}},
		{"and more are on their way", 105, 12, event.Drift{NetNS: 1, Births: 3, Alive: 3}},
		{"fewer alive than there were, instead", 103, 5, event.Drift{NetNS: 1, Births: 3}},
	} {
		a.compare(at(step.births, step.alive))
		var want []event.Drift
		if step.want != (event.Drift{}) {
			want = append(want, step.want)
		}
		if !slices.Equal(a.drift, want) {
			t.Errorf("%s: %+v, want %+v", step.name, a.drift, want)
		}
	}
}
