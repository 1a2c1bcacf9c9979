package conn

import (
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// opens has n processes of curl open a connection each; say changes who they are.
func opens(tab *Table, n int, say func(i int, w *event.Who)) {
	for i := range n {
		w := &event.Who{Start: uint64(i), HasUID: true, UID: 33, PPID: 50, PComm: "sh", CgroupID: 5}
		say(i, w)
		apply(tab, with(at(0, event.Open), func(e *event.Event) {
			e.Cookie, e.Opener = uint64(1+i), event.Proc{PID: uint32(1000 + i), Comm: "curl", Who: w}
		}))
	}
}

// manyGroups are the groups of many processes.
func manyGroups(tab *Table) []Group {
	var out []Group
	for _, g := range tab.Groups(nil) {
		if g.Kind == GroupComm {
			out = append(out, g)
		}
	}
	return out
}

// TestFamilies: processes with another parent, user or cgroup have another group, and
// the group has what its processes share.
func TestFamilies(t *testing.T) {
	tab := New(Options{MaxPIDs: 1})
	opens(tab, 800, func(i int, w *event.Who) {
		switch i % 4 {
		case 1:
			w.PPID = 51
		case 2:
			w.UID = 0
		case 3:
			w.CgroupID = 6
		}
	})
	check(t, tab)
	all := manyGroups(tab)
	if len(all) != 4 {
		t.Fatalf("%d groups, want 4", len(all))
	}
	for _, g := range all {
		if g.PIDs != 200 || g.About || g.Opens != 199 || g.Owner.Who.PComm != "sh" || g.Owner.Who.Start != 0 {
			t.Errorf("%d processes, %d opens, %+v", g.PIDs, g.Opens, *g.Owner.Who)
		}
	}
}

// TestGroupExe: a group has an executable if all of its processes with a known one share it.
func TestGroupExe(t *testing.T) {
	for want, exe := range map[string]func(i int) string{
		"/usr/bin/curl": func(i int) string { return []string{"", "/usr/bin/curl"}[i%2] },
		"":              func(i int) string { return []string{"/usr/bin/curl", "/tmp/curl"}[i%2] },
	} {
		tab := New(Options{MaxPIDs: 1})
		opens(tab, 100, func(i int, w *event.Who) { w.Exe = exe(i) })
		if all := manyGroups(tab); len(all) != 1 || all[0].Owner.Who.Exe != want {
			t.Errorf("%d groups, the first of %+v; want %q", len(all), *all[0].Owner.Who, want)
		}
	}
}

// TestProcessCount: it is exact while there is room, and says when it is an estimate.
func TestProcessCount(t *testing.T) {
	tab := New(Options{MaxPIDs: 1})
	opens(tab, exactMax, func(int, *event.Who) {})
	if g := manyGroups(tab)[0]; g.PIDs != exactMax || g.About {
		t.Errorf("%d processes, want %d", g.PIDs, exactMax)
	}
	tab = New(Options{MaxPIDs: 1})
	opens(tab, 3*exactMax, func(int, *event.Who) {})
	if g := manyGroups(tab)[0]; !g.About || g.PIDs < 3*exactMax*9/10 || g.PIDs > 3*exactMax*11/10 {
		t.Errorf("%d processes, estimated: %v; want about %d", g.PIDs, g.About, 3*exactMax)
	}
	if n := tab.groups.exact; n != 0 {
		t.Errorf("%d processes are still counted one by one", n)
	}
}

// TestReusedPIDIsAnother: two processes that had one pid are two groups.
func TestReusedPIDIsAnother(t *testing.T) {
	tab := New(Options{})
	for start := uint64(1); start <= 2; start++ {
		apply(tab, with(at(0, event.Open), func(e *event.Event) {
			e.Cookie, e.Opener = start, event.Proc{PID: 7, Comm: "curl", Who: &event.Who{Start: start, Exe: []string{"", "/a", "/b"}[start]}}
		}))
	}
	gs := tab.Groups(nil)
	if len(gs) != 2 || gs[0].Owner.Who.Exe == gs[1].Owner.Who.Exe {
		t.Errorf("%d groups: %+v", len(gs), gs)
	}
}
