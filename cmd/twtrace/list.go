package main

import (
	"errors"
	"os"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/tracer"
)

func listCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the sockets that are in TIME_WAIT now, with the owners that a running twtrace knows",
		Flags: concat(filterFlags(), []cli.Flag{
			outputFlag("text, wide, json, csv"),
			&cli.StringFlag{Name: "fields", Usage: "print only these `FIELDS`, in this order", Category: categoryOutput},
		}),
		Action: runList,
	}
}

// listFields are the fields of a snapshot record that text shows.
var listFields = []string{"remaining_ns", "pid", "comm", "owner", "closer", "netns", "cookie", "laddr", "lport", "raddr", "rport"}

func runList(c *cli.Context) error {
	f, err := parseFilter(c)
	if err != nil {
		return err
	}
	opts, err := parseOutput(c)
	if err != nil {
		return err
	}
	if opts.Fields == nil && (opts.Format == output.Text || opts.Format == output.Wide) {
		opts.Fields = listFields
	}
	w, err := output.New(c.App.Writer, opts)
	if err != nil {
		return err
	}
	owners, err := tracer.OpenOwners()
	switch {
	case errors.Is(err, os.ErrPermission):
		note(c, "owners are not shown: that needs root")
	case err != nil:
		return err
	case owners.Traces() == 0:
		note(c, "owners are not known: no other twtrace is running; start `twtrace trace` or `twtrace top` first")
	}
	if owners != nil {
		defer owners.Close()
	}
	namespaces, err := kernel.ListNetNS()
	if err != nil {
		return err
	}
	for _, ns := range namespaces {
		err := listNetNS(ns, f, owners, w)
		if errors.Is(err, os.ErrPermission) {
			note(c, "network namespace %d is not shown: that needs root", ns.Inum)
		} else if err != nil {
			return err
		}
	}
	return w.Flush()
}

// listNetNS writes the sockets of one namespace as snapshot records.
func listNetNS(ns kernel.NetNS, f *filter.Filter, owners *tracer.Owners, w output.Writer) error {
	return ns.Sockets(kernel.States(event.TimeWait), func(s kernel.Socket) error {
		e := snapshotEvent(ns, s)
		if owners != nil && owners.Find(&e) {
			e.Process, e.Owner = e.KnownOwner()
		}
		if !f.Match(&e) {
			return nil
		}
		return w.Write(&e)
	})
}

// snapshotEvent is the record of a mini-socket that sock_diag shows.
func snapshotEvent(ns kernel.NetNS, s kernel.Socket) event.Event {
	return event.Event{Time: time.Now().UnixNano(), Kind: event.Snapshot, NetNS: ns.Inum, Cookie: s.Cookie,
		Local: s.Local, Remote: s.Remote, New: s.State, Remaining: int64(s.Expires)}
}
