package output

import "github.com/twtrace/twtrace/internal/event"

// kinds documents the records: when each is printed, and for which reasons.
var kinds = []struct {
	kind    event.Kind
	when    string
	reasons []event.Reason
}{
	{event.Start, "first, once everything is attached: what is observed, on what, and what is not", nil},
	{event.Snapshot, "a TIME_WAIT socket that existed before the trace, or whose begin was not seen and which a comparison with the kernel's sockets found", nil},
	{event.Open, "a connection was established", nil},
	{event.StateChange, "any other transition, with `--states all`", nil},
	{event.TimeWaitEnter, "TIME_WAIT begins, once a connection: at the birth of the mini-socket, or when one parked in FIN_WAIT2 is promoted",
		[]event.Reason{event.ActiveClose, event.SimultaneousClose, event.LateFin}},
	{event.TimeWaitRefused, "a mini-socket should have been born, and the limit or memory forbade it",
		[]event.Reason{event.Buckets, event.Memory}},
	{event.TimeWaitExit, "TIME_WAIT ends; `reused` by a local connect, `syn` by the peer's new SYN, `destroyed` by `ss -K`",
		[]event.Reason{event.Expired, event.Reused, event.Syn, event.Reset, event.Destroyed, event.NetnsExit}},
	{event.Close, "an established connection ended with no TIME_WAIT on this side. A mini-socket parked in FIN_WAIT2 and never promoted ends so too, by `fin_wait2_timeout`, `reset_received`, `destroyed` or `netns_exit`",
		[]event.Reason{event.PassiveClose, event.ResetSent, event.ResetReceived, event.Timeout, event.FinWait2Timeout,
			event.Destroyed, event.NetnsExit}},
	{event.Fail, "a call failed; a connect that never was established is only this", nil},
	{event.StormStart, "something fills up, or one group of processes opens and closes short-lived connections fast; [storms.md](storms.md)",
		[]event.Reason{event.Ports, event.Buckets, event.Churn}},
	{event.StormUpdate, "it goes on, or has become worse or better", []event.Reason{event.Ports, event.Buckets, event.Churn}},
	{event.StormEnd, "it has been over for half a minute", []event.Reason{event.Ports, event.Buckets, event.Churn}},
	{event.Lost, "something was not seen", nil},
	{event.End, "last: the account of the trace, against the kernel's own counters", nil},
}
