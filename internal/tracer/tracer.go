// Package tracer owns everything that twtrace has in the kernel: programs, maps
// and links. It reads samples and decodes them to event.Event, and keeps the
// account of what was counted and what was lost. When it is closed, or its
// process dies, nothing stays behind.
package tracer

import (
	"fmt"
	"slices"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/kernel"
)

// Tracer is a running trace. Its methods are for one goroutine, but for Stop.
type Tracer struct {
	Set     HookSet   // the hooks in use
	Hooks   []Hook    // state of every hook of the set
	Began   time.Time // every event is later
	Refused error     // why Auto did not take the trampolines; nil if it did or was not asked

	options Options
	coll    *ebpf.Collection
	links   []link.Link
	account account
	reader
}

// Open loads and attaches the programs. On return every hook is in place and
// counting. A HostError says that this host cannot be traced.
func Open(o Options) (*Tracer, error) {
	if err := permitted(); err != nil {
		return nil, err
	}
	types, err := o.types()
	if err != nil {
		return nil, err
	}
	if err := identified(types); err != nil {
		return nil, err
	}
	switch o.Hooks {
	case Fentry, Timer:
		return o.open(types, o.Hooks)
	}
	t, refused := o.open(types, Fentry)
	if refused == nil {
		return t, nil
	}
	if t, err = o.open(types, Timer); err != nil {
		return nil, err
	}
	t.Refused = refused
	return t, nil
}

func (o Options) open(types *btf.Spec, set HookSet) (*Tracer, error) {
	l, err := o.load(types, set)
	if err != nil {
		return nil, err
	}
	t := newTracer(o, l)
	if err := t.start(l.hooks, types); err != nil {
		t.Close()
		return nil, err
	}
	t.options.cache = nil
	return t, nil
}

func newTracer(o Options, l *loaded) *Tracer {
	t := &Tracer{Set: l.set, Hooks: l.state, options: o, coll: l.coll}
	t.reader = reader{stop: make(chan struct{}), tend: t.settle, end: t.detach}
	return t
}

func (t *Tracer) start(usable []hook, types *btf.Spec) error {
	for _, h := range usable {
		l, err := h.attach(t.coll.Programs[h.program])
		if err == nil {
			t.links = append(t.links, l)
			continue
		}
		if i := slices.IndexFunc(t.Hooks, func(s Hook) bool { return s.Name == h.program }); i >= 0 {
			t.Hooks[i].Err = err
		}
		if h.needed || h.calls { // calls were asked for, and others rely on them
			return &HostError{What: "attach", Err: err}
		}
	}
	var err error
	if t.ring, err = openRing(t.coll.Maps[bpfMapEvents]); err != nil {
		return fmt.Errorf("open the ring: %w", err)
	}
	tick, err := kernel.Tick()
	if err != nil {
		return err
	}
	t.dec = newDecoder(kernel.ClockOffset(), int64(tick), t.coll.Maps[bpfMapTwtraceProcs])
	countsBirths, _ := kernel.TimeWaitCountedAtBirth(types) // where the types do not show it, births are left out
	t.account.start(countsBirths)
	if err := t.followed().follow(t.options.Follow); err != nil {
		return err
	}
	t.Began = time.Now()
	return t.enable(true)
}

// enable makes all hooks count, or all of them stop, at the same instant.
func (t *Tracer) enable(on bool) error {
	if err := t.coll.Variables[bpfVarEnabled].Set(on); err != nil {
		return fmt.Errorf("set %s: %w", bpfVarEnabled, err)
	}
	return nil
}

// settle runs a program on each CPU that has had a mini-socket pending for long:
// it was killed, and no timer has come by to say so.
func (t *Tracer) settle() {
	program := t.coll.Programs[settler]
	if program == nil {
		return
	}
	var cpus []bpfCpuState
	if err := t.coll.Maps[bpfMapCpus].Lookup(uint32(0), &cpus); err != nil {
		return
	}
	for i, c := range cpus {
		if c.PendingTw != 0 {
			program.Run(&ebpf.RunOptions{Context: [8]byte{}, CPU: uint32(i), Flags: unix.BPF_F_TEST_RUN_ON_CPU})
		}
	}
}

// detach takes the hooks away, after stopping them all at once.
func (t *Tracer) detach() {
	t.enable(false)
	t.account.end(t)
	for _, l := range t.links {
		l.Close()
	}
	t.links = nil
}

// Close releases everything in the kernel. What Account says remains.
func (t *Tracer) Close() {
	t.Stop()
	t.finish()
	if t.ring != nil {
		t.ring.close()
	}
	t.coll.Close()
}
