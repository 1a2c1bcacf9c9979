package tracer

import (
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/twtrace/twtrace/internal/kernel"
)

// HookSet is a way to see mini-sockets.
type HookSet string

// The hook sets. Auto takes trampolines where the kernel does, else timers.
const (
	Auto   HookSet = "auto"
	Fentry HookSet = "fentry" // trampolines on the functions that make and unmake mini-sockets
	Timer  HookSet = "timer"  // the tracepoints of their timers
)

// ParseHookSet returns the set of that name.
func ParseHookSet(name string) (HookSet, error) {
	switch s := HookSet(name); s {
	case Auto, Fentry, Timer:
		return s, nil
	}
	return "", fmt.Errorf("bad hook set %q: it is auto, fentry or timer", name)
}

// hook is one program on one point of the kernel.
type hook struct {
	program string
	target  string  // the tracepoint or function
	once    string  // what the function was called before, "" for no other name
	set     HookSet // "" for both
	needed  bool    // without it the set cannot be used
	shows   string  // what it is for
	without string  // what is not seen where it is refused

	// minArgs and maxArgs bound how many arguments the tracepoint has, 0 for any: a
	// prototype grows, and a program that reads one too many does not load.
	minArgs, maxArgs int

	preemptible bool // only of use where tracing programs can be preempted

	idle bool // it rarely has anything to do, so skipped runs are not losses; what it misses is drift

	follow bool // only to follow processes

	// calls: attached with --syscalls on only. The target is a classic tracepoint if
	// syscall is set.
	calls, syscall bool
}

