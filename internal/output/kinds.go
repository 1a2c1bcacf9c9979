package output

import "github.com/twtrace/twtrace/internal/event"

// kinds documents the records: when each is printed, and for which reasons.
var kinds = []struct {
	kind    event.Kind
	when    string
	reasons []event.Reason
}{
	{event.Start, "first, once all hooks are attached: what is traced, on which host, and what the trace cannot see", nil},
	{event.Snapshot, "a TIME_WAIT socket that existed before the trace, or whose start the trace missed and a dump of the kernel's sockets showed. If its start is read after that, it is a `time_wait_enter` that counts instead", nil},
	{event.Open, "a connection was established", nil},
	{event.StateChange, "any other transition, with `--states all`", nil},
	{event.TimeWaitEnter, "TIME_WAIT starts, once per connection: when the kernel creates the mini-socket, or when it promotes one that was parked in FIN_WAIT2",
		[]event.Reason{event.ActiveClose, event.SimultaneousClose, event.LateFin}},
	{event.TimeWaitRefused, "the kernel refused to create a mini-socket: the limit was reached, or it had no memory",
		[]event.Reason{event.Buckets, event.Memory}},
	{event.TimeWaitExit, "TIME_WAIT ends; `reused` by a local connect, `syn` by the peer's new SYN, `destroyed` by `ss -K`",
		[]event.Reason{event.Expired, event.Reused, event.Syn, event.Reset, event.Destroyed, event.NetnsExit}},
	{event.Close, "an established connection ended without TIME_WAIT on this side. So does a mini-socket that was parked in FIN_WAIT2 and never promoted, with `fin_wait2_timeout`, `reset_received`, `destroyed` or `netns_exit`",
		[]event.Reason{event.PassiveClose, event.ResetSent, event.ResetReceived, event.Timeout, event.FinWait2Timeout,
			event.Destroyed, event.NetnsExit}},
	{event.Fail, "a call failed. A connection that was never established has only this record. One whose process did not wait for an answer has no errno, and the cause `gave_up`", nil},
	{event.StormStart, "a limit is near or reached, or a group of processes opens and closes short-lived connections fast; see [storms.md](storms.md)",
		[]event.Reason{event.Ports, event.Buckets, event.Churn}},
	{event.StormUpdate, "the storm goes on, or its severity changed: after an outage, `resolved` and `outage_s` say that it is over, and how long it lasted", []event.Reason{event.Ports, event.Buckets, event.Churn}},
	{event.StormEnd, "the storm has been over for half a minute", []event.Reason{event.Ports, event.Buckets, event.Churn}},
	{event.Lost, "the trace did not see something", nil},
	{event.End, "last: the totals of the trace, compared with the kernel's own counters", nil},
}
