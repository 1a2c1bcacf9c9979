package main

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/tracer"
)

// mostLookedAt is how many network namespaces are looked at, those with the most
// sockets, if the user names none.
const mostLookedAt = 16

// tick is how often what was found so far is told while it is watched.
const tick = time.Second

// watch looks at this host, and then watches it.
func (d *doctor) watch(c *cli.Context) error {
	if c.IsSet("netns") {
		var err error
		if d.named, err = findNetNS(c.String("netns")); err != nil {
			return exitError{exitDoctorUnknown, err.Error()}
		}
	}
	begin := time.Now()
	spaces, err := d.choose()
	if err != nil {
		return err
	}
	facts, err := d.look(c.Context, spaces)
	if err != nil {
		return err
	}
	d.conclude(facts)
	d.screen.show(time.Since(begin), d.window, d.report.Findings)
	if !c.Bool("no-bpf") {
		err := d.trace(c, spaces)
		var host *tracer.HostError
		if !errors.As(err, &host) && !errors.Is(err, fs.ErrPermission) {
			return err
		}
		d.untraceable(err)
	}
	return d.watchCounters(c.Context, begin, spaces)
}

// choose returns the namespaces to look at, the fullest first, and notes the counters
// of each.
func (d *doctor) choose() ([]kernel.NetNS, error) {
	list := d.named
	if list == nil {
		var err error
		if list, err = kernel.ListNetNS(); err != nil {
			return nil, err
		}
	}
	d.before = make(map[uint32]advice.Counted)
	var found []kernel.NetNS
	for i, n := range list {
		counted, err := advice.Count(n)
		switch {
		case err == nil:
		case d.named != nil:
			return nil, err
		case errors.Is(err, fs.ErrPermission):
			d.report.Closed = append(d.report.Closed, n)
			continue
		default: // it has just gone
			continue
		}
		if d.named != nil || i == 0 || sockets(counted) > 0 { // the first is the user's own
			found = append(found, n)
			d.before[n.Inum] = counted
		}
	}
	slices.SortStableFunc(found, func(a, b kernel.NetNS) int {
		return cmp.Compare(sockets(d.before[b.Inum]), sockets(d.before[a.Inum]))
	})
	if d.named == nil && len(found) > mostLookedAt {
		d.report.LeftOut = len(found) - mostLookedAt
		found = found[:mostLookedAt]
	}
	return found, nil
}

func sockets(c advice.Counted) uint64 { return c.TimeWait + c.InUse }

// look gathers the facts of the namespaces from /proc and sock_diag.
func (d *doctor) look(ctx context.Context, spaces []kernel.NetNS) ([]advice.Facts, error) {
	var all []advice.Facts
	for _, n := range spaces {
		f, err := advice.LookSince(ctx, n, d.before[n.Inum])
		switch {
		case err == nil:
			all = append(all, f)
		case d.named != nil || len(spaces) == 1:
			return nil, err
		case errors.Is(err, fs.ErrPermission):
			d.report.Closed = append(d.report.Closed, n)
		}
	}
	return all, nil
}

// watchCounters waits for the window to end, and looks again. A signal ends it early.
func (d *doctor) watchCounters(ctx context.Context, begin time.Time, spaces []kernel.NetNS) error {
	for left := d.window - time.Since(begin); left > 0; left = d.window - time.Since(begin) {
		d.screen.show(time.Since(begin), d.window, d.report.Findings)
		if !pause(ctx, min(left, tick)) {
			break
		}
	}
	d.report.Closed = nil
	facts, err := d.look(context.WithoutCancel(ctx), spaces)
	if err != nil {
		return err
	}
	d.conclude(facts)
	return nil
}
