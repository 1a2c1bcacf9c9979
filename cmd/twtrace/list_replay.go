package main

import (
	"cmp"
	"slices"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/session"
)

// listRecorded lists the sockets that were in TIME_WAIT at the end of a recording, or
// at --to, the oldest first; or those that an agent knows now.
func listRecorded(c *cli.Context, w output.Writer, stream *agent.Stream) error {
	o, err := openPast(c, wants{}, stream)
	if err != nil {
		return err
	}
	defer o.Close()
	if err := o.Run(c.Context, ignore, func() error { return nil }); err != nil {
		return err
	}
	now := cmp.Or(o.files.To(), o.files.LastTime(), o.Now().UnixNano())
	if err := writeSorted(w, inTimeWait(o.Session, now)); err != nil {
		return err
	}
	return o.verdict(c)
}

// inTimeWait returns the sockets that the table has in TIME_WAIT at now, in ns since the
// epoch, as snapshot records.
func inTimeWait(s *session.Session, now int64) (found []event.Event) {
	list := slices.SortedFunc(s.Table().Sockets(), func(a, b conn.Socket) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Cookie, b.Cookie), a.Local.Compare(b.Local))
	})
	for _, k := range list {
		e := event.Event{Time: now, Kind: event.Snapshot, NetNS: k.NetNS, NetNSName: s.NetNSName(k.NetNS), Cookie: k.Cookie, Role: k.Role,
			Local: k.Local, Remote: k.Remote, New: k.State, Process: k.Process, Owner: k.Owner,
			Remaining: max(k.Since+int64(event.TimeWaitLen)-now, 1)}
		if k.State != event.TimeWait || k.Since > now || !s.Filter().Match(&e) {
			continue
		}
		found = append(found, e)
	}
	return found
}
