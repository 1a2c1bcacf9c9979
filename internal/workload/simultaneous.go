package workload

import (
	"context"
	"errors"
	"net/netip"

	"github.com/twtrace/twtrace/internal/event"
)

// SimultaneousClose makes n connections over the wire, to at, and closes both
// ends of each so that the FINs cross: both ends go through CLOSING, and both
// have a TIME_WAIT, in a namespace each. The crossing is certain, since the wire
// is held until both processes have closed everything and are gone.
func SimultaneousClose(ctx context.Context, w *Wire, at netip.AddrPort, n int) (Result, error) {
	s := pair(at, n, event.BothSides, OnCue, OnCue)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	server, err := Start(ctx, w.far, s.Server)
	if err != nil {
		return Result{}, err
	}
	defer func() { cancel(); <-server.done }()
	if _, err := server.Ready(); err != nil {
		return Result{}, err
	}
	client, err := Start(ctx, w.near, s.Client)
	if err != nil {
		return Result{}, err
	}
	defer func() { cancel(); <-client.done }()
	if err := errors.Join(client.Go(), client.Held()); err != nil {
		return Result{}, err
	}

	w.Hold()
	defer w.Release()
	both := []*Process{client, server}
	if err := errors.Join(each(both, (*Process).Cue), server.Drain(uint64(n))); err != nil {
		return Result{}, err
	}
	clientLog, err1 := client.Wait()
	serverLog, err2 := server.Wait()
	return Result{Server: serverLog, Clients: []Log{clientLog}}, errors.Join(err1, err2)
}
