package output

import (
	"slices"

	"github.com/twtrace/twtrace/internal/event"
)

// startFields are the fields of the start record.
var startFields = []Field{
	{Name: "version", On: "start", Type: TypeString,
		Doc:   "version of twtrace",
		at:    inStart(func(s *event.StartInfo) any { return &s.Version }),
		value: ofStart(func(s *event.StartInfo) Value { return String(s.Version) })},
	{Name: "schema", On: "start", Type: TypeInt,
		Doc:   "version of this record contract: it grows when a field changes its meaning or its name, or is removed",
		at:    inStart(func(s *event.StartInfo) any { return &s.Schema }),
		value: ofStart(func(s *event.StartInfo) Value { return Int(int64(s.Schema)) })},
	{Name: "host", On: "start", Type: TypeString,
		Doc:   "host name",
		at:    inStart(func(s *event.StartInfo) any { return &s.Host }),
		value: ofStart(func(s *event.StartInfo) Value { return String(s.Host) })},
	{Name: "kernel", On: "start", Type: TypeString,
		Doc:   "kernel release",
		at:    inStart(func(s *event.StartInfo) any { return &s.Kernel }),
		value: ofStart(func(s *event.StartInfo) Value { return String(s.Kernel) })},
	{Name: "boot_id", On: "start", Type: TypeString,
		Doc:   "the kernel's random id of this boot",
		at:    inStart(func(s *event.StartInfo) any { return &s.BootID }),
		value: ofStart(func(s *event.StartInfo) Value { return String(s.BootID) })},
	{Name: "hook_set", On: "start", Type: TypeString,
		Doc:   "how the trace sees TIME_WAIT: by `fentry`, trampolines on the kernel's functions, or by `timer`, the tracepoints of its timers",
		at:    inStart(func(s *event.StartInfo) any { return &s.HookSet }),
		value: ofStart(func(s *event.StartInfo) Value { return String(s.HookSet) })},
	{Name: "hooks", On: "start", Type: TypeList,
		Doc:   "hooks in use",
		at:    inStart(func(s *event.StartInfo) any { return &s.Hooks }),
		value: ofStart(func(s *event.StartInfo) Value { return List(s.Hooks) })},
	{Name: "missing", On: "start", Type: TypeList,
		Doc:   "what the trace cannot see, in words",
		at:    inStart(func(s *event.StartInfo) any { return &s.Missing }),
		value: ofStart(func(s *event.StartInfo) Value { return List(s.Missing) })},
	{Name: "limits", On: "start", Type: TypeStrings,
		Doc: "limits of the traced namespace, by sysctl name",
		at:  inStart(func(s *event.StartInfo) any { return &s.Limits }),
		value: ofStart(func(s *event.StartInfo) Value {
			if s.Limits == nil {
				return Value{}
			}
			return Value{typ: TypeStrings, nested: s.Limits}
		})},
	{Name: "filter", On: "start", Type: TypeString,
		Doc:   "the filter in words. Absent if there is none",
		at:    inStart(func(s *event.StartInfo) any { return &s.Filter }),
		value: ofStart(func(s *event.StartInfo) Value { return String(s.Filter) })},
}

// endFields are the fields of the end record. A number that is 0 is known.
var endFields = []Field{
	{Name: "births_total", Was: was("births", inRecords), On: "end", Type: TypeUint,
		Doc:   "mini-sockets created, in TIME_WAIT or parked in FIN_WAIT2",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Births }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Births) })},
	{Name: "parked_total", Was: was("parked", inRecords), On: "end", Type: TypeUint,
		Doc:   "mini-sockets created in FIN_WAIT2",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Parked }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Parked) })},
	{Name: "promoted_total", Was: was("promoted", inRecords), On: "end", Type: TypeUint,
		Doc:   "parked mini-sockets that entered TIME_WAIT later",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Promoted }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Promoted) })},
	{Name: "late_enters_total", Was: was("late", inRecords, inReport), On: "end", Type: TypeUint,
		Doc:   "starts of TIME_WAIT that were detected only when it ended",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Late }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Late) })},
	{Name: "time_wait_enters_total", short: "ENTERS", Was: slices.Concat(was("begins", inRecords, inSummary), was("time_wait_begins", inReport)), On: "end", Type: TypeUint,
		Doc:   "sockets that entered TIME_WAIT",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Begins }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Begins) })},
	{Name: "time_wait_exits_by_reason", Was: was("ends", inRecords), On: "end", Type: TypeCounts,
		Doc:   "sockets that left TIME_WAIT, by reason, including `unknown`",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Ends }),
		value: ofEnd(func(i *event.EndInfo) Value { return Value{typ: TypeCounts, nested: i.Ends} })},
	{Name: "time_wait_refused_total", short: "REFUSED", Was: was("refused", inRecords, inSummary, inReport), On: "end", Type: TypeUint,
		Doc:   "TIME_WAIT sockets that the kernel refused to create",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Refused }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Refused) })},
	{Name: "alive", On: "end", Type: TypeUint,
		Doc:   "sockets in TIME_WAIT or parked when the trace ended",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Alive }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Alive) })},
	{Name: "lost_by_stage", Was: slices.Concat(was("lost", inRecords), was("lost_stages", inTop)), On: "end", Type: TypeCounts,
		Doc:   "events lost, by stage. Stages that lost none are absent",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Lost }),
		value: ofEnd(func(i *event.EndInfo) Value { return Value{typ: TypeCounts, nested: i.Lost} })},
	{Name: "unnamed_by_cause", Was: was("unnamed", inRecords), On: "end", Type: TypeCounts,
		Doc: "processes whose records lack details. `gone`: the process ended before twtrace read /proc; " +
			"`throttled`: too many processes started at once to read all of them in time",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Unnamed }),
		value: ofEnd(func(i *event.EndInfo) Value { return Value{typ: TypeCounts, nested: i.Unnamed} })},
	{Name: "drift", On: "end", Type: TypeDrift,
		Doc: "network namespaces where the kernel's own counters disagree with the trace: " +
			"the kernel's count minus the trace's",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Drift }),
		value: ofEnd(func(i *event.EndInfo) Value { return Value{typ: TypeDrift, nested: i.Drift} })},
	{Name: "stopped_by", Was: was("why", inRecords, inReport), On: "end", Type: TypeString,
		Doc:   "why the trace ended",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Why }),
		value: ofEnd(func(i *event.EndInfo) Value { return String(i.Why) })},
}

// ofStart makes a field of the start record.
func ofStart(value func(*event.StartInfo) Value) func(*event.Event) Value {
	return func(e *event.Event) Value {
		if e.Start == nil {
			return Value{}
		}
		return value(e.Start)
	}
}

// ofEnd makes a field of the end record.
func ofEnd(value func(*event.EndInfo) Value) func(*event.Event) Value {
	return func(e *event.Event) Value {
		if e.End == nil {
			return Value{}
		}
		return value(e.End)
	}
}

// inStart makes the place of a field of the start record.
func inStart(at func(*event.StartInfo) any) func(*event.Event) any {
	return func(e *event.Event) any {
		if e.Start == nil {
			e.Start = new(event.StartInfo)
		}
		return at(e.Start)
	}
}

// inEnd makes the place of a field of the end record.
func inEnd(at func(*event.EndInfo) any) func(*event.Event) any {
	return func(e *event.Event) any {
		if e.End == nil {
			e.End = new(event.EndInfo)
		}
		return at(e.End)
	}
}
