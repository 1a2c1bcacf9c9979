package view

import (
	"context"
	"time"
)

// Source feeds the views: a live trace and a replay are one.
type Source interface {
	// Next waits for the end of the next interval and returns the state then.
	// The caller may keep and change it. The error is io.EOF where there is no
	// more, and ctx's when that is done.
	Next(ctx context.Context) (*State, error)
}

// intervalSetter is a Source whose interval can be changed while it runs, from
// another goroutine than that of Next.
type intervalSetter interface {
	SetInterval(time.Duration)
}
