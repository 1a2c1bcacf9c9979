package view

import (
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

func TestJournal(t *testing.T) {
	var j Journal
	fail := func(sec int64, port string) {
		j.Add(&event.Event{Time: sec * 1e9, Kind: event.Fail, Call: event.Connect, Errno: 99, Role: event.Client,
			Process: event.Proc{PID: 4242, Comm: "checkout"}, Remote: addr("10.2.0.9:" + port)})
	}
	fail(1, "80")
	fail(2, "80")
	fail(3, "443")
	fail(20, "80") // too long after
	j.Add(&event.Event{Time: 21e9, Kind: event.TimeWaitEnter})
	j.Add(&event.Event{Time: 22e9, Kind: event.Lost, Stage: event.StageRing, Count: 7})
	want := []Entry{
		{4, 22e9, 22e9, event.Crit, 7, "events lost: ring", nil},
		{3, 20e9, 20e9, event.Crit, 1, "connect to 10.2.0.9:80 failed: EADDRNOTAVAIL  checkout[4242]", nil},
		{2, 3e9, 3e9, event.Crit, 1, "connect to 10.2.0.9:443 failed: EADDRNOTAVAIL  checkout[4242]", nil},
		{1, 2e9, 1e9, event.Crit, 2, "connect to 10.2.0.9:80 failed: EADDRNOTAVAIL  checkout[4242]", nil},
	}
	got := j.Entries()
	if len(got) != len(want) {
		t.Fatalf("%+v, want %+v", got, want)
	}
	for i := range want {
		if got[i].Event == nil {
			t.Errorf("%+v has no event", got[i])
		}
		got[i].Event = nil
		if got[i] != want[i] {
			t.Errorf("%+v, want %+v", got[i], want[i])
		}
	}
	for i := range int64(5000) {
		j.Add(&event.Event{Time: 30e9 + i, Kind: event.Fail, Call: event.Connect, Process: event.Proc{PID: uint32(i + 1)}})
	}
	if got = j.Entries(); len(got) != journalLen || len(j.at) > 2*journalLen || got[0].Time != 30e9+4999 {
		t.Errorf("%d entries, %d held, the latest %+v", len(got), len(j.at), got[0])
	}
}
