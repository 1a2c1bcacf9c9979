package tracer

import (
	"cmp"
	"errors"
	"fmt"
	"math/bits"
	"os"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/rlimit"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/filter"
	"github.com/twtrace/twtrace/internal/kernel"
)

// What Options have where they say nothing.
const (
	DefaultMaxConns = int(bpfSharedDEFAULT_MAX_CONNS)
	DefaultBuffer   = int(bpfSharedDEFAULT_RING_BYTES)
)

// Options are what can be chosen about a trace. The zero value traces
// everything with the default sizes.
type Options struct {
	Filter    *filter.Filter // what user space will want; the kernel drops what it can
	AllStates bool           // report every transition, not only what matters to TIME_WAIT
	Buffer    int            // bytes of the ring, rounded up to a power of two; 0 is DefaultBuffer
	MaxConns  int            // connections that can be known at once; 0 is DefaultMaxConns
	BTF       string         // file with the kernel's types, "" for the running kernel's own
	Hooks     HookSet        // "" is Auto
	Follow    []Root         // with Filter.Follow: whose connections to report
	Syscalls  bool           // hook the exits of system calls too, which slows every call on the host

	cache *btf.Cache // the kernel's types while loading; see types
}

// HostError says that this host cannot be traced: what is missing and what to
// do about it. It is the cause of exit code 3.
type HostError struct {
	What string // what failed, in words
	Next string // what the user can do
	Err  error
}

func (e *HostError) Error() string {
	s := e.What
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	if e.Next != "" {
		s += "; " + e.Next
	}
	return s
}

func (e *HostError) Unwrap() error { return e.Err }

// types returns the kernel's types for CO-RE relocation and probing. The kernel's own are
// read once for all that is loaded, which is most of what starting takes.
func (o *Options) types() (types *btf.Spec, err error) {
	if o.cache = btf.NewCache(); o.BTF == "" {
		types, err = o.cache.Kernel()
	} else {
		types, err = btf.LoadSpec(o.BTF)
	}
	if err == nil {
		return types, nil
	}
	e := &HostError{What: "no type information (BTF)", Err: cmp.Or(kernel.BTFAvailable(o.BTF), err)}
	if o.BTF != "" {
		e.Next = "give --btf a file made for this very kernel, or leave it out to use the kernel's own"
	}
	return nil, e
}

// identified returns a HostError if tracing programs cannot ask for the cookie of a
// socket. Without that, a connection has no identity that lasts into TIME_WAIT.
func identified(types *btf.Spec) error {
	var fn *btf.Func // the helper's function, which came with it in 5.12
	if err := types.TypeByName("bpf_get_socket_ptr_cookie", &fn); err != nil {
		return &HostError{What: "socket cookies in tracing programs", Err: errors.New("this kernel has none"),
			Next: "twtrace needs Linux 5.15 or later"}
	}
	return nil
}

// configure writes the options into the constants and map sizes of spec.
func (o Options) configure(spec *ebpf.CollectionSpec, set HookSet) error {
	if o.Buffer > 0 {
		size := max(o.Buffer, os.Getpagesize())
		spec.Maps[bpfMapEvents].MaxEntries = 1 << bits.Len(uint(size-1))
	}
	conns := cmp.Or(o.MaxConns, DefaultMaxConns)
	spec.Maps[bpfMapTwtraceConns].MaxEntries = 1 << bits.Len(uint(conns-1))
	spec.Maps[bpfMapTwtraceSpill].MaxEntries = uint32(conns+7) / 8
	_, byTuple := spec.Programs[bpfProgKfreeSkbAny]
	if !byTuple {
		spec.Maps[bpfMapParkedMinis].MaxEntries = 1
	}
	if !o.Syscalls {
		spec.Maps[bpfMapConnecting].MaxEntries = 1
	}
	if len(o.Follow) == 0 {
		spec.Maps[bpfMapFollowed].MaxEntries = 1
	}
	vars := map[string]any{
		bpfVarAllStates:         o.AllStates,
		bpfVarSlotMask:          spec.Maps[bpfMapTwtraceConns].MaxEntries - 1,
		bpfVarSeesRefusals:      set == Fentry,
		bpfVarFindParkedByTuple: byTuple,
		bpfVarCatchAgain:        preemptible(),
	}
	if _, ok := spec.Programs[bpfProgExitConnect]; ok {
		vars[bpfVarNrConnect] = int64(unix.SYS_CONNECT)
	}
	if o.Filter != nil {
		vars[bpfVarFilter] = kernelRules(o.Filter)
	}
	if set == Timer {
		if err := timerHandlers(vars); err != nil {
			return err
		}
	}
	for name, value := range vars {
		if err := spec.Variables[name].Set(value); err != nil {
			return fmt.Errorf("set %s: %w", name, err)
		}
	}
	return nil
}

