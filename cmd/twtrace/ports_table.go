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
	{Name: "severity", Drop: 1},
	{Name: "resource", Drop: 2},
	{Name: "netns", Right: true, Data: true},
	{Name: "netns_name", Telling: true},
	{Name: "laddr", Width: 9, Drop: 7},
	{Name: "raddr", Width: 9},
	{Name: "rport", Width: 5, Right: true},
	{Name: "used", Width: 6, Right: true},
	{Name: "usable", Width: 6, Right: true, Drop: 4},
	{Name: "used_pct", Right: true},
	{Name: "time_wait", Right: true, Drop: 5},
	{Name: "reusable", Right: true, Wide: true},
	{Name: "blocked", Right: true, Wide: true},
	{Name: "parked", Right: true, Wide: true},
	{Name: "established", Right: true, Drop: 9},
	{Name: "close_wait", Right: true, Drop: 8},
	{Name: "syn_sent", Right: true, Drop: 11},
	{Name: "demand_per_s", Right: true, Drop: 6},
	{Name: "taken_per_s", Right: true, Wide: true},
	{Name: "freed_per_s", Right: true, Wide: true},
	{Name: "max_taken_per_s", Right: true, Wide: true},
	{Name: "projected", Right: true, Wide: true},
	{Name: "exhausts_in_s", Right: true},
	{Name: "free_in_s", Right: true, Wide: true},
	{Name: "refused", Right: true, Wide: true},
	{Name: "outage_s", Right: true, Wide: true},
	{Name: "resolved", Wide: true},
	{Name: "fails_total", Right: true, Wide: true},
	{Name: "reuse", Wide: true},
	{Name: "bound_ports", Right: true, Wide: true},
	{Name: "memory_bytes", Right: true, Wide: true},
	{Name: "pid", Right: true, Drop: 10},
	{Name: "processes", Right: true, Wide: true},
	{Name: "comm"},
	{Name: "owner_used", Right: true, Wide: true},
	{Name: "other_owners", Right: true, Drop: 12},
}

// portsRow is the line of one gauge. Unless the kernel was polled, nobody knows which
// connections are in CLOSE_WAIT.
func portsRow(g *pressure.Gauge, polled bool, now time.Time, netns string) []output.Value {
	known := func(n int) output.Value { return output.Uint(uint64(n)) }
	number := func(n int) output.Value { // 0 is unknown
		if n == 0 {
			return output.Value{}
		}
		return known(n)
	}
	var pct, full, closeWait, maxRate, memory output.Value
	if polled && g.What != pressure.Buckets {
		closeWait = known(g.CloseWait)
	}
	limit := number(g.Limit)
	if g.Limited {
		limit, pct = known(g.Limit), output.Float(100*g.InUseShare(), 1)
	}
	if g.Limit > 0 {
		pct = output.Float(100*g.InUseShare(), 1)
		maxRate = output.Float(g.MaxRate, 1)
	}
	if g.Full {
		full = output.Float(g.In.Seconds(), 1)
	}
	if g.What == pressure.Buckets {
		memory = output.Uint(g.Memory)
	}
	var free, outage, resolved output.Value
	if g.FreeIn > 0 {
		free = output.Float(g.FreeIn.Seconds(), 0)
	}
	if g.Outage.From != 0 {
		outage = output.Float(g.Outage.Length(now.UnixNano()).Seconds(), 1)
	}
	if g.Outage.Over() {
		resolved = output.Bool(true)
	}
	var who conn.Holder
	if g.Held() == 0 && g.Failer.Known() { // where others hold them, it is the victim
		who = conn.Holder{Process: g.Failer, PIDs: 1}
	}
	others := 0
	if len(g.Holders) > 0 {
		who, others = g.Holders[0], len(g.Holders)-1
	}
	if who.PIDs > 1 { // a pid would name one of them
		who.Process.PID = 0
	}
	return []output.Value{
		output.Time(now.UnixNano()), output.Word(g.Severity.String()), output.Word(g.What.String()), number(int(g.NetNS)),
		output.String(netns), output.Addr(g.Local), output.Addr(g.Remote.Addr()), number(int(g.Remote.Port())),
		known(g.InUse()), limit, pct,
		known(g.TimeWait), known(g.Reusable), known(int(g.Used)), known(g.Parked), known(g.Established), closeWait, known(g.SynSent),
		output.Float(g.Demand, 1), output.Float(g.Opens, 1), output.Float(g.Frees, 1), maxRate, known(int(g.Steady)), full, free,
		known(int(g.Refused)), outage, resolved, output.Uint(g.Fails.Total()), output.Word(g.Reuse.String()), known(g.Bound), memory,
		number(int(who.Process.PID)), number(who.PIDs), output.String(who.Process.Comm),
		number(int(who.N)), number(others),
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
