package main

import (
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/tracer"
)

func filterFlags() []cli.Flag {
	f := func(name, usage string, aliases ...string) cli.Flag {
		return &cli.StringFlag{Name: name, Aliases: aliases, Usage: usage, Category: categoryFilter}
	}
	return []cli.Flag{
		f("pid", "only process `PID`: it opened, accepted or closed the connection", "p"),
		f("comm", "only processes named `COMM`; * and ? are wildcards"),
		f("uid", "only processes of user `UID`"),
		f("exe", "only processes that run `PATH`, an executable's path or name"),
		f("parent", "only children of process `PID`, or of a process with that name"),
		f("cgroup", "only processes in cgroup `PATH` or below it"),
		f("unit", "only processes of systemd unit `NAME`"),
		f("container", "only processes in container `ID`: ID, prefix or name"),
		f("pod", "only processes in Kubernetes pod `UID`, or NAMESPACE/NAME"),
		f("lport", "local `PORT` or range, such as 8000-8099", "L"),
		f("rport", "remote `PORT` or range", "D"),
		f("laddr", "local address or prefix, `CIDR`"),
		f("raddr", "remote address or prefix, `CIDR`"),
		&cli.BoolFlag{Name: "4", Usage: "only IPv4", Category: categoryFilter},
		&cli.BoolFlag{Name: "6", Usage: "only IPv6", Category: categoryFilter},
		f("netns", "network namespace `NAME`, its inode number, path, or pid:N (default: all)", "N"),
		f("role", "`ROLE`: role of the socket: "+names[event.Role]()),
		f("closed-by", "`SIDE`: who closed first: "+names[event.Side](), "closer"),
	}
}

func recordFilterFlags() []cli.Flag {
	return append(filterFlags(),
		&cli.StringFlag{Name: "event", Usage: "`EVENT`: print only these events: " + names[event.Kind](), Category: categoryFilter},
		&cli.StringFlag{Name: "reason", Usage: "`REASON`: print only events with this reason: " + names[event.Reason](), Category: categoryFilter},
	)
}

func names[T event.Enum]() string { return strings.Join(event.Names[T](), ", ") }

func followFlag() cli.Flag {
	return &cli.BoolFlag{Name: "follow", Usage: "with --pid: include the children of that process, now and later", Category: categoryFilter}
}

// parseFollow returns the processes to follow, and has the filter let them through.
func parseFollow(c *cli.Context, f *filter.Filter) ([]tracer.Root, error) {
	args := jobArgs(c)
	switch {
	case args != nil && (f.PIDs.Active() || c.Bool("follow")):
		return nil, usagef("--pid and --follow conflict with a command to run: twtrace traces the command and its children")
	case args != nil:
		f.Follow = true
		return []tracer.Root{jobRoot()}, nil
	case !c.Bool("follow"):
		return nil, nil
	case !f.PIDs.Active() || f.PIDs.Not:
		return nil, usagef("--follow requires --pid")
	}
	f.Follow = true
	roots := make([]tracer.Root, len(f.PIDs.Items))
	for i, pid := range f.PIDs.Items {
		roots[i].PID = pid
	}
	return roots, nil
}

// parseFilterFlags returns the filter that the flags describe.
func parseFilterFlags(c *cli.Context, s *spaces) (*filter.Filter, error) {
	f := &filter.Filter{}
	if c.Bool("4") && c.Bool("6") {
		return nil, usagef("-4 conflicts with -6")
	}
	if c.Bool("4") {
		f.Family = 4
	} else if c.Bool("6") {
		f.Family = 6
	}
	l := filterLanguage(c, s)
	for _, w := range l.Has() {
		if !c.IsSet(w.Name) && c.String(w.Name) == "" { // serve may have it from a file
			continue
		}
		if err := l.Set(f, w.Name, c.String(w.Name)); err != nil {
			err = filterError("--"+w.Name+": ", err)
			if usage, ok := err.(usageError); ok {
				usage.msg += hintValue(w.Name, c.String(w.Name))
				err = usage
			}
			return nil, err
		}
	}
	return f, nil
}
