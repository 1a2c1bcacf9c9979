package filter

import (
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

// TestMatchWho wants each filter to check all four processes of a record, and the
// right field of each.
func TestMatchWho(t *testing.T) {
	const id = "8f3e2a61b0c94d7795d2f4410bb9c3e58f3e2a61b0c94d7795d2f4410bb9c3e5"
	known := &event.Who{HasUID: true, UID: 1000, PPID: 977, PComm: "cron daemon", Exe: "/usr/bin/curl (deleted)",
		Cgroup: "/system.slice/cron.service/job", Unit: "cron.service", Container: id, ContainerName: "web-1",
		Pod: "5b1c0000-1111", PodName: "shop/web-0", Followed: true}
	root := &event.Who{HasUID: true}
	for _, tt := range []struct {
		filter   Filter
		yes, not bool // with what is known, and for a process of root, of which nothing else is
	}{
		{Filter{UIDs: must(ParseUIDs("1000,33"))}, true, false},
		{Filter{UIDs: must(ParseUIDs("0"))}, false, true},
		{Filter{UIDs: must(ParseUIDs("!0"))}, true, false},
		{Filter{Exes: must(ParseExes("curl"))}, true, false},
		{Filter{Exes: must(ParseExes("/usr/bin/*"))}, true, false},
		{Filter{Exes: must(ParseExes("bin/curl"))}, false, false},
		{Filter{Exes: must(ParseExes("!wget"))}, true, true},
		{Filter{Parents: must(ParseParents("977"))}, true, false},
		{Filter{Parents: must(ParseParents("cron*"))}, true, false},
		{Filter{Parents: must(ParseParents("!cron*,1"))}, false, true},
		{Filter{Cgroups: must(ParseCgroups("/system.slice"))}, true, false},
		{Filter{Cgroups: must(ParseCgroups("/sys/fs/cgroup/system.slice/cron.service/"))}, true, false},
		{Filter{Cgroups: must(ParseCgroups("/system.slice/cron"))}, false, false},
		{Filter{Cgroups: must(ParseCgroups("/*/cron.service"))}, true, false},
		{Filter{Cgroups: must(ParseCgroups("/"))}, true, false},
		{Filter{Units: must(ParseUnits("cron"))}, true, false},
		{Filter{Units: must(ParseUnits("cr*"))}, true, false},
		{Filter{Units: must(ParseUnits("cron.socket"))}, false, false},
		{Filter{Containers: must(ParseIDs("8f3e2a"))}, true, false},
		{Filter{Containers: must(ParseIDs(id))}, true, false},
		{Filter{Containers: must(ParseIDs("web-*"))}, true, false},
		{Filter{Containers: must(ParseIDs("web"))}, false, false},
		{Filter{Pods: must(ParseIDs("5b1c"))}, true, false},
		{Filter{Pods: must(ParseIDs("shop/*"))}, true, false},
		{Filter{Pods: must(ParseIDs("!shop/*"))}, false, true},
		{Filter{Follow: true}, true, false},
		{Filter{Follow: true, PIDs: pids("2")}, true, false},
	} {
		for i := range 4 {
			for who, want := range map[*event.Who]bool{known: tt.yes, root: tt.not} {
				e := event.Event{Kind: event.Open}
				*processes(&e)[i] = event.Proc{PID: 2, Comm: "x", Who: who}
				if got := tt.filter.Match(&e); got != want {
					t.Errorf("%q, process %d: %v of %+v", tt.filter.String(), i, got, *who)
				}
			}
		}
	}
}

func TestParseWhoErrors(t *testing.T) {
	for _, tt := range []struct {
		err  error
		want string
	}{
		{second(ParseUIDs("root")), `bad uid "root": not a number`},
		{second(ParseUIDs("4294967295")), "from 0 to 4294967294"},
		{second(ParseCgroups("system.slice")), "starts with /"},
		{second(ParseParents("0")), "pids go from 1"},
		{second(ParseParents("sixteen-bytes-xx")), "keeps 15 bytes"},
		{second(ParseExes("a,,b")), "an item is empty"},
		{second(ParseUnits(`x.service\`)), "backslash"},
	} {
		if tt.err == nil || !strings.Contains(tt.err.Error(), tt.want) {
			t.Errorf("%v, want %q", tt.err, tt.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }
