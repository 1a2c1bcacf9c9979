package main

import (
	"cmp"
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
		Name:      "list",
		ArgsUsage: "[FILTER]",
		Usage:     "list the sockets in TIME_WAIT now, with the owners that a running twtrace knows",
		Description: examples(
			"twtrace list -D 3306 -o wide        those to remote port 3306",
			"twtrace list --by unit              how many each systemd unit has",
			"twtrace list -N web -o json         those of network namespace web, one JSON object per line"),
		Flags: slices.Concat(filterFlags(), readFlags(), []cli.Flag{
			outputFlag("text, wide, json, csv"),
			fieldsFlag(),
			utcFlag(),
			noHeaderFlag(),
			cmdlineFlag(),
			agentFlag(),
			byFlag(),
		}),
		Action: runList,
	}
}

// listArrangements are the fields of a snapshot record that text shows, fewer on terminals
// that are narrower.
var listArrangements = [][]string{
	{"remaining_ns", "pid", "comm", "owner", "closed_by", "netns", "cookie", "laddr", "lport", "raddr", "rport"},
	{"remaining_ns", "pid", "comm", "owner", "closed_by", "netns", "laddr", "lport", "raddr", "rport"},
	{"remaining_ns", "pid", "comm", "owner", "closed_by", "laddr", "lport", "raddr", "rport"},
	{"remaining_ns", "pid", "comm", "laddr", "lport", "raddr", "rport"},
	{"remaining_ns", "comm", "laddr", "lport", "raddr", "rport"},
	{"remaining_ns", "laddr", "lport", "raddr", "rport"},
	{"remaining_ns", "lport", "raddr", "rport"},
}

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
		return listRecorded(c, w, nil)
	}
	switch stream, err := askAgent(c, agentAsk{}); {
	case err != nil:
		return err
	case stream != nil:
		return listRecorded(c, w, stream)
	}
	if words := noProcess(f.Filter); words != "" {
		note(c, "%s", words)
	}
	namespaces, err := listedNetNS(f)
	if err != nil {
		return err
	}
	l := lister{filter: f.Filter, resolver: process.NewResolver(process.Options{Cmdlines: c.Bool("cmdline")})}
	defer l.resolver.Stop()
	if l.owners, err = tracer.OpenOwners(); err == nil {
		defer l.owners.Close()
	} else if !errors.Is(err, fs.ErrPermission) {
		return err
	}
	hidden, err := l.listAll(c, namespaces, f.named != nil)
	if err != nil {
		return err
	}
	if err := writeSorted(w, l.found); err != nil {
		return err
	}
	if words := l.unseen(hidden, len(namespaces)); words != "" {
		note(c, "%s", words)
	}
	return nil
}

// listWriter writes the sockets in the form that the flags ask for.
func listWriter(c *cli.Context) (output.Writer, error) {
	if c.IsSet("by") {
		return newCounter(c, c.App.Writer)
	}
	opts, err := parseOutput(c)
	if err != nil {
		return nil, err
	}
	opts.Snapshots, opts.Arrangements = true, listArrangements
	if opts.Fields == nil && opts.Format == output.Wide {
		opts.Fields = listArrangements[0]
	}
	return output.New(c.App.Writer, opts)
}

// unseen says in words what the list lacks, "" if nothing; hidden of all
// namespaces could not be listed.
func (l *lister) unseen(hidden, all int) string {
	switch {
	case hidden > 0:
		return fmt.Sprintf("not shown without root: owners, and the sockets of %d of %d network namespaces", hidden, all)
	case l.owners == nil:
		return "not shown without root: owners"
	case l.owners.Traces() == 0:
		return "owners are unknown: no other twtrace is running; start `twtrace trace` or `twtrace top` first"
	}
	return ""
}

// listedNetNS returns the namespaces to list: those that the user names, found by
// twtrace or not, or all that match the filter.
func listedNetNS(f asked) ([]kernel.NetNS, error) {
	if f.named != nil {
		return f.named, nil
	}
	all, err := kernel.ListNetNS()
	if err != nil {
		return nil, err
	}
	only := f.Spaces()
	return slices.DeleteFunc(all, func(ns kernel.NetNS) bool { return !only.Match(&event.Event{NetNS: ns.Inum}) }), nil
}

// lister finds the sockets that are in TIME_WAIT.
type lister struct {
	filter *filter.Filter
	owners *tracer.Owners // nil without the right to ask for them
	found  []event.Event

	resolver *process.Resolver // of the owners that live
}

// who sets the owner of e and describes it, if any trace knows it.
func (l *lister) who(e *event.Event) {
	if l.owners == nil || !l.owners.Find(e) {
		return
	}
	for _, p := range []*event.Proc{&e.Opener, &e.Accepter, &e.CloseProc} {
		*p = l.resolver.Describe(*p)
	}
	e.Process, e.Owner = e.KnownOwner()
}

// listAll lists all namespaces, and returns how many of them twtrace may not list. That
// is an error where the user named them. One that is gone by now has no sockets.
func (l *lister) listAll(c *cli.Context, namespaces []kernel.NetNS, named bool) (hidden int, err error) {
	for _, ns := range namespaces {
		err := l.list(ns)
		switch {
		case err == nil || errors.Is(err, fs.ErrNotExist):
		case named:
			return hidden, err
		case errors.Is(err, fs.ErrPermission):
			hidden++
		default:
			note(c, "network namespace %s is not shown: %v", ns, err)
		}
	}
	return hidden, nil
}

// list finds the sockets of one namespace, as snapshot records.
func (l *lister) list(ns kernel.NetNS) error {
	return ns.Sockets(kernel.States(event.TimeWait), func(s kernel.Socket) error {
		e := snapshotEvent(ns, s)
		l.who(&e)
		if l.filter.Match(&e) {
			l.found = append(l.found, e)
		}
		return nil
	})
}

// writeSorted writes records, those that end first before the others, in columns as wide
// as all of them need.
func writeSorted(w output.Writer, list []event.Event) error {
	slices.SortStableFunc(list, func(a, b event.Event) int { return cmp.Compare(a.Remaining, b.Remaining) })
	if m, ok := w.(output.Measurer); ok {
		for i := range list {
			m.Measure(&list[i])
		}
	}
	for i := range list {
		if err := w.Write(&list[i]); err != nil {
			return err
		}
	}
	return w.Flush()
}

// snapshotEvent is the record of a mini-socket that sock_diag shows.
func snapshotEvent(ns kernel.NetNS, s kernel.Socket) event.Event {
	return event.Event{Time: time.Now().UnixNano(), Kind: event.Snapshot, NetNS: ns.Inum, NetNSName: ns.Name, Cookie: s.Cookie,
		Local: s.Local, Remote: s.Remote, New: s.State, Remaining: int64(s.Expires)}
}
