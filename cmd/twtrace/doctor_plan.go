package main

import (
	"context"
	"fmt"
	"math"
	"net/netip"
	"strconv"
	"strings"
	"time"

	"github.com/urfave/cli/v2"

	"github.com/twtrace/twtrace/internal/advice"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/output"
	"github.com/twtrace/twtrace/internal/plan"
	"github.com/twtrace/twtrace/internal/session"
)

const categoryPlan = "Plan (these require --plan)"

// planOnly are the flags that mean nothing without --plan.
var planOnly = []string{"rate", "towards", "life", "port-range", "reuse", "requests", "sources", "targets"}

func planFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "plan", Usage: "is the port range enough for --rate requests/s, and what would be", Category: categoryPlan},
		&cli.Float64Flag{Name: "rate", Usage: "`N` requests per second", Category: categoryPlan},
		&cli.StringFlag{Name: "towards", Usage: "take the rate from the connections to `ADDR:PORT`", Category: categoryPlan},
		&cli.DurationFlag{Name: "life", Usage: "a connection lives for `TIME`", Category: categoryPlan},
		&cli.StringFlag{Name: "port-range", Usage: "use the ephemeral port range `LOW-HIGH`", Category: categoryPlan},
		&cli.BoolFlag{Name: "reuse", Usage: "reuse ports in TIME_WAIT (tcp_tw_reuse=1, TCP timestamps on both sides)", Category: categoryPlan},
		&cli.Float64Flag{Name: "requests", Usage: "`N` requests per connection, with keep-alive", Category: categoryPlan},
		&cli.IntFlag{Name: "sources", Usage: "`N` source addresses", Category: categoryPlan},
		&cli.IntFlag{Name: "targets", Usage: "`N` destinations (address and port)", Category: categoryPlan},
	}
}

// writePlan prints which rates the namespace's settings sustain, and which rates changes would.
func writePlan(c *cli.Context, format string) error {
	ns, err := planNetNS(c)
	if err != nil {
		return err
	}
	limits, err := ns.Limits()
	if err != nil {
		return &session.ExitError{Code: exitDoctorUnknown, Msg: err.Error()}
	}
	r, err := makePlan(c, ns, limits)
	if err != nil {
		return err
	}
	switch format {
	case "json":
		return plan.WriteJSON(c.App.Writer, r)
	case "text":
		return plan.Write(c.App.Writer, r)
	}
	return usagef("--plan conflicts with -o %s: it prints text or json", format)
}

// makePlan plans for a namespace with these limits, as the flags say.
func makePlan(c *cli.Context, ns kernel.NetNS, limits kernel.Limits) (plan.Report, error) {
	r := plan.Report{Version: version, NetNS: ns, Limits: limits, Rate: c.Float64("rate")}
	changes, err := planChanges(c, &r.Limits)
	if err != nil {
		return r, err
	}
	if r.Rate < 0 || math.IsNaN(r.Rate) || math.IsInf(r.Rate, 0) || c.Duration("life") < 0 {
		return r, usagef("--rate and --life must not be negative")
	}
	if c.IsSet("towards") {
		if err := planTowards(c, ns, &r); err != nil {
			return r, err
		}
	}
	r.Rows = plan.Table(planSetup(&r.Limits, c.Duration("life")), r.Rate, changes)
	return r, nil
}

// planNetNS is the one namespace to plan for.
func planNetNS(c *cli.Context) (kernel.NetNS, error) {
	f, err := parseFilter(c)
	switch {
	case err != nil:
		return kernel.NetNS{}, err
	case !f.Active():
		return kernel.CurrentNetNS()
	case len(f.named) != 1:
		return kernel.NetNS{}, usagef("--plan requires one network namespace; the filter selects %d", len(f.named))
	}
	return f.named[0], nil
}

// planSetup is the current setup, with one client address and one destination.
func planSetup(l *kernel.Limits, life time.Duration) plan.Setup {
	return plan.Setup{Ports: l.UsablePorts(), Sources: 1, Targets: 1, Requests: 1, Life: life,
		Reuse: l.TWReuse == 1 && l.Timestamps != 0, Delay: session.ConnLimits(l).ReuseDelay, Buckets: l.MaxTWBuckets}
}

