package main

import (
	"errors"
	"io/fs"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/process"
)

// knowListeners tells the table of the listeners that were there before the
// trace, as listen events. What cannot be read stays unknown.
func (s *session) knowListeners() error {
	namespaces, err := kernel.ListNetNS()
	if err != nil {
		return err
	}
	owners, err := process.SocketOwners()
	if err != nil && !errors.Is(err, fs.ErrPermission) {
		return err
	}
	for _, ns := range namespaces {
		err := ns.Sockets(kernel.States(event.Listening), func(k kernel.Socket) error {
			if p, ok := owners[uint64(k.Inode)]; ok {
				s.table.Apply(&event.Event{Time: time.Now().UnixNano(), Kind: event.Listen, NetNS: ns.Inum,
					Cookie: k.Cookie, Local: k.Local, Process: p, Owner: event.ByProc})
			}
			return nil
		})
		if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	return nil
}
