package output

import "github.com/twtrace/twtrace/internal/event"

// onStorm are the records that stormFields are on.
const onStorm = "storms"

// stormFields are the fields of storm records beside those of connections.
var stormFields = []Field{
	{Name: "severity", On: onStorm, Type: TypeWord, Enum: event.Names[event.Severity](), Column: Column{Width: 8},
		Doc:   "`crit`: calls are refused, or will be within five minutes; `warn`: a limit comes near, or churn",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Severity }),
		value: ofStorm(func(s *event.StormInfo) Value { return Word(s.Severity.String()) })},
	{Name: "rate", On: onStorm, Type: TypeFloat, Column: Column{Width: 7, Right: true},
		Doc:   "connections opened per second; of `buckets`, TIME_WAIT begun",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Rate }),
		value: ofStorm(func(s *event.StormInfo) Value { return Float(s.Rate, 1) })},
	{Name: "short_share", On: onStorm, Type: TypeFloat, Column: Column{Width: 5, Right: true},
		Doc:   "share of the owner's connections that were short-lived, of those that ended within the last minute",
		at:    inStorm(func(s *event.StormInfo) any { return &s.ShortShare }),
		value: ofStorm(func(s *event.StormInfo) Value { return notNegative(s.ShortShare, 2) })},
	{Name: "life_p50_ns", On: onStorm, Type: TypeDuration, Column: Column{Width: 6, Right: true},
		Doc:   "median lifetime of the owner's connections",
		at:    inStorm(func(s *event.StormInfo) any { return &s.LifeP50 }),
		value: ofStorm(func(s *event.StormInfo) Value { return nanosOf(s.LifeP50) })},
	{Name: "ports_used", On: onStorm, Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "ports in use, or, of `buckets`, TIME_WAIT sockets",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Used }),
		value: ofStorm(func(s *event.StormInfo) Value { return uintOf(s.Used) })},
	{Name: "ports_usable", On: onStorm, Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "how many there are; absent of `churn`",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Usable }),
		value: ofStorm(func(s *event.StormInfo) Value { return uintOf(s.Usable) })},
	{Name: "ports_projected", On: onStorm, Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "the most in use within five minutes if the rates stay, were there no limit",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Projected }),
		value: ofStorm(func(s *event.StormInfo) Value { return uintOf(s.Projected) })},
	{Name: "exhausts_in_s", On: onStorm, Type: TypeFloat, Column: Column{Width: 6, Right: true},
		Doc:   "seconds until all are in use, 0 if calls are refused; absent if that is not foreseen within an hour",
		at:    inStorm(func(s *event.StormInfo) any { return &s.ExhaustsIn }),
		value: ofStorm(func(s *event.StormInfo) Value { return notNegative(s.ExhaustsIn, 1) })},
	{Name: "fails", On: onStorm, Type: TypeUint, Column: Column{Width: 6, Right: true},
		Doc:   "refused for want of room since the storm began: calls or, of `buckets`, TIME_WAIT sockets",
		at:    inStorm(func(s *event.StormInfo) any { return &s.Fails }),
		value: ofStorm(func(s *event.StormInfo) Value { return Uint(s.Fails) })},
	{Name: "pids", On: onStorm, Type: TypeUint, Column: Column{Width: 5, Right: true},
		Doc:   "how many processes of the owner's name there were of late, about",
		at:    inStorm(func(s *event.StormInfo) any { return &s.PIDs }),
		value: ofStorm(func(s *event.StormInfo) Value { return uintOf(s.PIDs) })},
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
