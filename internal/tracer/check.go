package tracer

import (
	"errors"
	"slices"

	"github.com/cilium/ebpf/btf"

	"github.com/twtrace/twtrace/internal/kernel"
)

// Requirement is something a trace needs of the host.
type Requirement struct {
	ID   string // what doctor calls it, never used again for something else
	Name string
	Err  error // nil if it is there
}

// The requirements, in the order in which they are needed.
var (
	needPermission = Requirement{ID: "TWD001", Name: "permission to load BPF programs"}
	needTypes      = Requirement{ID: "TWD002", Name: "type information (BTF)"}
	needCookies    = Requirement{ID: "TWD003", Name: "socket cookies in tracing programs"}
	needSet        = map[HookSet]Requirement{
		Fentry: {ID: "TWD004", Name: "hook set fentry"},
		Timer:  {ID: "TWD005", Name: "hook set timer"},
	}
	needOne   = Requirement{ID: "TWD006", Name: "in use: "}
	needCalls = Requirement{ID: "TWD007", Name: "system calls (--syscalls on)"}
)

// with is r with what came out.
func (r Requirement) with(err error) Requirement {
	r.Err = err
	return r
}

// Check says whether this host can be traced: what is required, in the order in
// which it is needed, and the state of each hook. Both hook sets are really loaded
// and attached, and taken back at once; the last requirement is that one of them
// could be. The error is that of the failing requirement, nil if the host can be
// traced.
func Check(o Options) ([]Requirement, []Hook, error) {
	reqs, hooks, _, err := CheckMissing(o)
	return reqs, hooks, err
}

// CheckMissing is Check that says too what a trace with these options would not see, in
// words, as [Tracer.Missing] does; nil if the host cannot be traced.
func CheckMissing(o Options) (reqs []Requirement, hooks []Hook, missing []string, err error) {
	require := func(r Requirement, err error) error {
		reqs = append(reqs, r.with(err))
		return err
	}
	if err := require(needPermission, permitted()); err != nil {
		return reqs, nil, nil, err
	}
	types, err := o.types()
	if require(needTypes, err) != nil {
		return reqs, nil, nil, err
	}
	if err := require(needCookies, identified(types)); err != nil {
		return reqs, nil, nil, err
	}
	var all []Hook
	var used HookSet
	var failed error
	for _, set := range []HookSet{Fentry, Timer} {
		state, unseen, err := o.try(types, set)
		for _, h := range state {
			if h.Err == nil && err != nil && h.Set != "" {
				h.Err = errSetRefused
			}
			if h.Set != "" || set == Fentry {
				all = append(all, h)
			}
		}
		reqs = append(reqs, needSet[set].with(err))
		if err == nil && used == "" {
			used, missing = set, unseen
		}
		failed = err
	}
	if used == "" {
		return reqs, all, nil, failed
	}
	require(needOne.of(used), nil)
	calls, err := o.tryCalls(types, used)
	require(needCalls, err)
	all = append(all, calls...)
	return reqs, all, missing, nil
}

// of names the set in use.
func (r Requirement) of(set HookSet) Requirement {
	r.Name += string(set)
	return r
}

// Requirements says what Check would of a trace that runs: all that it needs is there.
func (t *Tracer) Requirements() []Requirement {
	reqs := []Requirement{needPermission, needTypes, needCookies}
	if t.Refused != nil {
		reqs = append(reqs, needSet[Fentry].with(t.Refused))
	}
	reqs = append(reqs, needSet[t.Set], needOne.of(t.Set))
	if t.options.Syscalls {
		reqs = append(reqs, needCalls)
	}
	return reqs
}

// errSetRefused is the reason for a hook that alone might be usable.
var errSetRefused = errors.New("its hook set is refused")

// try attaches a set and takes it back. It returns the state of the hooks, and what a
// trace with them would not see.
func (o Options) try(types *btf.Spec, set HookSet) ([]Hook, []string, error) {
	l, err := o.load(types, set)
	if err != nil {
		return l.state, nil, err
	}
	t := newTracer(o, l)
	err = t.start(l.hooks, types)
	t.Close()
	return t.Hooks, t.Missing(), err
}

// tryCalls does so with the hooks on system calls, and returns the state of those.
func (o Options) tryCalls(types *btf.Spec, set HookSet) ([]Hook, error) {
	o.Syscalls = true
	state, _, err := o.try(types, set)
	return slices.DeleteFunc(state, func(h Hook) bool { return !h.Calls }), err
}

// Lacks says in words what will not work for want of rights beyond the required
// ones.
func Lacks() []string {
	caps, err := kernel.Capabilities()
	if err != nil {
		return nil
	}
	return caps.Lacks()
}