// planChanges are those that the user asks for, or the usual ones.
func planChanges(c *cli.Context, l *kernel.Limits) ([]plan.Change, error) {
	var changes []plan.Change
	add := func(change func(*plan.Setup), format string, args ...any) {
		changes = append(changes, plan.Change{What: fmt.Sprintf(format, args...), Apply: change})
	}
	reuse := func(s *plan.Setup) { s.Reuse = true }
	if c.Bool("reuse") {
		add(reuse, "tcp_tw_reuse=1")
	}
	if c.IsSet("port-range") {
		low, high, err := parseRange(c.String("port-range"))
		if err != nil {
			return nil, err
		}
		wide := l.WithRange(low, high)
		add(func(s *plan.Setup) { s.Ports = wide.UsablePorts() }, "ports %d-%d", low, high)
	}
	if c.IsSet("requests") {
		n := c.Float64("requests")
		if !(n >= 1) || math.IsInf(n, 0) {
			return nil, usagef("--requests: a connection carries at least 1")
		}
		add(func(s *plan.Setup) { s.Requests = n }, "%g requests each", n)
	}
	for _, f := range []struct {
		flag, what string
		set        func(*plan.Setup, int)
	}{
		{"sources", "%d source addresses", func(s *plan.Setup, n int) { s.Sources = n }},
		{"targets", "%d destinations", func(s *plan.Setup, n int) { s.Targets = n }},
	} {
		if !c.IsSet(f.flag) {
			continue
		}
		n := c.Int(f.flag)
		if n < 1 {
			return nil, usagef("--%s must be at least 1", f.flag)
		}
		add(func(s *plan.Setup) { f.set(s, n) }, f.what, n)
	}
	if changes != nil {
		return changes, nil
	}
	wide := l.WithRange(uint16(max(1024, l.UnprivPortStart)), math.MaxUint16)
	add(reuse, "tcp_tw_reuse=1")
	add(func(s *plan.Setup) { s.Ports = wide.UsablePorts() }, "ports %d-%d", wide.PortLow, wide.PortHigh)
	add(func(s *plan.Setup) { s.Requests = 100 }, "100 requests each")
	add(func(s *plan.Setup) { s.Sources = 2 }, "2 source addresses")
	return changes, nil
}

// parseRange parses "1024-65535".
func parseRange(s string) (low, high uint16, err error) {
	from, to, _ := strings.Cut(s, "-")
	l, err1 := strconv.ParseUint(from, 10, 16)
	h, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || l == 0 || h < l {
		return 0, 0, usagef("--port-range: bad range %q: use LOW-HIGH, such as 1024-65535", s)
	}
	return uint16(l), uint16(h), nil
}

// planTowards takes the rate from the connections to one destination, if the user gives none:
// where the ports are used up, from a trace that sees what is refused too.
func planTowards(c *cli.Context, ns kernel.NetNS, r *plan.Report) error {
	to, err := netip.ParseAddrPort(c.String("towards"))
	if err != nil {
		return usagef("--towards: bad address %q: use ADDR:PORT, such as 10.2.0.9:5432", c.String("towards"))
	}
	f, err := advice.ReadFacts(context.WithoutCancel(c.Context), ns, 0)
	if err != nil {
		return &session.ExitError{Code: exitDoctorUnknown, Msg: err.Error()}
	}
	for i := range f.Destinations {
		d := &f.Destinations[i]
		if d.Remote == to && (r.Towards == nil || d.States.All() > r.Towards.Ports) {
			r.Towards = &plan.Towards{Local: d.Local, Remote: d.Remote, Ports: d.States.All(), Rate: d.Expiry.Rate()}
		}
	}
	if r.Towards == nil {
		return &session.ExitError{Code: exitDoctorUnknown, Msg: fmt.Sprintf("no connection to %s from network namespace %s", to, output.Escape(nil, ns.String()))}
	}
	if c.IsSet("rate") {
		return nil
	}
	if t := r.Towards; float64(t.Ports) >= fullShare*float64(f.Limits.UsablePorts()) {
		t.Demand, t.Traced = tracedDemand(c, ns, t.Local, t.Remote)
		t.Throttled = !t.Traced
		r.Rate = t.Demand // 0 where nobody knows
		return nil
	}
	r.Rate = r.Towards.Rate
	return nil
}