// hooks in the order of attaching. Those of a tracepoint run in it: state_caught takes what
// state has not signed for. Those of a trampoline run the other way round, the last that was
// attached first, so there the one that catches what another has skipped stands before it.
var hooks = []hook{
	{program: bpfProgState, target: "inet_sock_set_state", needed: true,
		shows: "who opens and who closes, lifetimes, closes without TIME_WAIT", without: "owners and lifetimes"},
	{program: bpfProgStateCaught, target: "inet_sock_set_state", needed: true,
		shows: "transitions that arrive while one is handled", without: "nested transitions"},
	{program: bpfProgStateCaught2, target: "inet_sock_set_state", preemptible: true, shows: whilePreempted},
	{program: bpfProgStateCaught3, target: "inet_sock_set_state", preemptible: true, shows: whilePreempted},
	{program: bpfProgStateCaught4, target: "inet_sock_set_state", preemptible: true, shows: whilePreempted},
	{program: bpfProgStateCaught5, target: "inet_sock_set_state", preemptible: true, shows: whilePreempted},

	{program: bpfProgKfreeSkbRx, target: "kfree_skb", set: Timer, minArgs: 4,
		shows:   "the FIN that turns FIN_WAIT2 into TIME_WAIT, the RST that ends it",
		without: "which socket a segment was for (its addresses say so instead)"},
	{program: bpfProgKfreeSkbAny, target: "kfree_skb", set: Timer, maxArgs: 3,
		shows: "the FIN that turns FIN_WAIT2 into TIME_WAIT, the RST that ends it, by their addresses"},
	{program: bpfProgTimerStart, target: "timer_start", set: Timer, needed: true,
		shows: "TIME_WAIT starts, or starts again", without: "starts of TIME_WAIT"},
	{program: bpfProgTimerExpireEntry, target: "timer_expire_entry", set: Timer, needed: true,
		shows: "TIME_WAIT expires", without: "expiry"},
	{program: bpfProgTimerCancel, target: "timer_cancel", set: Timer, needed: true,
		shows: "TIME_WAIT ends early", without: "early ends of TIME_WAIT"},

	{program: bpfProgSockAcceptCaught, target: "inet_accept", set: Fentry, preemptible: true, shows: acceptPreempted},
	{program: bpfProgMptcpAcceptCaught, target: "mptcp_stream_accept", set: Fentry, preemptible: true, shows: acceptPreempted},
	{program: bpfProgSockAccept, target: "inet_accept", set: Fentry,
		shows: "who accepts", without: "accepters (the closer or the listener is shown instead)"},
	{program: bpfProgMptcpAccept, target: "mptcp_stream_accept", set: Fentry, // where there is MPTCP
		shows: "who accepts on an MPTCP listener, as Go servers have"},
	{program: bpfProgSockAbort, target: "tcp_abort", set: Fentry,
		shows: "TIME_WAIT ended by ss -K", without: "reason destroyed"},
	{program: bpfProgTwskSegment, target: "tcp_timewait_state_process", set: Fentry, needed: true,
		shows: "segments into TIME_WAIT", without: "reasons syn and reset"},
	{program: bpfProgTwskSegmentDone, target: "tcp_timewait_state_process", set: Fentry, needed: true,
		shows: "FIN_WAIT2 turns into TIME_WAIT; TIME_WAIT starts again", without: "promotions"},
	{program: bpfProgTwskExpire, target: "tw_timer_handler", set: Fentry, needed: true,
		shows: "TIME_WAIT expires", without: "expiry"},
	{program: bpfProgTwskKill, target: "inet_twsk_kill", set: Fentry,
		shows:   "TIME_WAIT ended with its namespace, where twsk_deschedule cannot see it",
		without: "ends with a namespace, on some kernels"},
	{program: bpfProgTwskDeschedule, target: "inet_twsk_deschedule_put", set: Fentry, needed: true,
		shows: "TIME_WAIT ends early", without: "early ends of TIME_WAIT"},
	{program: bpfProgTwskHashCaught, target: "inet_twsk_hashdance_schedule", once: "inet_twsk_hashdance", set: Fentry, preemptible: true,
		shows: "TIME_WAIT starts while another start is preempted"},
	{program: bpfProgTwskHash, target: "inet_twsk_hashdance_schedule", once: "inet_twsk_hashdance", set: Fentry, needed: true,
		shows: "TIME_WAIT starts", without: "starts of TIME_WAIT"},
	{program: bpfProgTwskAllocCaught, target: "inet_twsk_alloc", set: Fentry, needed: true, idle: true,
		shows: "refusals that arrive while one is handled", without: "nested refusals"},
	{program: bpfProgTwskAlloc, target: "inet_twsk_alloc", set: Fentry, needed: true, idle: true,
		shows: "TIME_WAIT is refused", without: "refusals"},

	{program: bpfProgProcessFork, target: "sched_process_fork", follow: true, needed: true,
		shows: "what followed processes start"},
	{program: bpfProgProcessFree, target: "sched_process_free", follow: true, needed: true,
		shows: "when followed processes are gone"},

	{program: bpfProgExitConnect, target: "sys_exit_connect", calls: true, syscall: true,
		shows: "every connect() that fails, with its errno", without: withoutConnect},
	{program: bpfProgExitBind, target: "sys_exit_bind", calls: true, syscall: true,
		shows: "bind() that fails: EADDRINUSE, EADDRNOTAVAIL, EACCES", without: withoutBind},
	{program: bpfProgExitSocket, target: "sys_exit_socket", calls: true, syscall: true,
		shows: "socket() without a free descriptor: EMFILE, ENFILE", without: withoutSocket},
	{program: bpfProgExitAccept, target: "sys_exit_accept", calls: true, syscall: true,
		shows: "who accepts; accept() without a free descriptor", without: withoutAccept},
	{program: bpfProgExitAccept4, target: "sys_exit_accept4", calls: true, syscall: true,
		shows: "the same for accept4()", without: withoutAccept},
	{program: bpfProgUringCompleteRes, target: "io_uring_complete", calls: true, minArgs: 7,
		shows: "who accepts by io_uring; its accept() without a free descriptor"},
	{program: bpfProgUringCompleteCqe, target: "io_uring_complete", calls: true, minArgs: 3, maxArgs: 3,
		shows: "who accepts by io_uring; its accept() without a free descriptor"},
}

const (
	whilePreempted  = "transitions that arrive while those before it are preempted"
	acceptPreempted = "who accepts while another accept is preempted"
)

