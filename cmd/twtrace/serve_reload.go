package main

import (
	"errors"
	"io"
	"os"
	"os/signal"
	"slices"
	"strings"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/urfave/cli/v2"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/sandbox"
	"github.com/twtrace/twtrace/internal/session"
)

// reloadable are the flags of serve that change while it runs. The others are in the kernel
// by then, or in the rights of the two processes.
var reloadable = []string{"short-lived", "storm-rate", "storm-window", "past", "past-bytes", "max-readers"}

// reloader changes a running agent as its settings say, with each SIGHUP.
type reloader struct {
	asked   chan os.Signal
	started *cli.Context // with what is in force of the flags that do not change
	now     *cli.Context // and of those that do
	session *session.Session
	twin    *sandbox.Twin
}

// catchReload has SIGHUP reload, once run does; one that comes before waits.
func catchReload(c *cli.Context) *reloader {
	r := &reloader{asked: make(chan os.Signal, 1), started: c, now: c}
	signal.Notify(r.asked, unix.SIGHUP)
	return r
}

// release gives the signal back to the system.
func (r *reloader) release() { signal.Stop(r.asked) }

// run reloads until the speaker has ended.
func (r *reloader) run() {
	for {
		select {
		case <-r.asked:
			r.reload()
		case <-r.twin.Done():
			return
		}
	}
}

// reload reads the settings again. Those that cannot be used change nothing. The service
// manager gets its answer when the speaker has taken them, from taken.
func (r *reloader) reload() {
	notify("RELOADING=1\n" + daemon.SdNotifyMonotonicUsec())
	c, to, err := reread(r.now)
	if err != nil {
		note(r.now, "not reloaded, all stays as it is: %v", err)
		r.taken()
		return
	}
	r.session.SetStorms(to.churn)
	for _, d := range differ(r.started, c, func(name string) bool { return !slices.Contains(reloadable, name) }) {
		note(c, "--%s stays %s until the agent is restarted; its setting is %s", d.name, d.before, d.after)
	}
	words := []string{}
	for _, d := range differ(r.now, c, func(name string) bool { return slices.Contains(reloadable, name) }) {
		words = append(words, "--"+d.name+" "+d.after)
	}
	if len(words) == 0 {
		words = append(words, "nothing to change")
	}
	note(c, "reloaded: %s", strings.Join(words, ", "))
	r.now = c
	if err := r.twin.Order(agent.Bounds{Past: to.Past, PastBytes: to.PastBytes, MaxReaders: to.MaxReaders}); err != nil {
		note(c, "%v", err) // it has ended, and so will this
	}
}

// taken tells the service manager that a reload is over.
func (r *reloader) taken() { notify(daemon.SdNotifyReady) }

// difference is a flag with two values.
type difference struct{ name, before, after string }

// differ are the flags of two contexts that differ.
func differ(a, b *cli.Context, of func(name string) bool) (all []difference) {
	for _, f := range a.Command.Flags {
		name := f.Names()[0]
		if !sets(serveVerb, name) || !of(name) {
			continue
		}
		if d := (difference{name, inForce(a, f), inForce(b, f)}); d.before != d.after {
			if d.before == "" {
				d.before = "unset"
			}
			if d.after == "" {
				d.after = "unset"
			}
			all = append(all, d)
		}
	}
	return all
}

// reread parses the command line of serve again, with the settings that are around it now.
func reread(c *cli.Context) (again *cli.Context, to service, err error) {
	args, _ := c.App.Metadata[metaArgs].([]string)
	around, _ := c.App.Metadata[metaAround].(surroundings)
	app := newApp(io.Discard, c.App.ErrWriter)
	arranged, _ := arrange(app, args)
	app.Metadata = map[string]any{metaArgs: args, metaAround: around, metaSettings: readSettings(app, around)}
	app.Command(serveVerb).Action = named(serveVerb, func(c *cli.Context) error {
		again = c
		var wrong []error
		to, wrong = parseService(c)
		for i, err := range wrong {
			wrong[i] = errors.New(settingsOf(c).explain(c, serveVerb, err.Error()))
		}
		return errors.Join(wrong...)
	})
	if err = app.Run(arranged); err != nil {
		err = errors.New(strings.ReplaceAll(err.Error(), "\n", "; "))
	}
	return again, to, err
}