// A list of the filter is as long in C as in Go: this compiles only then. Of the others
// the assignments in kernelRules say the same.
var (
	_ [filter.MaxPorts]struct{}    = [len(bpfFilterRules{}.Lports)]struct{}{}
	_ [filter.MaxPrefixes]struct{} = [len(bpfFilterRules{}.Laddrs)]struct{}{}
	_ [filter.MaxEnds]struct{}     = [len(bpfFilterRules{}.Ends)]struct{}{}
)

// kernelRules is the part of f that the kernel can apply, in its layout.
func kernelRules(f *filter.Filter) bpfFilterRules {
	k := f.Kernel()
	r := bpfFilterRules{
		Family:    uint32(k.Family),
		NetnsLen:  uint32(k.NetNSCount),
		LportsLen: uint32(k.LPortCount),
		RportsLen: uint32(k.RPortCount),
		LaddrsLen: uint32(k.LAddrCount),
		RaddrsLen: uint32(k.RAddrCount),
		Netns:     k.NetNS,
		PidsLen:   uint32(k.PIDCount),
		UidsLen:   uint32(k.UIDCount),
		Pids:      k.PIDs,
		Uids:      k.UIDs,
		Follow:    number(k.Follow),
	}
	for i := range k.LPorts {
		r.Lports[i].Low, r.Lports[i].High = k.LPorts[i].First, k.LPorts[i].Last
		r.Rports[i].Low, r.Rports[i].High = k.RPorts[i].First, k.RPorts[i].Last
	}
	for i := range k.LAddrs {
		r.Laddrs[i].Addr, r.Laddrs[i].Mask = k.LAddrs[i].Addr, k.LAddrs[i].Mask
		r.Raddrs[i].Addr, r.Raddrs[i].Mask = k.RAddrs[i].Addr, k.RAddrs[i].Mask
	}
	r.EndsLen = uint32(k.EndCount)
	for i, x := range k.Ends {
		r.Ends[i].Net.Addr, r.Ends[i].Net.Mask = x.Addr, x.Mask
		r.Ends[i].Ports.Low, r.Ends[i].Ports.High = x.Ports.First, x.Ports.Last
	}
	return r
}

// loaded is what of a hook set is in the kernel, not yet attached.
type loaded struct {
	coll  *ebpf.Collection
	hooks []hook // usable ones, in order
	set   HookSet
	state []Hook // of all hooks of both sets, as far as known
}

// load loads one hook set.
func (o Options) load(types *btf.Spec, set HookSet) (*loaded, error) {
	spec, err := loadBpf()
	if err != nil {
		return nil, fmt.Errorf("read the embedded BPF object: %w", err)
	}
	l := &loaded{set: set}
	if l.hooks, l.state, err = o.prune(spec, types, set); err != nil {
		return l, err
	}
	if err := o.configure(spec, set); err != nil {
		return l, err
	}
	opts := ebpf.CollectionOptions{Cache: o.cache}
	if o.BTF != "" {
		opts.Programs.KernelTypes = types
	}
	if l.coll, err = ebpf.NewCollectionWithOptions(spec, opts); err != nil {
		return l, loadError(err, set)
	}
	return l, nil
}

