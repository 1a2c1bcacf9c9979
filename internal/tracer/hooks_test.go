package tracer

import (
	"bytes"
	"errors"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"unsafe"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/filter"
)

// kernelOf is the types of a kernel with these tracepoints, of so many arguments, and functions.
func kernelOf(t *testing.T, tracepoints map[string]int, functions ...string) *btf.Spec {
	t.Helper()
	var types []btf.Type
	for name, n := range tracepoints {
		proto := &btf.FuncProto{Return: (*btf.Void)(nil), Params: []btf.FuncParam{{Name: "__data", Type: &btf.Pointer{Target: (*btf.Void)(nil)}}}}
		for range n {
			proto.Params = append(proto.Params, btf.FuncParam{Name: "a", Type: &btf.Pointer{Target: (*btf.Void)(nil)}})
		}
		types = append(types, &btf.Typedef{Name: "btf_trace_" + name, Type: &btf.Pointer{Target: proto}})
	}
	for _, name := range functions {
		types = append(types, &btf.Func{Name: name, Linkage: btf.StaticFunc, Type: &btf.FuncProto{Return: (*btf.Void)(nil)}})
	}
	builder, err := btf.NewBuilder(types, nil)
	if err != nil {
		t.Fatal(err)
	}
	spec, err := builder.Spec()
	if err != nil {
		t.Fatal(err)
	}
	return spec
}

var (
	anyTracepoints = map[string]int{"inet_sock_set_state": 3, "timer_start": 2, "timer_cancel": 1, "timer_expire_entry": 2,
		"kfree_skb": 4, "sched_process_fork": 2, "sched_process_free": 1, "io_uring_complete": 3}
	anyFunctions = []string{"inet_accept", "mptcp_stream_accept", "tcp_abort", "tcp_timewait_state_process", "tw_timer_handler",
		"inet_twsk_kill", "inet_twsk_deschedule_put", "inet_twsk_hashdance_schedule", "inet_twsk_alloc"}
)

// TestPrune: which programs are left on a kernel, where twsk_hash is attached, and what is
// said of those that are not there.
func TestPrune(t *testing.T) {
	without := func(what string) []string {
		return slices.DeleteFunc(slices.Clone(anyFunctions), func(s string) bool { return s == what })
	}
	for _, tt := range []struct {
		name      string
		options   Options
		set       HookSet
		skb       int // arguments of kfree_skb
		functions []string
		has       []string
		lacks     []string
		hash      string
		err       string
		refused   []string // programs with an error in the state
	}{
		{name: "timer", set: Timer, skb: 4, has: []string{bpfProgState, bpfProgStateCaught, bpfProgTimerStart, bpfProgKfreeSkbRx, bpfProgSettleCpu, bpfProgAdoptMini},
			lacks: []string{bpfProgKfreeSkbAny, bpfProgTwskHash, bpfProgExitBind, bpfProgProcessFork}},
		{name: "timer before 6.11", set: Timer, skb: 3, has: []string{bpfProgKfreeSkbAny}, lacks: []string{bpfProgKfreeSkbRx}, refused: []string{bpfProgKfreeSkbRx}},
		{name: "fentry", set: Fentry, skb: 4, functions: anyFunctions, has: []string{bpfProgState, bpfProgTwskHash, bpfProgTwskKill, bpfProgMptcpAccept, bpfProgDisownMini},
			lacks: []string{bpfProgTimerStart, bpfProgSettleCpu, bpfProgKfreeSkbRx}, hash: "inet_twsk_hashdance_schedule"},
		{name: "fentry before 6.11", set: Fentry, skb: 4, functions: append(without("inet_twsk_hashdance_schedule"), "inet_twsk_hashdance"),
			has: []string{bpfProgTwskHash}, hash: "inet_twsk_hashdance"},
		{name: "no MPTCP, and inet_twsk_kill inlined", set: Fentry, skb: 4, functions: slices.DeleteFunc(without("inet_twsk_kill"), func(s string) bool { return s == "mptcp_stream_accept" }),
			lacks: []string{bpfProgTwskKill, bpfProgMptcpAccept}, refused: []string{bpfProgTwskKill}, hash: "inet_twsk_hashdance_schedule"},
		{name: "no function of the mini-socket's timer", set: Fentry, skb: 4, functions: without("tw_timer_handler"),
			lacks: []string{bpfProgTwskExpire}, refused: []string{bpfProgTwskExpire}, hash: "inet_twsk_hashdance_schedule", err: "hook tw_timer_handler: this kernel has no such function"},
		{name: "followed", options: Options{Follow: []Root{{}}}, set: Timer, skb: 4, has: []string{bpfProgProcessFork, bpfProgProcessFree}},
		{name: "system calls", options: Options{Syscalls: true}, set: Timer, skb: 4, has: []string{bpfProgUringCompleteCqe},
			lacks: []string{bpfProgUringCompleteRes, bpfProgExitBind}, refused: []string{bpfProgExitBind, bpfProgExitConnect}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			points := maps.Clone(anyTracepoints)
			points["kfree_skb"] = tt.skb
			spec := objects(t)
			usable, state, err := tt.options.prune(spec, kernelOf(t, points, tt.functions...), tt.set)
			if tt.err == "" && err != nil || tt.err != "" && (err == nil || !strings.Contains(err.Error(), tt.err)) {
				t.Errorf("error %v, want %q", err, tt.err)
			}
			for _, name := range tt.has {
				if spec.Programs[name] == nil {
					t.Errorf("%s is missing", name)
				}
			}
			for _, name := range tt.lacks {
				if spec.Programs[name] != nil {
					t.Errorf("%s is loaded", name)
				}
			}
			if p := spec.Programs[bpfProgTwskHash]; p != nil && p.AttachTo != tt.hash {
				t.Errorf("twsk_hash is on %s, want %s", p.AttachTo, tt.hash)
			}
			for _, h := range usable {
				if spec.Programs[h.program] == nil || h.program == bpfProgTwskHash && h.target != tt.hash {
					t.Errorf("%s on %s is to be attached", h.program, h.target)
				}
			}
			for _, h := range state {
				if h.Err != nil && !slices.Contains(tt.refused, h.Name) && !h.Calls {
					t.Errorf("%s: %v", h.Name, h.Err)
				}
			}
			for _, name := range tt.refused {
				if !slices.ContainsFunc(state, func(h Hook) bool { return h.Name == name && h.Err != nil }) {
					t.Errorf("nothing is said of %s", name)
				}
			}
		})
	}
}

