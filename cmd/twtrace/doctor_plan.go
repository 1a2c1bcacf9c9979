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
)

const categoryPlan = "Plan"

// planOnly are the flags that mean nothing without --plan.
var planOnly = []string{"rate", "towards", "life", "port-range", "reuse", "requests", "sources", "targets"}

func planFlags() []cli.Flag {
	return []cli.Flag{
		&cli.BoolFlag{Name: "plan", Usage: "only work out what a client and a destination bear", Category: categoryPlan},
		&cli.Float64Flag{Name: "rate", Usage: "`N` requests a second that they are to bear", Category: categoryPlan},
		&cli.StringFlag{Name: "towards", Usage: "take the rate from what goes to `ADDR:PORT` now", Category: categoryPlan},
		&cli.DurationFlag{Name: "life", Usage: "`TIME` that a connection lives", Category: categoryPlan},
		&cli.StringFlag{Name: "port-range", Usage: "with local ports `LOW-HIGH`", Category: categoryPlan},
		&cli.BoolFlag{Name: "reuse", Usage: "with ports in TIME_WAIT taken over (tcp_tw_reuse=1, timestamps at both ends)", Category: categoryPlan},
		&cli.Float64Flag{Name: "requests", Usage: "with keep-alive: `N` requests for each connection", Category: categoryPlan},
		&cli.IntFlag{Name: "sources", Usage: "with `N` source addresses", Category: categoryPlan},
		&cli.IntFlag{Name: "targets", Usage: "with `N` addresses and ports of the destination", Category: categoryPlan},
	}
}

// plan prints what the namespace's settings bear, and what changes would.
func (d *doctor) plan(c *cli.Context) error {
	ns, err := planNetNS(c)
	if err != nil {
		return err
	}
	r := advice.PlanReport{Version: version, NetNS: ns, Rate: c.Float64("rate")}
	if r.Limits, err = ns.Limits(); err != nil {
		return exitError{exitDoctorUnknown, err.Error()}
	}
	changes, err := planChanges(c, &r.Limits)
	if err != nil {
		return err
	}
	if r.Rate < 0 || math.IsNaN(r.Rate) || math.IsInf(r.Rate, 0) || c.Duration("life") < 0 {
		return usagef("--rate and --life take no less than 0")
	}
	if c.IsSet("towards") {
		if err := planTowards(c, ns, &r); err != nil {
			return err
		}
	}
	r.Rows = advice.PlanTable(planSetup(&r.Limits, c.Duration("life")), r.Rate, changes)
	switch d.format {
	case "json":
		return advice.WritePlanJSON(d.out, r)
	case "text":
		return advice.WritePlan(d.out, r)
	}
	return usagef("--plan is a text or json, and -o %s is neither", d.format)
}

// planNetNS is the one namespace that is planned for.
func planNetNS(c *cli.Context) (kernel.NetNS, error) {
	if !c.IsSet("netns") {
		return kernel.CurrentNetNS()
	}
	list, err := findNetNS(c.String("netns"))
	if err != nil {
		return kernel.NetNS{}, exitError{exitDoctorUnknown, err.Error()}
	}
	if len(list) != 1 {
		return kernel.NetNS{}, usagef("--plan is for one network namespace, and -N names %d", len(list))
	}
	return list[0], nil
}

// planSetup is what there is, with one client address and one destination.
func planSetup(l *kernel.Limits, life time.Duration) advice.Setup {
	return advice.Setup{Ports: l.UsablePorts(), Sources: 1, Targets: 1, Requests: 1, Life: life,
		Reuse: l.TWReuse == 1 && l.Timestamps != 0, Delay: connLimits(l).ReuseDelay, Buckets: l.MaxTWBuckets}
}

// planChanges are those that the user asks for, or what comes to mind first.
func planChanges(c *cli.Context, l *kernel.Limits) ([]advice.WhatIf, error) {
	var changes []advice.WhatIf
	add := func(change func(*advice.Setup), format string, args ...any) {
		changes = append(changes, advice.WhatIf{What: fmt.Sprintf(format, args...), Change: change})
	}
	reuse := func(s *advice.Setup) { s.Reuse = true }
	if c.Bool("reuse") {
		add(reuse, "tcp_tw_reuse=1")
	}
	if c.IsSet("port-range") {
		low, high, err := parseRange(c.String("port-range"))
		if err != nil {
			return nil, err
		}
		wide := l.WithRange(low, high)
		add(func(s *advice.Setup) { s.Ports = wide.UsablePorts() }, "ports %d-%d", low, high)
	}
	if c.IsSet("requests") {
		n := c.Float64("requests")
		if !(n >= 1) || math.IsInf(n, 0) {
			return nil, usagef("--requests: a connection has at least 1")
		}
		add(func(s *advice.Setup) { s.Requests = n }, "%g requests each", n)
	}
	for _, f := range []struct {
		flag, what string
		set        func(*advice.Setup, int)
	}{
		{"sources", "%d source addresses", func(s *advice.Setup, n int) { s.Sources = n }},
		{"targets", "%d destinations", func(s *advice.Setup, n int) { s.Targets = n }},
	} {
		if !c.IsSet(f.flag) {
			continue
		}
		n := c.Int(f.flag)
		if n < 1 {
			return nil, usagef("--%s: there is at least 1", f.flag)
		}
		add(func(s *advice.Setup) { f.set(s, n) }, f.what, n)
	}
	if changes != nil {
		return changes, nil
	}
	wide := l.WithRange(uint16(max(1024, l.UnprivPortStart)), math.MaxUint16)
	add(reuse, "tcp_tw_reuse=1")
	add(func(s *advice.Setup) { s.Ports = wide.UsablePorts() }, "ports %d-%d", wide.PortLow, wide.PortHigh)
	add(func(s *advice.Setup) { s.Requests = 100 }, "100 requests each")
	add(func(s *advice.Setup) { s.Sources = 2 }, "2 source addresses")
	return changes, nil
}

// parseRange parses "1024-65535".
func parseRange(s string) (low, high uint16, err error) {
	from, to, _ := strings.Cut(s, "-")
	l, err1 := strconv.ParseUint(from, 10, 16)
	h, err2 := strconv.ParseUint(to, 10, 16)
	if err1 != nil || err2 != nil || l == 0 || h < l {
		return 0, 0, usagef("--port-range: bad range %q: it is LOW-HIGH, such as 1024-65535", s)
	}
	return uint16(l), uint16(h), nil
}

// planTowards takes the rate from the connections to one place, if none is asked for.
func planTowards(c *cli.Context, ns kernel.NetNS, r *advice.PlanReport) error {
	to, err := netip.ParseAddrPort(c.String("towards"))
	if err != nil {
		return usagef("--towards: bad address %q: it is ADDR:PORT, such as 10.2.0.9:5432", c.String("towards"))
	}
	f, err := advice.Look(context.WithoutCancel(c.Context), ns, 0)
	if err != nil {
		return exitError{exitDoctorUnknown, err.Error()}
	}
	for i := range f.Destinations {
		d := &f.Destinations[i]
		if d.Remote == to && (r.Towards == nil || d.States.All() > r.Towards.States.All()) {
			r.Towards = d
		}
	}
	if r.Towards == nil {
		return exitError{exitDoctorUnknown, fmt.Sprintf("no connection goes to %s from network namespace %s", to, output.Escape(nil, ns.String()))}
	}
	if !c.IsSet("rate") {
		r.Rate = r.Towards.Expiry.Rate()
	}
	return nil
}