// What is not seen of calls.
const (
	withoutConnect = "connect() that fails before it sends a SYN, or with ECONNRESET after the handshake"
	withoutBind    = "bind() that fails"
	withoutSocket  = "socket() that fails"
	withoutAccept  = "accept() that fails"
)

// Hook is the state of a hook on this host, as `twtrace check` prints it.
type Hook struct {
	Name    string // program
	Target  string // kernel point
	Set     HookSet
	Shows   string // what it is for
	Without string // what is not seen without it
	Needed  bool
	Calls   bool  // only with --syscalls on
	Err     error // nil if it can be used
}

var (
	errArgs         = errors.New("the tracepoint has another prototype")
	errNoTracepoint = kernel.ErrNoTracepoint
	errNoFunction   = errors.New("this kernel has no such function to attach to")
	errNoRegisters  = errors.New("this kernel does not show the registers of a call")
	errNotNeeded    = errors.New("this kernel does not preempt tracing programs")
)

// in reports whether o has h in use with a set, where the kernel can.
func (o Options) in(h hook, set HookSet) bool {
	return (h.set == "" || h.set == set) && (!h.calls || o.Syscalls) && (!h.follow || len(o.Follow) > 0)
}

// state is what is known of h on this host.
func (h hook) state(err error) Hook {
	return Hook{Name: h.program, Target: h.target, Set: h.set, Shows: h.shows, Without: h.without, Needed: h.needed, Calls: h.calls, Err: err}
}

// probe reports whether h's target exists, with the prototype h needs.
func (h hook) probe(types *btf.Spec) error {
	if h.preemptible && !preemptible() {
		return errNotNeeded
	}
	if h.syscall {
		return probeSyscall(types, h.target)
	}
	if h.set == Fentry {
		return probeFunction(types, h.target)
	}
	var typedef *btf.Typedef
	if err := types.TypeByName("btf_trace_"+h.target, &typedef); err != nil {
		return errNoTracepoint
	}
	ptr, ok := btf.UnderlyingType(typedef.Type).(*btf.Pointer)
	if !ok {
		return errNoTracepoint
	}
	proto, ok := btf.UnderlyingType(ptr.Target).(*btf.FuncProto)
	if !ok {
		return errNoTracepoint
	}
	// The first argument of every btf_trace_ prototype is the program's own data.
	if n := len(proto.Params) - 1; n < h.minArgs || h.maxArgs > 0 && n > h.maxArgs {
		return errArgs
	}
	return nil
}

func probeFunction(types *btf.Spec, name string) error {
	var fn *btf.Func
	if err := types.TypeByName(name, &fn); err != nil {
		return errNoFunction
	}
	return nil
}

// probeSyscall reports whether a program can be on the tracepoint of a call, and
// can see what the call was given (5.15).
func probeSyscall(types *btf.Spec, name string) error {
	var fn *btf.Func
	if err := types.TypeByName("bpf_task_pt_regs", &fn); err != nil {
		return errNoRegisters
	}
	_, err := kernel.TracepointID("syscalls", name)
	return err
}

// preemptible reports whether programs on tracepoints can be preempted, as they can
// since 7.0. The types do not show it, so this goes by the version: where that is
// wrong, a program too many runs, or a skipped transition more is counted as lost.
func preemptible() bool {
	host, err := kernel.ThisHost()
	if err != nil {
		return true
	}
	major, _, _ := strings.Cut(host.Release, ".")
	n, err := strconv.Atoi(major)
	return err != nil || n >= 7
}

// attach attaches program at h: BTF-typed raw tracepoints, since classic ones share
// one recursion guard per CPU and lose more, or trampolines. System calls have classic
// ones, which cost other calls less.
func (h hook) attach(program *ebpf.Program) (l link.Link, err error) {
	if h.syscall {
		l, err = attachSyscall(program, h.target)
	} else {
		l, err = link.AttachTracing(link.TracingOptions{Program: program})
	}
	if err != nil {
		return nil, fmt.Errorf("attach %s to %s: %w", h.program, h.target, err)
	}
	return l, nil
}