// TestHookTable: each program of the object is in the table once, and says what it shows, or
// is one that user space runs.
func TestHookTable(t *testing.T) {
	seen := map[string]int{settler: 1, bpfProgAdoptMini: 1, bpfProgDisownMini: 1}
	for _, h := range hooks {
		seen[h.program]++
		if h.shows == "" {
			t.Errorf("%s does not say what it is for", h.program)
		}
	}
	programs := objects(t).Programs
	for name := range programs {
		if seen[name] != 1 {
			t.Errorf("%s is in the table %d times", name, seen[name])
		}
	}
	if len(seen) != len(programs) {
		t.Errorf("%d programs in the table, %d in the object", len(seen), len(programs))
	}
}

// TestMissing: what is not seen is said in words, each thing once, with what to do.
func TestMissing(t *testing.T) {
	hook := func(name, without string, err error) Hook { return Hook{Name: name, Without: without, Err: err} }
	refused := errors.New("refused")
	for _, tt := range []struct {
		name   string
		tracer *Tracer
		want   []string // beginnings
	}{
		{"trampolines", &Tracer{Set: Fentry}, []string{"bind(), accept() and socket() that fail"}},
		{"trampolines, all", &Tracer{Set: Fentry, options: Options{Syscalls: true}}, nil},
		{"timers", &Tracer{Set: Timer}, []string{"accepters (the closer or the listener is shown instead; --syscalls on)", "reason of ends", "bind(), "}},
		{"timers, system calls", &Tracer{Set: Timer, options: Options{Syscalls: true}, Hooks: []Hook{hook(bpfProgExitAccept4, "x", nil)}},
			[]string{"accepters by io_uring", "reason of ends"}},
		{"timers, io_uring too", &Tracer{Set: Timer, options: Options{Syscalls: true},
			Hooks: []Hook{hook(bpfProgExitAccept4, "x", nil), hook(bpfProgUringCompleteCqe, "", nil)}},
			[]string{"accepters by io_uring where the accept is multishot", "reason of ends"}},
		{"timers, no accept", &Tracer{Set: Timer, options: Options{Syscalls: true}, Hooks: []Hook{hook(bpfProgExitAccept, "accept() that fails", refused),
			hook(bpfProgExitAccept4, "accept() that fails", refused)}},
			[]string{"accept() that fails", "accepters (the closer or the listener is shown instead)", "reason of ends"}},
	} {
		got := tt.tracer.Missing()
		if len(got) != len(tt.want) {
			t.Errorf("%s: %q, want %q", tt.name, got, tt.want)
			continue
		}
		for i := range got {
			if !strings.HasPrefix(got[i], tt.want[i]) {
				t.Errorf("%s: %q, want %q", tt.name, got[i], tt.want[i])
			}
		}
	}
}

// TestRequirements: a trace that runs has all that it needs, and says what it was refused.
func TestRequirements(t *testing.T) {
	refused := errors.New("no trampolines")
	for _, tt := range []struct {
		tracer *Tracer
		want   string
	}{
		{&Tracer{Set: Fentry}, "TWD001 TWD002 TWD003 TWD004 TWD006"},
		{&Tracer{Set: Timer, Refused: refused, options: Options{Syscalls: true}}, "TWD001 TWD002 TWD003 TWD004! TWD005 TWD006 TWD007"},
	} {
		var got []string
		for _, r := range tt.tracer.Requirements() {
			if r.Err != nil {
				r.ID += "!"
			}
			got = append(got, r.ID)
			if r.ID == "TWD006" && r.Name != "in use: "+string(tt.tracer.Set) {
				t.Errorf("%q", r.Name)
			}
		}
		if s := strings.Join(got, " "); s != tt.want {
			t.Errorf("%s, want %s", s, tt.want)
		}
	}
}

