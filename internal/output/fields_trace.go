package output

import "github.com/twtrace/twtrace/internal/event"

// startFields are the fields of the start record.
var startFields = []Field{
	{Name: "version", On: "start", Type: TypeString,
		Doc:   "version of twtrace",
		at:    inStart(func(s *event.StartInfo) any { return &s.Version }),
		value: ofStart(func(s *event.StartInfo) Value { return String(s.Version) })},
	{Name: "schema", On: "start", Type: TypeInt,
		Doc:   "version of this record contract; grows when a field changes its meaning or goes",
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
	{Name: "hooks", On: "start", Type: TypeList,
		Doc:   "hooks in use",
		at:    inStart(func(s *event.StartInfo) any { return &s.Hooks }),
		value: ofStart(func(s *event.StartInfo) Value { return List(s.Hooks) })},
	{Name: "missing", On: "start", Type: TypeList,
		Doc:   "what will not be seen, in words",
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
		Doc:   "the filter in words; absent if there is none",
		at:    inStart(func(s *event.StartInfo) any { return &s.Filter }),
		value: ofStart(func(s *event.StartInfo) Value { return String(s.Filter) })},
}

// endFields are the fields of the end record. A number that is 0 is known.
var endFields = []Field{
	{Name: "births", On: "end", Type: TypeUint,
		Doc:   "mini-sockets born, parked ones included",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Births }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Births) })},
	{Name: "parked", On: "end", Type: TypeUint,
		Doc:   "of those, born in FIN_WAIT2",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Parked }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Parked) })},
	{Name: "promoted", On: "end", Type: TypeUint,
		Doc:   "parked ones that reached TIME_WAIT",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Promoted }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Promoted) })},
	{Name: "late", On: "end", Type: TypeUint,
		Doc:   "promotions that were found when TIME_WAIT ended, so that its begin was told late",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Late }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Late) })},
	{Name: "begins", On: "end", Type: TypeUint,
		Doc:   "begins of TIME_WAIT",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Begins }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Begins) })},
	{Name: "ends", On: "end", Type: TypeCounts,
		Doc:   "ends of TIME_WAIT by reason, `unknown` included",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Ends }),
		value: ofEnd(func(i *event.EndInfo) Value { return Value{typ: TypeCounts, nested: i.Ends} })},
	{Name: "refused", On: "end", Type: TypeUint,
		Doc:   "mini-sockets that the kernel refused",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Refused }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Refused) })},
	{Name: "alive", On: "end", Type: TypeUint,
		Doc:   "sockets still in TIME_WAIT or parked",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Alive }),
		value: ofEnd(func(i *event.EndInfo) Value { return Uint(i.Alive) })},
	{Name: "lost", On: "end", Type: TypeCounts,
		Doc:   "events lost, by stage; stages with none are absent",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Lost }),
		value: ofEnd(func(i *event.EndInfo) Value { return Value{typ: TypeCounts, nested: i.Lost} })},
	{Name: "unnamed", On: "end", Type: TypeCounts,
		Doc: "processes whose records lack details: `gone` had ended before /proc was read (no executable is known); " +
			"of `throttled` there were too many at a time to look them all up at once",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Unnamed }),
		value: ofEnd(func(i *event.EndInfo) Value { return Value{typ: TypeCounts, nested: i.Unnamed} })},
	{Name: "drift", On: "end", Type: TypeDrift,
		Doc: "network namespaces where the kernel's own counters grew by another number than was traced: " +
			"what the kernel counted less what was traced",
		at:    inEnd(func(i *event.EndInfo) any { return &i.Drift }),
		value: ofEnd(func(i *event.EndInfo) Value { return Value{typ: TypeDrift, nested: i.Drift} })},
	{Name: "why", On: "end", Type: TypeString,
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
