package doctor

import (
	"cmp"
	"context"
	"errors"
	"io/fs"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/kernel"
)

// maxDiagnosed is how many network namespaces are diagnosed, those with the most sockets,
// if the user names none.
const maxDiagnosed = 16

// choose returns the network namespaces to diagnose, the fullest first, and notes the
// counters of each.
func (d *Doctor) choose() ([]kernel.NetNS, error) {
	list := d.opt.Named
	if list == nil {
		var err error
		if list, err = d.opt.Host.Namespaces(); err != nil {
			return nil, err
		}
	}
	d.before = make(map[uint32]advice.Counted)
	var found []kernel.NetNS
	for i, n := range list {
		counted, err := d.opt.Host.Count(n)
		switch {
		case err == nil:
		case d.opt.Named != nil:
			return nil, err
		case gone(err):
			continue
		default:
			d.closed = append(d.closed, n)
			continue
		}
		if d.opt.Named != nil || i == 0 || sockets(counted) > 0 { // the first is the user's own
			found = append(found, n)
			d.before[n.Inum] = counted
		}
	}
	slices.SortStableFunc(found, func(a, b kernel.NetNS) int {
		return cmp.Compare(sockets(d.before[b.Inum]), sockets(d.before[a.Inum]))
	})
	if d.opt.Named == nil && len(found) > maxDiagnosed {
		d.Report.LeftOut = len(found) - maxDiagnosed
		if d.opt.Trace == nil { // a trace watches the limits of all
			d.Report.Unwatched = slices.DeleteFunc(slices.Clone(found[maxDiagnosed:]), func(n kernel.NetNS) bool { return sockets(d.before[n.Inum]) < fewSockets })
		}
		found = found[:maxDiagnosed]
	}
	return found, nil
}

// fewSockets is with how many a namespace without a trace may be left out: they come near
// no limit.
const fewSockets = 256

// gone reports whether a network namespace could not be read because it has ended.
func gone(err error) bool {
	return err != nil && (errors.Is(err, fs.ErrNotExist) || errors.Is(err, unix.ESRCH))
}

func sockets(c advice.Counted) uint64 { return c.TimeWait + c.InUse }

// facts gathers the facts of the network namespaces from /proc and sock_diag.
func (d *Doctor) facts(ctx context.Context, spaces []kernel.NetNS) ([]advice.Facts, error) {
	var all []advice.Facts
	d.Report.Closed = slices.Clone(d.closed)
	for _, n := range spaces {
		f, err := d.opt.Host.Facts(ctx, n, d.before[n.Inum])
		switch {
		case err == nil:
			all = append(all, f)
		case d.opt.Named != nil || len(spaces) == 1:
			return nil, err
		case !gone(err):
			d.Report.Closed = append(d.Report.Closed, n)
		}
	}
	return all, nil
}

// watchCounters waits for the window to end, and reads the counters again. It ends
// early with ctx.
func (d *Doctor) watchCounters(ctx context.Context, start time.Time, spaces []kernel.NetNS) error {
	for left := d.opt.Window - time.Since(start); left > 0; left = d.opt.Window - time.Since(start) {
		d.opt.Show(time.Since(start), d.Report.Findings)
		if !pause(ctx, min(left, tick)) {
			break
		}
	}
	facts, err := d.facts(context.WithoutCancel(ctx), spaces)
	if err != nil {
		return err
	}
	d.conclude(facts)
	return nil
}
