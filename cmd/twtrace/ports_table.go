package main

import (
	"strings"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/pressure"
)

// portsColumns are the columns of twtrace ports; docs/ports.md has what they mean.
var portsColumns = []output.TableColumn{
	{Name: "time", Wide: true},
	{Name: "severity"},
	{Name: "what"},
	{Name: "netns", Right: true, Wide: true},
	{Name: "laddr", Width: 9},
	{Name: "raddr", Width: 9},
	{Name: "rport", Width: 5, Right: true},
	{Name: "used", Width: 6, Right: true},
	{Name: "usable", Width: 6, Right: true},
	{Name: "used_pct", Right: true, Heading: "USE%"},
	{Name: "time_wait", Right: true, Heading: "TW"},
	{Name: "reusable", Right: true, Wide: true},
	{Name: "parked", Right: true, Wide: true},
	{Name: "established", Right: true, Heading: "EST"},
	{Name: "syn_sent", Right: true, Heading: "SYN"},
	{Name: "open_rate", Right: true, Heading: "OPEN/s"},
	{Name: "free_rate", Right: true, Wide: true, Heading: "FREE/s"},
	{Name: "max_rate", Right: true, Wide: true, Heading: "MAX/s"},
	{Name: "projected", Right: true, Wide: true},
	{Name: "exhausts_in_s", Right: true, Heading: "FULL_IN"},
	{Name: "refused", Right: true, Wide: true},
	{Name: "fails", Right: true, Wide: true},
	{Name: "reuse", Wide: true},
	{Name: "bound", Right: true, Wide: true},
	{Name: "memory_bytes", Right: true, Wide: true},
	{Name: "pid", Right: true},
	{Name: "pids", Right: true, Wide: true},
	{Name: "comm"},
}

// portsRow is the line of one gauge.
func portsRow(g *pressure.Gauge, now time.Time) []output.Value {
	known := func(n int) output.Value { return output.Uint(uint64(n)) }
	number := func(n int) output.Value { // of which 0 is not known, or nothing to tell
		if n == 0 {
			return output.Value{}
		}
		return known(n)
	}
	var pct, full, maxRate, memory output.Value
	if g.Limit > 0 {
		pct = output.Float(100*g.Share(), 1)
		maxRate = output.Float(g.MaxRate, 1)
	}
	if g.Full {
		full = output.Float(g.In.Seconds(), 1)
	}
	if g.What == pressure.Buckets {
		memory = output.Uint(g.Memory)
	}
	var who conn.Holder
	if len(g.Holders) > 0 {
		who = g.Holders[0]
	}
	return []output.Value{
		output.Time(now.UnixNano()), output.Word(g.Severity.String()), output.Word(g.What.String()), number(int(g.NetNS)),
		output.Addr(g.Local), output.Addr(g.Remote.Addr()), number(int(g.Remote.Port())),
		known(int(g.Used)), number(g.Limit), pct,
		known(g.TimeWait), known(g.Reusable), known(g.Parked), known(g.Established), known(g.SynSent),
		output.Float(g.Opens, 1), output.Float(g.Frees, 1), maxRate, known(int(g.Steady)), full,
		known(int(g.Refused)), output.Uint(g.Fails.Total()), output.Word(g.Reuse.String()), known(g.Bound), memory,
		number(int(who.Process.PID)), number(who.PIDs), output.String(who.Process.Comm),
	}
}

// splitFields are the names in a list with commas.
func splitFields(list string) []string {
	names := strings.Split(list, ",")
	for i := range names {
		names[i] = strings.TrimSpace(names[i])
	}
	return names
}
