package tracer

import (
	"errors"
	"fmt"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
)

// hook is one program on one point of the kernel.
type hook struct {
	program string
	target  string // the tracepoint
	needed  bool   // without it there is no trace
	tells   string // what it shows
	without string // what is not seen where it is refused

	// args is how many arguments the tracepoint must have, 0 for any: prototypes
	// grow, and a program that reads one too many does not load.
	args int
}

// hooks in the order of attaching, in which they also run: state_caught takes
// what state has not signed for.
var hooks = []hook{
	{program: bpfProgState, target: "inet_sock_set_state", needed: true,
		tells: "who opens and who closes, lifetimes, closes without TIME_WAIT", without: "owners and lifetimes"},
	{program: bpfProgStateCaught, target: "inet_sock_set_state", needed: true,
		tells: "transitions that arrive while one is handled", without: "nested transitions"},
	{program: bpfProgKfreeSkbRx, target: "kfree_skb", args: 4,
		tells:   "the FIN that turns FIN_WAIT2 into TIME_WAIT",
		without: "when a parked socket reaches TIME_WAIT is known only from its timer or at its end (kernel before 6.11)"},
	{program: bpfProgTimerStart, target: "timer_start", needed: true,
		tells: "TIME_WAIT begins", without: "begins"},
	{program: bpfProgTimerExpireEntry, target: "timer_expire_entry", needed: true,
		tells: "TIME_WAIT expires", without: "expiry"},
	{program: bpfProgTimerCancel, target: "timer_cancel", needed: true,
		tells: "TIME_WAIT ends early", without: "ends"},
}

// helpers are programs that are loaded and never attached.
var helpers = []string{bpfProgSettleCpu}

// Hook is the state of a hook on this host, as `twtrace check` prints it.
type Hook struct {
	Name    string // program
	Target  string // kernel point
	Tells   string // what it shows
	Without string // what is not seen without it
	Needed  bool
	Err     error // nil if it can be used
}

// errArgs is the reason for a hook whose tracepoint has another prototype.
var errArgs = errors.New("the tracepoint lacks an argument that newer kernels have")

// errNoTracepoint is the reason for a hook whose tracepoint does not exist.
var errNoTracepoint = errors.New("this kernel has no such tracepoint")

// probe reports whether h's tracepoint exists, with the prototype h needs.
func (h hook) probe(types *btf.Spec) error {
	var typedef *btf.Typedef
	if err := types.TypeByName("btf_trace_"+h.target, &typedef); err != nil {
		return errNoTracepoint
	}
	if h.args == 0 {
		return nil
	}
	ptr, ok := btf.UnderlyingType(typedef.Type).(*btf.Pointer)
	if !ok {
		return errNoTracepoint
	}
	proto, ok := btf.UnderlyingType(ptr.Target).(*btf.FuncProto)
	// The first argument of every btf_trace_ prototype is the program's own data.
	if !ok || len(proto.Params)-1 < h.args {
		return errArgs
	}
	return nil
}

// attach attaches program at h. All hooks are BTF-typed raw tracepoints: classic
// ones share one recursion guard per CPU and lose more.
func (h hook) attach(program *ebpf.Program) (link.Link, error) {
	l, err := link.AttachTracing(link.TracingOptions{Program: program})
	if err != nil {
		return nil, fmt.Errorf("attach %s to %s: %w", h.program, h.target, err)
	}
	return l, nil
}
