package view

import (
	"context"
	"time"
)

// Source feeds the views: a live trace and a replay are one.
type Source interface {
	// Next waits for the end of the next interval and returns the state then.
	// The caller may keep it and must not change it. The error is io.EOF where
	// there is no more, and ctx's when that is done.
	Next(ctx context.Context) (*State, error)
}

// What some sources can do beside. The methods are called from another goroutine
// than that of Next, and must not wait for it.
type (
	// intervalSetter is a Source whose interval can be changed while it runs.
	intervalSetter interface {
		SetInterval(time.Duration)
	}
	// resetter is a Source that can forget what it counted, but for what is alive.
	resetter interface {
		Reset()
	}
	// Player is a Source whose time the user moves: a replay. Of a live trace only
	// the view pauses, and what happens meanwhile is not lost.
	Player interface {
		Source
		Pause(paused bool) // paused, Next waits
		Step()             // paused, lets one Next through
	}
)
