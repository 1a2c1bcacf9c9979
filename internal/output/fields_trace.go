package output

import "github.com/twtrace/twtrace/internal/event"

// startFields are the fields of the start record.
var startFields = []Field{
	{Name: "version", On: "start", Type: TypeString,
		Doc:   "version of twtrace",
		value: ofStart(func(s *event.StartInfo) Value { return String(s.Version) })},
	{Name: "schema", On: "start", Type: TypeInt,
		Doc:   "version of this record contract; grows when a field changes its meaning or goes",
		value: ofStart(func(s *event.StartInfo) Value { return Int(int64(s.Schema)) })},
	{Name: "host", On: "start", Type: TypeString,
		Doc:   "host name",
		value: ofStart(func(s *event.StartInfo) Value { return String(s.Host) })},
	{Name: "kernel", On: "start", Type: TypeString,
		Doc:   "kernel release",
		value: ofStart(func(s *event.StartInfo) Value { return String(s.Kernel) })},
	{Name: "boot_id", On: "start", Type: TypeString,
		Doc:   "the kernel's random id of this boot",
		value: ofStart(func(s *event.StartInfo) Value { return String(s.BootID) })},
	{Name: "hooks", On: "start", Type: TypeList,
		Doc:   "hooks in use",
		value: ofStart(func(s *event.StartInfo) Value { return List(s.Hooks) })},
	{Name: "missing", On: "start", Type: TypeList,
		Doc:   "what will not be seen, in words",
		value: ofStart(func(s *event.StartInfo) Value { return List(s.Missing) })},
	{Name: "limits", On: "start", Type: TypeStrings,
		Doc: "limits of the traced namespace, by sysctl name",
		value: ofStart(func(s *event.StartInfo) Value {
			if s.Limits == nil {
				return Value{}
			}
			return Value{typ: TypeStrings, nested: s.Limits}
		})},
	{Name: "filter", On: "start", Type: TypeString,
		Doc:   "the filter in words; absent if there is none",
		value: ofStart(func(s *event.StartInfo) Value { return String(s.Filter) })},
}

// endFields are the fields of the end record. A number that is 0 is known.
var endFields = []Field{
	{Name: "births", On: "end", Type: TypeUint,
		Doc:   "mini-sockets born, parked ones included",
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Births) })},
	{Name: "parked", On: "end", Type: TypeUint,
		Doc:   "of those, born in FIN_WAIT2",
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Parked) })},
	{Name: "promoted", On: "end", Type: TypeUint,
		Doc:   "parked ones that reached TIME_WAIT",
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Promoted) })},
	{Name: "begins", On: "end", Type: TypeUint,
		Doc:   "begins of TIME_WAIT",
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Begins) })},
	{Name: "ends", On: "end", Type: TypeCounts,
		Doc:   "ends of TIME_WAIT by reason, `unknown` included",
		value: ofEnd(func(i *event.EndInfo) Value { return Value{typ: TypeCounts, nested: i.Ends} })},
	{Name: "refused", On: "end", Type: TypeUint,
		Doc:   "mini-sockets that the kernel refused",
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Refused) })},
	{Name: "alive", On: "end", Type: TypeUint,
		Doc:   "sockets still in TIME_WAIT or parked",
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Alive) })},
	{Name: "lost", On: "end", Type: TypeCounts,
		Doc:   "events lost, by stage; stages with none are absent",
		value: ofEnd(func(i *event.EndInfo) Value { return Value{typ: TypeCounts, nested: i.Lost} })},
	{Name: "drift", On: "end", Type: TypeDrift,
		Doc: "network namespaces where the kernel's own counters grew by another number than was traced: " +
			"what the kernel counted less what was traced",
		value: ofEnd(func(i *event.EndInfo) Value { return Value{typ: TypeDrift, nested: i.Drift} })},
	{Name: "why", On: "end", Type: TypeString,
		Doc:   "why the trace ended",
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
