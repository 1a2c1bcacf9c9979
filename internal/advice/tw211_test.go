package advice

import (
	"net/netip"
	"testing"

	"github.com/twtrace/twtrace/internal/event"
)

var tw211Scenarios = []scenario{
	{name: "a listener that dropped just now", facts: func() Facts {
		return queued(Queue{Drops: 105, Waiting: 3, Backlog: 128}, 5)
	},
		want:    []string{"TW211 warn", "TW900 info"},
		words:   []string{"0.0.0.0:8080", "100 dropped in the last 10s"},
		advises: []string{"somaxconn"}},
	{name: "one whose queue is full", facts: func() Facts {
		return queued(Queue{Waiting: 129, Backlog: 128}, 0)
	},
		want:  []string{"TW211 warn", "TW900 info"},
		words: []string{"129 wait", "full"}},
	{name: "one with as many as its backlog", facts: func() Facts {
		return queued(Queue{Waiting: 128, Backlog: 128}, 0)
	},
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "one that dropped long ago", facts: func() Facts {
		return queued(Queue{Drops: 5, Backlog: 128}, 5)
	},
		want:  []string{"TW211 info", "TW900 info", "TW000 ok"},
		words: []string{"has dropped 5 handshakes since it started", "not now", "cause is not known"}},
	{name: "one that asked for little", facts: func() Facts {
		return queued(Queue{Drops: 105, Backlog: 16}, 5)
	},
		want:    []string{"TW211 warn", "TW900 info"},
		advises: []string{"asked for 16", "allows 128"}},
	{name: "one that dropped what no queue had to do with", facts: func() Facts {
		f := queued(Queue{Drops: 105, Backlog: 128}, 5)
		f.Before.ListenDrops, f.After.ListenDrops = 0, 0
		f.Before.ListenOverflows, f.After.ListenOverflows = 0, 0
		return f
	},
		want: []string{"TW900 info", "TW000 ok"}},
	{name: "one that drops with room in its queue", facts: func() Facts {
		f := queued(Queue{Drops: 105, Waiting: 3, Backlog: 128}, 5)
		f.After.ListenOverflows = f.Before.ListenOverflows
		return f
	},
		want:    []string{"TW211 warn", "TW900 info"},
		words:   []string{"dropped 100 handshakes in the last 10s; accept queue: 3 waiting, limit 129", "cause is not known", "no accept queue was full", "security module"},
		advises: []string{"perf trace -e skb:kfree_skb", "a larger backlog does not help"}},
	{name: "one that cannot answer: no route back", facts: func() Facts {
		f := queued(Queue{Drops: 105, Waiting: 3, Backlog: 128}, 5)
		f.After.ListenOverflows, f.After.OutNoRoutes = f.Before.ListenOverflows, 100
		return f
	},
		want:    []string{"TW211 warn", "TW900 info"},
		words:   []string{"100 packets had no route to their destination meanwhile (IpOutNoRoutes)", "no accept queue was full"},
		advises: []string{"ip route get", "add the route back"}},
	{name: "one while TCP is short of memory", facts: func() Facts {
		f := queued(Queue{Drops: 105, Waiting: 3, Backlog: 128}, 5)
		f.After.ListenOverflows, f.After.MemoryPressures = f.Before.ListenOverflows, 2
		return f
	},
		want:    []string{"TW211 warn", "TW900 info"},
		words:   []string{"memory pressure"},
		advises: []string{"tcp_mem"}},
	{name: "a queue that was full a moment ago", facts: func() Facts {
		return queued(Queue{Drops: 105, Peak: 129, Backlog: 128}, 5)
	},
		want:  []string{"TW211 warn", "TW900 info"},
		words: []string{"accept queue: up to 129 waited, limit 129", "accepts too slowly"}},
	{name: "another listener's queue overflowed", facts: func() Facts {
		f := queued(Queue{Drops: 105, Backlog: 128}, 5)
		other := Queue{Local: netip.MustParseAddrPort("0.0.0.0:9090"), Cookie: 6, Drops: 40, Waiting: 129, Backlog: 128}
		f.HostAfter.Queues = append(f.HostAfter.Queues, other)
		f.After.ListenDrops += 40
		f.After.ListenOverflows = f.Before.ListenOverflows + 40
		return f
	},
		want:  []string{"TW211 warn", "TW211 warn", "TW900 info"},
		words: []string{"which of the 2 listeners that dropped had a full accept queue is not known", "0.0.0.0:8080"}},
	{name: "a process that was stopped by a signal", facts: func() Facts {
		f := queued(Queue{Drops: 105, Waiting: 129, Backlog: 128, Owner: event.Proc{PID: 99, Comm: "billing"}, Stopped: true}, 5)
		return f
	},
		want:    []string{"TW211 warn", "TW900 info"},
		words:   []string{"billing[99]", "stopped the process"},
		advises: []string{"kill -CONT", "a longer queue does not help"}},
	{name: "one whose service was stopped", facts: func() Facts {
		f := queued(Queue{Drops: 5, Waiting: 129, Backlog: 128}, 5)
		f.HostAfter.Queues = nil
		f.After.ListenOverflows, f.After.ListenDrops = f.Before.ListenOverflows+3, f.Before.ListenDrops+3
		return f
	},
		want:  []string{"TW211 info", "TW900 info", "TW000 ok"},
		words: []string{"overflowed 3 times", "the listener on 0.0.0.0:8080 went away", "stopped or restarted"}},
	{name: "one with too many unfinished handshakes", facts: func() Facts {
		f := queued(Queue{Drops: 105, Waiting: 3, Backlog: 128}, 5)
		f.After.ListenOverflows, f.After.ReqQFullDrop = f.Before.ListenOverflows, 100
		return f
	},
		want:    []string{"TW211 warn", "TW900 info"},
		words:   []string{"unfinished", "tcp_max_syn_backlog"},
		advises: []string{"tcp_syncookies=1"}},
	{name: "one that is gone", facts: func() Facts {
		f := watched()
		f.After.ListenOverflows = 7
		return f
	},
		want:  []string{"TW211 warn", "TW900 info"},
		words: []string{"7 times"}},
}

func TestTW211(t *testing.T) { play(t, "TW211") }

// queued has one listener, that had dropped so many before the window.
func queued(q Queue, before uint32) Facts {
	f := watched()
	q.Local, q.Cookie = netip.MustParseAddrPort("0.0.0.0:8080"), 5
	was := q
	was.Drops = before
	f.HostBefore.Queues, f.HostAfter.Queues = []Queue{was}, []Queue{q}
	f.Before.ListenDrops, f.After.ListenDrops = uint64(was.Drops), uint64(q.Drops)
	f.Before.ListenOverflows, f.After.ListenOverflows = f.Before.ListenDrops, f.After.ListenDrops
	f.HostAfter.Settings.Somaxconn = 128
	return f
}
