package view

import (
	"math/rand/v2"
	"slices"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/twtrace/twtrace/internal/filter"
)

// What is remembered of an earlier order is what would have been arranged anew,
// whatever has changed since.
func TestArrangeRemembers(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	only, err := filter.ParseLine("comm nginx")
	if err != nil {
		t.Fatal(err)
	}
	var states [][]Row
	for range 3 {
		rows := swarmRows(12)
		for range r.IntN(40) {
			v := randomRow(r)
			v.id = v.key(ByFlow) // as a Builder's
			rows = append(rows, v)
		}
		states = append(states, rows, nil)
	}
	rows, k := states[0], Look{memo: new(memo)}
	for range 3000 {
		switch r.IntN(7) {
		case 0:
			rows = states[r.IntN(len(states))]
		case 1:
			k.setTab(Tab(r.IntN(int(tabs))))
		case 2:
			k.setGrouping(Grouping(r.IntN(int(groupings))))
		case 3:
			k.Sort, k.Invert, k.Order = Sort(r.IntN(int(sorts))), r.IntN(2) == 0, nil
		case 4:
			k.Filter, k.Not = []*filter.Filter{nil, only}[r.IntN(2)], r.IntN(2) == 0
		case 5:
			k.Order = k.Arrange(rows)
		case 6:
			k.Order = nil
		}
		again := k
		again.memo = nil
		got, want := ids(k.Arrange(rows)), ids(again.Arrange(rows))
		if !slices.Equal(got, want) {
			t.Fatalf("%+v: got %v, want %v", k, got, want)
		}
		if !same(k.Arrange(rows), k.Arrange(rows)) {
			t.Fatal("the same was arranged twice")
		}
	}
}

func ids(rows []*Row) []rowKey {
	out := make([]rowKey, len(rows))
	for i, r := range rows {
		out[i] = r.id
	}
	return out
}

// While the order is held, rows keep their places in later states; new ones come last.
func TestHeldOrder(t *testing.T) {
	before, after := storm().Rows, storm().Rows
	var k Look
	k.Order = k.Arrange(before)
	for i := range after {
		after[i].TimeWait = uint64(i)
	}
	gone := after[2].key(ByFlow)
	fresh := after[2]
	fresh.Owner.PID, fresh.TimeWait = 7, 1e6
	after[2] = fresh
	want := ids(k.Order)
	want = append(slices.DeleteFunc(want, func(id rowKey) bool { return id == gone }), fresh.key(ByFlow))
	if got := ids(k.Arrange(after)); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if k.Order = nil; k.Arrange(after)[0].Owner.PID != 7 {
		t.Error("the order is still held")
	}
}

// A key that does not change which rows there are, and in which order, does not
// arrange them.
func TestKeysArrangeOnce(t *testing.T) {
	_, _, _, st := busyState(t, 200)
	m := busyModel(st)
	first := m.rows()
	for _, k := range []tea.Key{{Code: 'j'}, {Code: 'k'}, {Code: tea.KeyEnd}, {Code: tea.KeyHome}, {Code: tea.KeyPgDown}, {Code: tea.KeyEnter},
		{Code: 'n'}, {Code: 'p'}, {Code: tea.KeyEscape}, {Code: 'D', Text: "D"}, {Code: 'D', Text: "D"}, {Code: '?'}, {Code: '?'}, {Code: 'p'}} {
		m.Update(tea.KeyPressMsg(k))
		if !same(m.rows(), first) {
			t.Errorf("%s has the rows arranged anew", k.Keystroke())
		}
	}
	m.Update(tea.KeyPressMsg{Code: 's'})
	if same(m.rows(), first) {
		t.Error("s does not sort")
	}
}
