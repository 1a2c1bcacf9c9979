package main

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/process"
	"github.com/twtrace/twtrace/internal/tracer"
)

func listCommand() *cli.Command {
	return &cli.Command{
		Name:  "list",
		Usage: "list the sockets that are in TIME_WAIT now, with the owners that a running twtrace knows",
		Description: examples(
			"twtrace list -D 3306 -o wide        those towards port 3306",
			"twtrace list --by unit              how many of which systemd unit",
			"twtrace list -N web -o json         those of the network namespace web, an object a line"),
		Flags: slices.Concat(filterFlags(), readFlags(), []cli.Flag{
			outputFlag("text, wide, json, csv"),
			&cli.StringFlag{Name: "fields", Usage: "print only these `FIELDS`, in this order", Category: categoryOutput},
			cmdlineFlag(),
			byFlag(),
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
	w, err := listWriter(c)
	if err != nil {
		return err
	}
	if c.IsSet("read") {
		return listTape(c, w)
	}
	namespaces, err := listedNetNS(c, f)
	if err != nil {
		return err
	}
	l := lister{filter: f, out: w, resolver: process.NewResolver(process.Options{Cmdlines: c.Bool("cmdline")})}
	defer l.resolver.Stop()
	if l.owners, err = tracer.OpenOwners(); err == nil {
		defer l.owners.Close()
	} else if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	hidden, err := l.listAll(c, namespaces)
	if err != nil {
		return err
	}
	if err := w.Flush(); err != nil {
		return err
	}
	if words := l.unseen(hidden, len(namespaces)); words != "" {
		note(c, "%s", words)
	}
	return nil
}

// listWriter is what the flags want to see of the sockets.
func listWriter(c *cli.Context) (output.Writer, error) {
	if c.IsSet("by") {
		return newCounter(c, c.App.Writer)
	}
	opts, err := parseOutput(c)
	if err != nil {
		return nil, err
	}
	if opts.Fields == nil && (opts.Format == output.Text || opts.Format == output.Wide) {
		opts.Fields = listFields
	}
	return output.New(c.App.Writer, opts)
}

// unseen says in words what the list lacks, "" if nothing; hidden of all
// namespaces could not be looked into.
func (l *lister) unseen(hidden, all int) string {
	switch {
	case hidden > 0:
		return fmt.Sprintf("owners, and the sockets of %d of %d network namespaces, are not shown: that needs root", hidden, all)
	case l.owners == nil:
		return "owners are not shown: that needs root"
	case l.owners.Traces() == 0:
		return "owners are not known: no other twtrace is running; start `twtrace trace` or `twtrace top` first"
	}
	return ""
}

// listedNetNS returns the namespaces to look into: those that --netns names, which
// need not be among those that can be found, or all that the filter lets through.
func listedNetNS(c *cli.Context, f *filter.Filter) ([]kernel.NetNS, error) {
	if f.NetNS.Active() && !f.NetNS.Not {
		return findNetNS(c.String("netns"))
	}
	all, err := kernel.ListNetNS()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(ns kernel.NetNS) bool { return slices.Contains(f.NetNS.Items, ns.Inum) }), nil
}

// lister prints the sockets that are in TIME_WAIT.
type lister struct {
	filter *filter.Filter
	owners *tracer.Owners // nil without the right to ask for them
	out    output.Writer
	failed error // of out, which is final

	resolver *process.Resolver // of the owners that live
}

// who sets the owner of e and says who that is, if any trace knows it.
func (l *lister) who(e *event.Event) {
	if l.owners == nil || !l.owners.Find(e) {
		return
	}
	for _, p := range []*event.Proc{&e.Opener, &e.Accepter, &e.CloseProc} {
		*p = l.resolver.Describe(*p)
	}
	e.Process, e.Owner = e.KnownOwner()
}

// listAll lists all namespaces, and returns how many of them may not be looked
// into. That is an error where the user has named them. One that has gone in the
// meantime has no sockets.
func (l *lister) listAll(c *cli.Context, namespaces []kernel.NetNS) (hidden int, err error) {
	for _, ns := range namespaces {
		err := l.list(ns)
		switch {
		case l.failed != nil:
			return hidden, l.failed
		case err == nil || errors.Is(err, fs.ErrNotExist):
		case c.IsSet("netns"):
			return hidden, err
		case errors.Is(err, fs.ErrPermission):
			hidden++
		default:
			note(c, "network namespace %s is not shown: %v", ns, err)
		}
	}
	return hidden, nil
}

// list writes the sockets of one namespace as snapshot records.
func (l *lister) list(ns kernel.NetNS) error {
	return ns.Sockets(kernel.States(event.TimeWait), func(s kernel.Socket) error {
		e := snapshotEvent(ns, s)
		l.who(&e)
		if l.filter.Match(&e) {
			l.failed = l.out.Write(&e)
		}
		return l.failed
	})
}

// snapshotEvent is the record of a mini-socket that sock_diag shows.
func snapshotEvent(ns kernel.NetNS, s kernel.Socket) event.Event {
	return event.Event{Time: time.Now().UnixNano(), Kind: event.Snapshot, NetNS: ns.Inum, Cookie: s.Cookie,
		Local: s.Local, Remote: s.Remote, New: s.State, Remaining: int64(s.Expires)}
}
