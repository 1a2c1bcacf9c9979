package view

import (
	"math/rand/v2"
	"slices"
	"testing"

	tea "charm.land/bubbletea/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/rows"
)

// What is remembered of an earlier order is what would have been arranged anew,
// whatever has changed since.
func TestArrangeRemembers(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	only, err := new(filter.Language).ParseLine("comm nginx")
	if err != nil {
		t.Fatal(err)
	}
	var sets [][]rows.Row
	for range 3 {
		list := swarmRows(r, 12)
		for range r.IntN(40) {
			v := randomRow(r)
			v.ID = v.KeyBy(rows.ByFlow) // as a Builder's
			list = append(list, v)
		}
		sets = append(sets, list, nil)
	}
	list, k := sets[0], Display{memo: new(memo)}
	for range 3000 {
		switch r.IntN(7) {
		case 0:
			list = sets[r.IntN(len(sets))]
		case 1:
			k.setTab(Tab(r.IntN(int(tabs))))
		case 2:
			k.setGrouping(rows.Grouping(r.IntN(int(rows.ByPeer) + 1)))
		case 3:
			k.Sort, k.Invert, k.Order = rows.Sort(r.IntN(int(rows.Sorts))), r.IntN(2) == 0, nil
		case 4:
			k.Filter = []*filter.Filter{nil, only}[r.IntN(2)]
		case 5:
			k.Order = k.Arrange(list)
		case 6:
			k.Order = nil
		}
		again := k
		again.memo = nil
		got, want := ids(k.Arrange(list)), ids(again.Arrange(list))
		if !slices.Equal(got, want) {
			t.Fatalf("%+v: got %v, want %v", k, got, want)
		}
		if !same(k.Arrange(list), k.Arrange(list)) {
			t.Fatal("the same was arranged twice")
		}
	}
}

func ids(list []*rows.Row) []rows.Key {
	out := make([]rows.Key, len(list))
	for i, r := range list {
		out[i] = r.ID
	}
	return out
}

// While the order is held, rows keep their places in later sets; new ones come last.
func TestHeldOrder(t *testing.T) {
	before, after := storm().Rows, storm().Rows
	var k Display
	k.Order = k.Arrange(before)
	for i := range after {
		after[i].TimeWait = uint64(i)
	}
	gone := after[2].KeyBy(rows.ByFlow)
	fresh := after[2]
	fresh.Owner.PID, fresh.TimeWait = 7, 1e6
	after[2] = fresh
	want := ids(k.Order)
	want = append(slices.DeleteFunc(want, func(id rows.Key) bool { return id == gone }), fresh.KeyBy(rows.ByFlow))
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

// swarmRows are n processes that have everything in common but their pid.
func swarmRows(r *rand.Rand, n int) []rows.Row {
	one := randomRow(r)
	one.Owner.Who = &event.Who{PPID: 50, PComm: "sh"}
	list := make([]rows.Row, n)
	for i := range list {
		list[i] = one
		list[i].PreStart, list[i].Owner.PID = false, uint32(100+i)
		list[i].ID = list[i].KeyBy(rows.ByFlow)
	}
	return list
}
