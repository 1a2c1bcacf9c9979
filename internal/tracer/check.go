package tracer

import "github.com/twtrace/twtrace/internal/kernel"

// Requirement is something a trace needs of the host.
type Requirement struct {
	Name string
	Err  error // nil if it is there
}

// Check says whether this host can be traced: what is required, in the order in
// which it is needed, and the state of each hook once that can be told. The last
// requirement is a real attach of all hooks, taken back at once. The error is
// the first failing requirement, nil if the host can be traced.
func Check(o Options) ([]Requirement, []Hook, error) {
	var reqs []Requirement
	require := func(name string, err error) error {
		reqs = append(reqs, Requirement{name, err})
		return err
	}
	if err := require("permission to load BPF programs", permitted()); err != nil {
		return reqs, nil, err
	}
	types, err := loadTypes(o.BTF)
	if require("type information (BTF)", err) != nil {
		return reqs, nil, err
	}
	_, err = timerHandler()
	if require("address of tw_timer_handler", err) != nil {
		return reqs, nil, err
	}
	spec, err := loadBpf()
	if err != nil {
		return reqs, nil, err
	}
	_, hooks, err := prune(spec, types)
	if require("tracepoints", err) != nil {
		return reqs, hooks, err
	}
	t, err := Open(o)
	if require("attach all hooks", err) != nil {
		return reqs, hooks, err
	}
	t.Close()
	return reqs, hooks, nil
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
