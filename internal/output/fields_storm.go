package output

import (
	"slices"

	"github.com/twtrace/twtrace/internal/event"
)

// onStorm are the records that stormFields are on.
const onStorm = "storms"

// stormFields are the fields of storm records beside those of connections.
var stormFields = []Field{
	{Name: "severity", Was: was("sev", inTop), On: onStorm, Type: TypeWord, Enum: []string{event.Warn.String(), event.Crit.String()}, Column: Column{Width: 8},
		Doc:   "`crit`: calls fail, or will within five minutes; `warn`: a limit is near, or connections churn",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Severity }),
		value: ofStorm(func(s *event.StormInfo) Value { return Word(s.Severity.String()) })},
	{Name: "taken_per_s", Was: slices.Concat(was("rate", inRecords, inReport), was("open_rate", inPorts)), On: onStorm, Type: TypeFloat, Column: Column{Width: 7, Right: true},
		Doc:   "how many are taken per second: connections opened, or for `buckets`, sockets that enter TIME_WAIT",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Rate }),
		value: ofStorm(func(s *event.StormInfo) Value { return Float(s.Rate, 1) })},
	{Name: "demand_per_s", short: "DEMAND", On: onStorm, Type: TypeFloat, Column: Column{Width: 7, Right: true},
		Doc:   "how many are wanted per second: those taken and those refused",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Demand }),
		value: ofStorm(func(s *event.StormInfo) Value { return notNegative(s.Demand, 1) })},
	{Name: "short_share", On: onStorm, Type: TypeFloat, Column: Column{Width: 5, Right: true},
		Doc:   "share of short-lived connections among those of the owner that ended in the last minute",
		at:    inStorm(func(s *event.StormInfo) any { return &s.ShortShare }),
		value: ofStorm(func(s *event.StormInfo) Value { return notNegative(s.ShortShare, 2) })},
	{Name: "life_p50_ns", Was: slices.Concat(was("life50_ms", inTop), was("p50_ns", inReport)), On: onStorm, Type: TypeDuration, Column: Column{Width: 6, Right: true},
		Doc:   "median lifetime of the owner's connections",
		at:    inStorm(func(s *event.StormInfo) any { return &s.LifeP50 }),
		value: ofStorm(func(s *event.StormInfo) Value { return nanosOf(s.LifeP50) })},
	{Name: "used", Was: was("ports_used", inRecords, inReport), On: onStorm, Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "how many are in use: ports, or for `buckets`, TIME_WAIT sockets",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Used }),
		value: ofStorm(func(s *event.StormInfo) Value { return uintOf(s.Used) })},
	{Name: "usable", Was: was("ports_usable", inRecords, inReport), On: onStorm, Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "how many there are. Absent for `churn`",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Usable }),
		value: ofStorm(func(s *event.StormInfo) Value { return uintOf(s.Usable) })},
	{Name: "used_pct", short: "USE%", Was: was("port_pct", inTop), On: onStorm, Type: TypeFloat, Column: Column{Width: 6, Right: true},
		Doc:   "`used`, in percent of `usable`. Absent for churn",
		value: ofStorm(usedPct)},
	{Name: "projected", Was: was("ports_projected", inRecords), On: onStorm, Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "the maximum in use within the next five minutes at the present rates, if there were no limit",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Projected }),
		value: ofStorm(func(s *event.StormInfo) Value { return uintOf(s.Projected) })},
	{Name: "exhausts_in_s", short: "FULL_IN", On: onStorm, Type: TypeFloat, Column: Column{Width: 6, Right: true},
		Doc:   "seconds until all are in use, 0 if calls already fail. Absent if that is not expected within an hour",
		at:    inStorm(func(s *event.StormInfo) any { return &s.ExhaustsIn }),
		value: ofStorm(func(s *event.StormInfo) Value { return notNegative(s.ExhaustsIn, 1) })},
	{Name: "refused_total", Was: was("fails", inRecords, inReport), On: onStorm, Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "how many were refused since the storm started because the limit was reached: calls, or for `buckets`, TIME_WAIT sockets",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Fails }),
		value: ofStorm(func(s *event.StormInfo) Value { return Uint(s.Fails) })},
	{Name: "outage_s", On: onStorm, Type: TypeFloat, Column: Column{Width: 6, Right: true},
		Doc:   "for how many seconds calls have been failing: from the first one refused until one is free again. Absent if none was refused",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Outage }),
		value: ofStorm(func(s *event.StormInfo) Value { return notNegative(s.Outage, 1) })},
	{Name: "resolved", On: onStorm, Type: TypeBool, Column: Column{Width: 8},
		Doc:   "true once the outage is over, which then lasted for `outage_s`. Else absent",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Resolved }),
		value: ofStorm(func(s *event.StormInfo) Value { return onlyTrue(s.Resolved) })},
	{Name: "processes", Was: was("pids", inRecords, inPorts, inTop), On: onStorm, Type: TypeUint, Column: Column{Width: 5, Right: true},
		Doc:   "how many processes with the owner's name took part, approximately",
		at:    inStorm(func(s *event.StormInfo) any { return &s.PIDs }),
		value: ofStorm(func(s *event.StormInfo) Value { return uintOf(s.PIDs) })},
	{Name: "owner_used", On: onStorm, Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "how many of `used` the owner holds. Absent for `churn`, and if not known",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Held }),
		value: ofStorm(func(s *event.StormInfo) Value { return uintOf(s.Held) })},
	{Name: "other_owners", short: "OTHERS", On: onStorm, Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "how many other programs hold a part of `used`",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Others }),
		value: ofStorm(func(s *event.StormInfo) Value { return uintOf(s.Others) })},
}

// usedPct is known where there is a limit.
func usedPct(s *event.StormInfo) Value {
	if s.Usable == 0 {
		return Value{}
	}
	return Float(100*float64(s.Used)/float64(s.Usable), 1)
}

// storm reports whether e is about a storm.
func storm(e *event.Event) bool {
	return e.Kind == event.StormStart || e.Kind == event.StormUpdate || e.Kind == event.StormEnd
}

// ofStorm makes a field of a storm record.
func ofStorm(value func(*event.StormInfo) Value) func(*event.Event) Value {
	return func(e *event.Event) Value {
		if e.Storm == nil {
			return Value{}
		}
		return value(e.Storm)
	}
}

// inStorm makes the place of a field of a storm record.
func inStorm(at func(*event.StormInfo) any) func(*event.Event) any {
	return func(e *event.Event) any {
		if e.Storm == nil {
			e.Storm = event.NewStorm()
		}
		return at(e.Storm)
	}
}

// notNegative is a number that is not known if it is negative.
func notNegative(f float64, decimals uint8) Value {
	if f < 0 {
		return Value{}
	}
	return Float(f, decimals)
}

// onlyTrue is true, or not known.
func onlyTrue(b bool) Value {
	if !b {
		return Value{}
	}
	return Bool(true)
}
