package main

import (
	"cmp"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/output"
)

// timeWaitLen is TCP_TIMEWAIT_LEN, a constant of the kernel.
const timeWaitLen = int64(60 * time.Second)

// listTape lists the sockets that were in TIME_WAIT at the end of a recording, or
// at --to, the oldest first.
func listTape(c *cli.Context, w output.Writer) error {
	s, err := newReplay(c)
	if err != nil {
		return err
	}
	defer s.close()
	none := func() error { return nil }
	if err := s.read(ignore, none); err != nil {
		return err
	}
	now := s.tape.now
	if s.tape.to != 0 {
		now = s.tape.to
	} else if end := s.tape.reader.End(); end != nil {
		now = end.Time
	}
	list := slices.SortedFunc(s.table.Sockets(), func(a, b conn.Socket) int {
		return cmp.Or(cmp.Compare(a.Since, b.Since), cmp.Compare(a.Cookie, b.Cookie), a.Local.Compare(b.Local))
	})
	for _, k := range list {
		e := event.Event{Time: now, Kind: event.Snapshot, NetNS: k.NetNS, Cookie: k.Cookie, Role: k.Role,
			Local: k.Local, Remote: k.Remote, New: k.State, Process: k.Process, Owner: k.Owner,
			Remaining: max(k.Since+timeWaitLen-now, 1)}
		if k.State != event.TimeWait || k.Since > now || !s.filter.Match(&e) {
			continue
		}
		if err := w.Write(&e); err != nil {
			return err
		}
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return s.verdict(c)
}
