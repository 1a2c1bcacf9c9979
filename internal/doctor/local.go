package doctor

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"time"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// localWindow is how long the counters of this host are watched at least, beside an agent
// that answers at once.
const localWindow = time.Second

// local is what this host shows itself, beside an agent that traces it: accept queues,
// settings, counters, connection tracking, addresses. No record has them.
type local struct {
	start  time.Time
	spaces []kernel.NetNS
	memory uint64 // available
}

// StartLocal has Replay diagnose the past of an agent of this host, and what no record has
// of it: it notes the counters, and EndLocal reads them again. With narrow it reads nothing:
// what was asked for is not a namespace that this user can find.
func (d *Doctor) StartLocal(narrow bool) (err error) {
	l := &local{start: time.Now()}
	d.Report.Root = os.Geteuid() == 0
	if d.opt.Named == nil {
		if d.Report.Hidden, err = d.opt.Host.Hidden(); err != nil {
			return err
		}
	}
	if !narrow {
		l.spaces, err = d.choose()
	}
	if err = d.unreadable(err); err != nil {
		return err
	}
	if l.memory, err = kernel.MemAvailable(); err != nil {
		return err
	}
	d.local = l
	return nil
}

// unreadable notes that named namespaces may not be read by this user, or are gone: the
// agent knows of them nevertheless.
func (d *Doctor) unreadable(err error) error {
	switch {
	case err == nil, gone(err):
		return nil
	case errors.Is(err, fs.ErrPermission):
		d.closed = d.opt.Named
		d.Report.Closed = slices.Clone(d.closed)
		return nil
	}
	return err
}

// completeBy adds to facts of a trace what rules ask of the host beside it.
func (l *local) completeBy(before map[uint32]advice.Counted, facts []advice.Facts) {
	for i := range facts {
		f := &facts[i]
		f.MemAvailable = l.memory
		if counted, ok := before[f.NetNS.Inum]; ok {
			f.HostAfter.Addrs, f.HostAfter.Settings = counted.Host.Addrs, counted.Host.Settings
		}
	}
}

// EndLocal adds to the report what this host shows now.
func (d *Doctor) EndLocal(ctx context.Context) error {
	if left := localWindow - time.Since(d.local.start); left > 0 && len(d.local.spaces) > 0 {
		pause(ctx, left)
	}
	facts, err := d.facts(context.WithoutCancel(ctx), d.local.spaces)
	if err = d.unreadable(err); err != nil {
		return err
	}
	for i := range facts {
		d.onlyLocal(&facts[i])
		if n := facts[i].NetNS; !slices.ContainsFunc(d.Report.Spaces, func(o kernel.NetNS) bool { return o.Inum == n.Inum }) {
			d.Report.Spaces = append(d.Report.Spaces, n)
		}
	}
	d.Report.Findings = join(d.Report.Findings, advice.Diagnose(facts...))
	d.scoped()
	return nil
}

// onlyLocal leaves in facts what the agent does not know: it has the connections of its
// whole past, and who listens.
func (d *Doctor) onlyLocal(f *advice.Facts) {
	f.Clock, f.Traced = d.opt.Clock, true
	f.Destinations, f.Listeners, f.Traffic = nil, nil, advice.Traffic{}
	for i := range d.kept {
		if d.kept[i].NetNS.Inum != f.NetNS.Inum {
			continue
		}
		for _, l := range d.kept[i].Listeners {
			f.Listeners = append(f.Listeners, advice.Listener{Local: l.Local, Owner: l.Owner, PIDs: l.PIDs})
		}
	}
}

// join adds to findings of a trace those of the host, the worst first. The same finding is
// there once, as the worse one; that nothing is wrong is for both of them.
func join(traced, host []advice.Finding) []advice.Finding {
	all := slices.Clone(traced)
	for _, x := range host {
		if x.ID == verdictOK || x.ID == unseen {
			continue
		}
		at := slices.IndexFunc(all, func(o advice.Finding) bool { return same(&o, &x) })
		switch {
		case at < 0:
			all = append(all, x)
		case all[at].Severity < x.Severity:
			all[at] = x
		}
	}
	slices.SortStableFunc(all, func(a, b advice.Finding) int { return int(b.Severity) - int(a.Severity) })
	if len(all) > 0 && all[0].Severity >= event.Warn {
		all = slices.DeleteFunc(all, func(x advice.Finding) bool { return x.ID == verdictOK })
	}
	return all
}

// Findings that close a report: nothing is wrong, and what could not be seen.
const (
	verdictOK = "TW000"
	unseen    = "TW900"
)

// same reports whether a finding, or a consequence of it, is another one. Several with one ID
// may be about one namespace, each about a setting of its own.
func same(a, b *advice.Finding) bool {
	about := func(x *advice.Finding) string {
		if len(x.Evidence) == 0 {
			return ""
		}
		return x.Evidence[0].Name
	}
	if a.ID == b.ID && a.Scope.NetNS == b.Scope.NetNS && a.Scope.Lport == b.Scope.Lport && a.Scope.Rport == b.Scope.Rport && about(a) == about(b) {
		return true
	}
	return slices.ContainsFunc(a.Under, func(x advice.Finding) bool { return same(&x, b) })
}