// permitted returns a HostError if this process may not load BPF programs. It
// is asked first, since the kernel's and the library's words for it mislead.
func permitted() error {
	caps, err := kernel.Capabilities()
	if err != nil {
		return err
	}
	if err := caps.CanTrace(); err != nil {
		return &HostError{What: "not permitted to trace", Err: err}
	}
	if !kernel.InInitUserNS() {
		return &HostError{What: "not permitted to trace", Next: "run as root of the host",
			Err: errors.New("the capabilities are those of a user namespace, where they do not count for BPF")}
	}
	// Kernels before 5.11 count maps against RLIMIT_MEMLOCK.
	if err := rlimit.RemoveMemlock(); err != nil {
		return fmt.Errorf("raise RLIMIT_MEMLOCK: %w", err)
	}
	return nil
}

// settler is the program that is loaded with the timer hooks and never attached.
const settler = bpfProgSettleCpu

// prune takes out of spec what is of another set, or what types say this kernel
// cannot run. The error is about the first needed hook that is missing.
func (o Options) prune(spec *ebpf.CollectionSpec, types *btf.Spec, set HookSet) (usable []hook, state []Hook, err error) {
	keep := map[string]bool{settler: set == Timer, bpfProgAdoptMini: true, bpfProgDisownMini: true}
	for _, h := range hooks {
		if !o.in(h, set) {
			continue
		}
		if h.once != "" && probeFunction(types, h.target) != nil {
			h.target = h.once
			spec.Programs[h.program].AttachTo = h.once
		}
		reason := h.probe(types)
		if reason == nil {
			keep[h.program] = true
			usable = append(usable, h)
		}
		if reason == nil || h.without != "" { // else there is another hook for it
			state = append(state, h.state(reason))
		}
		if reason != nil && h.needed && err == nil {
			err = &HostError{What: "hook " + h.target, Err: reason,
				Next: "twtrace needs Linux 5.15 or later with CONFIG_DEBUG_INFO_BTF"}
		}
	}
	for name := range spec.Programs {
		if !keep[name] {
			delete(spec.Programs, name)
		}
	}
	return usable, state, err
}

// timerHandlers sets the addresses by which the programs know the timers of mini-sockets
// and of request sockets. Without the latter, a reason is missing.
func timerHandlers(vars map[string]any) error {
	addrs, err := kernel.Symbols("tw_timer_handler", "reqsk_timer_handler")
	if errors.Is(err, kernel.ErrHidden) {
		return &HostError{What: "address of tw_timer_handler", Err: err,
			Next: "run as root with CAP_SYSLOG, or set kernel.kptr_restrict to 1"}
	}
	if err != nil {
		return &HostError{What: "address of tw_timer_handler", Err: err}
	}
	vars[bpfVarTwTimerHandler], vars[bpfVarReqskTimerHandler] = addrs[0], addrs[1]
	return nil
}

// loadError words the refusal of a program. The verifier's log, if any, goes
// into the error whole: only a bug report needs it, and then all of it.
func loadError(err error, set HookSet) error {
	var ve *ebpf.VerifierError
	switch {
	case errors.As(err, &ve):
		return &HostError{What: "the kernel refuses a program", Err: fmt.Errorf("%v", ve),
			Next: "please report this with the kernel's version"}
	case errors.Is(err, os.ErrPermission) && set == Fentry:
		return &HostError{What: "this kernel refuses trampolines (fentry)", Err: os.ErrPermission,
			Next: "use --hooks timer"}
	case errors.Is(err, os.ErrPermission):
		return &HostError{What: "the kernel does not permit BPF", Err: os.ErrPermission,
			Next: "check kernel lockdown, seccomp and LSM settings"}
	}
	return &HostError{What: "load the BPF programs", Err: err}
}
