package tracer

import (
	"fmt"
	"slices"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// StartInfo describes the running trace, with the limits of ns. filter is the
// user's, in words; the schema is for whoever prints it.
func (t *Tracer) StartInfo(version, filter string, ns kernel.NetNS) (*event.StartInfo, error) {
	host, err := kernel.ThisHost()
	if err != nil {
		return nil, fmt.Errorf("identify the host: %w", err)
	}
	info := &event.StartInfo{Version: version, Host: host.Hostname,
		Kernel: host.Release, BootID: host.BootID, HookSet: string(t.Set), Filter: filter}
	for _, h := range t.Hooks {
		if h.Err == nil {
			info.Hooks = append(info.Hooks, h.Name)
		}
	}
	info.Missing = t.Missing()
	limits, err := ns.Limits()
	if err != nil {
		return nil, fmt.Errorf("limits of the network namespace: %w", err)
	}
	info.Limits = limits.Map()
	return info, nil
}

// Missing is what will not be seen, in words.
func (t *Tracer) Missing() []string {
	var out []string
	for _, h := range t.Hooks {
		if h.Err != nil && !slices.Contains(out, h.Without) {
			out = append(out, h.Without)
		}
	}
	return append(out, t.blind()...)
}

// blind is what the hooks in use cannot see on any kernel.
func (t *Tracer) blind() []string {
	var out []string
	uring := t.options.Syscalls && (t.uses(bpfProgUringCompleteRes) || t.uses(bpfProgUringCompleteCqe))
	switch {
	case t.Set != Timer:
	case !t.options.Syscalls:
		out = append(out, "accepters (the closer or the listener is shown instead; --syscalls on)")
	case !t.uses(bpfProgExitAccept4):
		out = append(out, "accepters (the closer or the listener is shown instead)")
	case uring:
		out = append(out, "accepters by io_uring where the accept is multishot or its descriptor the ring's own")
	default:
		out = append(out, "accepters by io_uring")
	}
	if t.Set == Timer {
		out = append(out, "reason of ends by ss -K, and by a SYN that is then dropped or (before 6.11) answered with a SYN cookie")
	}
	if !t.options.Syscalls {
		out = append(out, "bind(), accept() and socket() that fail, and connect() that fails before it sends a SYN (--syscalls on)")
	}
	return out
}

// uses reports whether a hook is attached.
func (t *Tracer) uses(program string) bool {
	return slices.ContainsFunc(t.Hooks, func(h Hook) bool { return h.Name == program && h.Err == nil })
}

// EndInfo is the account of the trace, why being the reason for its end. After
// Stop it is final.
func (t *Tracer) EndInfo(why string) (*event.EndInfo, error) {
	a, err := t.Account()
	if err != nil {
		return nil, err
	}
	n := a.Total
	info := &event.EndInfo{
		Why: why, Births: n.Births, Parked: n.Parked, Promoted: n.Promoted, Late: a.Late, Begins: n.Starts(),
		Ends: make(map[string]uint64), Refused: n.Refused,
		Alive: t.account.alive(n),
		Lost:  make(map[string]uint64), Drift: t.account.drift,
	}
	for i, reason := range endReasons {
		name := reason.String()
		if reason == event.ReasonNone {
			name = "unknown"
		}
		if count := n.TimeWait[i]; count > 0 {
			info.Ends[name] = count
		}
	}
	for stage, count := range a.Lost {
		info.Lost[stage.String()] = count
	}
	return info, nil
}
