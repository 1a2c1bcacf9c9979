package rows

import (
	"fmt"
	"math"
	"slices"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// TestSorted: each order puts another row first, and the same one last if inverted.
func TestSorted(t *testing.T) {
	var list []Row
	for by := range Sorts {
		r := Row{Owner: event.Proc{PID: uint32(by) + 1, Comm: "m"}, Rates: Rates{In: 2, Out: 2}, Ports: 1, Usable: 100}
		switch by {
		case SortSeverity:
			r.Severity = event.Crit
		case SortCloseWait:
			r.CloseWait = 9
		case SortTimeWait:
			r.TimeWait = 9
		case SortGrowth:
			r.In, r.Out = 3, 0
		case SortIn:
			r.In, r.Out = 9, 9
		case SortOut:
			r.In, r.Out = 8, 10
		case SortPorts:
			r.Ports = 99
		case SortOpen:
			r.Open = 9
		case SortClose:
			r.Close = 9
		case SortFail:
			r.Fail = 9
		case SortLife:
			r.Life.Add(time.Second)
		case SortComm:
			r.Owner.Comm = "a"
		}
		list = append(list, r)
	}
	for by := range Sorts {
		up := Arrange(list, ByProcess, by)
		if up[0].Owner.PID != uint32(by)+1 {
			t.Errorf("by %v process %d is first", by, up[0].Owner.PID)
		}
		down := Sorted(up, by, true)
		if down[len(down)-1] != up[0] {
			t.Errorf("by %v inverted process %d is last", by, down[len(down)-1].Owner.PID)
		}
	}
	if Sorts.String() != SortSeverity.String() {
		t.Errorf("an order there is not is called %v", Sorts)
	}
}

// Rows that sort as equal have one order, whatever order they come in, also where no
// rate is known.
func TestSortedIsStable(t *testing.T) {
	nan := math.NaN()
	var list []*Row
	for _, comm := range []string{"a", "b"} {
		for pid := range uint32(2) {
			for _, remote := range []string{"10.0.0.1:80", "10.0.0.2:80"} {
				for _, local := range []string{"10.0.0.7:0", "10.0.0.8:0"} {
					for _, role := range []event.Role{event.Client, event.Server} {
						list = append(list, &Row{Owner: event.Proc{PID: pid, Comm: comm}, Remote: addr(remote), Local: addr(local), Role: role, Rates: Rates{Open: nan}})
					}
				}
			}
		}
	}
	want := slices.Clone(list)
	slices.Reverse(list)
	if got := Sorted(list, SortOpen, false); !slices.Equal(got, want) {
		t.Error("rows that sort as equal are in another order")
	}
}

func TestName(t *testing.T) {
	for _, tt := range []struct {
		row  Row
		want string
	}{
		{Row{Label: "cron.service", Owner: event.Proc{Comm: "curl"}}, "cron.service"},
		{Row{Kind: conn.GroupOther, Owner: event.Proc{Comm: "curl"}}, "(other)"},
		{Row{PreStart: true}, "(pre-start)"},
		{Row{Owners: 3}, "(3 owners)"},
		{Row{Owners: 1}, ""},
		{Row{Owners: 1, Owner: event.Proc{Comm: "curl"}}, "curl"},
	} {
		if got := tt.row.Name(); got != tt.want {
			t.Errorf("%q, want %q", got, tt.want)
		}
	}
}

// What differs between rows is unknown of both together; what happened last stays.
func TestMerge(t *testing.T) {
	closes := func(times ...int64) (list []conn.Closed) {
		for _, at := range times {
			list = append(list, conn.Closed{Time: at})
		}
		return list
	}
	row := func(remote string, pid uint32, recent ...int64) Row {
		return Row{NetNS: 1, Owner: event.Proc{PID: pid, Comm: "curl"}, PIDs: 1, Owners: 1, Peers: 1, Role: event.Client,
			Local: addr("10.0.0.7:0"), Remote: addr(remote), TimeWait: 2, First: int64(pid), Recent: closes(recent...)}
	}
	list := []Row{row("10.0.0.1:80", 7, 90, 70, 50), row("10.0.0.2:80", 8, 80, 60), row("10.0.0.1:80", 7)}
	got := Arrange(list, ByComm, SortTimeWait)
	if len(got) != 1 {
		t.Fatalf("%d rows, want one", len(got))
	}
	r := got[0]
	if r.TimeWait != 6 || r.PIDs != 2 || r.First != 7 || r.Owner.PID != 0 || r.Remote.IsValid() || r.Local != addr("10.0.0.7:0") || r.Role != event.Client {
		t.Errorf("%+v", r)
	}
	if times := fmt.Sprint(r.Recent[0].Time, r.Recent[1].Time, r.Recent[2].Time); len(r.Recent) != 3 || times != "90 80 70" {
		t.Errorf("last closes %+v", r.Recent)
	}
	if got := Arrange(list, ByPeer, SortTimeWait); len(got) != 2 || got[0].Owner.PID != 7 || got[0].TimeWait != 4 {
		t.Errorf("by peer %+v", got)
	}
}