func TestParseHookSet(t *testing.T) {
	for _, s := range []HookSet{Auto, Fentry, Timer} {
		if got, err := ParseHookSet(string(s)); got != s || err != nil {
			t.Errorf("%q: %v", got, err)
		}
	}
	if _, err := ParseHookSet("kprobe"); err == nil || !strings.Contains(err.Error(), "auto, fentry or timer") {
		t.Error(err)
	}
}

// TestHostErrors: what is missing, and what to do about it, whatever the library says.
func TestHostErrors(t *testing.T) {
	broken := filepath.Join(t.TempDir(), "btf")
	if err := os.WriteFile(broken, []byte("no types"), 0o600); err != nil {
		t.Fatal(err)
	}
	_, noTypes := (&Options{BTF: broken}).types()
	_, _, noHook := Options{}.prune(objects(t), kernelOf(t, nil), Timer)
	for _, tt := range []struct {
		err  error
		want []string
	}{
		{noTypes, []string{"no type information (BTF)", "; give --btf a file"}},
		{noHook, []string{"hook inet_sock_set_state: ", "; twtrace needs Linux 5.15"}},
		{identified(kernelOf(t, nil)), []string{"socket cookies in tracing programs: this kernel has none"}},
		{loadError(&ebpf.VerifierError{Cause: errors.New("bad"), Log: []string{"the log"}}, Timer), []string{"the kernel refuses a program", "the log", "; please report"}},
		{loadError(os.ErrPermission, Fentry), []string{"this kernel refuses trampolines", "; use --hooks timer"}},
		{loadError(os.ErrPermission, Timer), []string{"the kernel does not permit BPF", "lockdown"}},
		{loadError(errors.New("out of memory"), Timer), []string{"load the BPF programs: out of memory"}},
	} {
		var host *HostError
		if !errors.As(tt.err, &host) {
			t.Errorf("%v is no HostError", tt.err)
			continue
		}
		for _, want := range tt.want {
			if !strings.Contains(tt.err.Error(), want) {
				t.Errorf("%q does not say %q", tt.err, want)
			}
		}
	}
	if err := identified(kernelOf(t, nil, "bpf_get_socket_ptr_cookie")); err != nil {
		t.Error(err)
	}
	if !errors.Is(loadError(os.ErrPermission, Fentry), os.ErrPermission) {
		t.Error("the cause is lost")
	}
}

// TestKernelRules: the filter in the layout of the programs.
func TestKernelRules(t *testing.T) {
	f := &filter.Filter{
		Family: 6,
		UIDs:   filter.Set[uint32]{Items: []uint32{33, 1000}},
		LPorts: filter.Set[filter.Ports]{Items: []filter.Ports{{First: 1, Last: 2}, {First: 80, Last: 80}}},
		RPorts: filter.Set[filter.Ports]{Items: []filter.Ports{{First: 443, Last: 444}}},
		LAddrs: filter.Set[netip.Prefix]{Items: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/16")}},
		RAddrs: filter.Set[netip.Prefix]{Items: []netip.Prefix{netip.MustParsePrefix("fd00::/8"), netip.MustParsePrefix("::/0")}},
		NetNS:  filter.Set[uint32]{Items: []uint32{7}},
		Follow: true,
	}
	want := bpfFilterRules{Family: 6, NetnsLen: 1, LportsLen: 2, RportsLen: 1, LaddrsLen: 1, RaddrsLen: 2, UidsLen: 2, Follow: 1}
	want.Netns[0] = 7
	want.Lports[0].Low, want.Lports[0].High = 1, 2
	want.Lports[1].Low, want.Lports[1].High = 80, 80
	want.Rports[0].Low, want.Rports[0].High = 443, 444
	want.Laddrs[0].Addr = netip.MustParseAddr("::ffff:10.1.0.0").As16()
	want.Laddrs[0].Mask = netip.MustParseAddr("ffff:ffff:ffff:ffff:ffff:ffff:ffff:0").As16()
	want.Raddrs[0].Addr[0], want.Raddrs[0].Mask[0] = 0xfd, 0xff
	want.Uids[0], want.Uids[1] = 33, 1000
	if got := kernelRules(f); got != want {
		t.Errorf("got  %+v\nwant %+v", got, want)
	}
}

// TestTupleOf: the key of a parked mini-socket, as it lies in the programs' memory.
func TestTupleOf(t *testing.T) {
	e := &event.Event{NetNS: 7, Local: netip.MustParseAddrPort("10.0.0.7:40000"), Remote: netip.MustParseAddrPort("[fd00::1]:443")}
	got := tupleOf(e)
	b := unsafe.Slice((*byte)(unsafe.Pointer(&got)), unsafe.Sizeof(got))
	local, remote := netip.MustParseAddr("::ffff:10.0.0.7").As16(), netip.MustParseAddr("fd00::1").As16()
	if !bytes.Equal(b[:16], local[:]) || !bytes.Equal(b[16:32], remote[:]) || got.Netns != 7 || got.Lport != 40000 || got.Rport != 443 {
		t.Errorf("%x", b)
	}
}
