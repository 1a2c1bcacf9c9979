// Package tracer owns everything that twtrace has in the kernel: programs, maps
// and links. It reads samples and decodes them to event.Event, and keeps the
// account of what was counted and what was lost. When it is closed, or its
// process dies, nothing stays behind.
package tracer

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"sync"
	"time"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/link"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
)

// Programs write without waking the reader, who looks every interval; sooner
// when the last look found the ring filling up.
const (
	pollInterval = 50 * time.Millisecond
	busyInterval = 5 * time.Millisecond
)

// ErrIdle is returned by Read each time the ring has been read empty: the moment
// to flush output. It is no failure; the next Read waits for more.
var ErrIdle = errors.New("no events at the moment")

// Tracer is a running trace. Its methods are for one goroutine, but for Stop.
type Tracer struct {
	Set     HookSet   // the hooks in use
	Hooks   []Hook    // state of every hook of the set
	Began   time.Time // every event is later
	Refused error     // why Auto did not take the trampolines; nil if it did or was not asked

	options Options
	coll    *ebpf.Collection
	links   []link.Link
	ring    *ringReader
	dec     decoder
	account account

	read     int // bytes read since the ring was last empty
	idle     bool
	emptied  time.Time
	stop     chan struct{}
	stopOnce sync.Once
	stopped  bool
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
	t := &Tracer{Set: set, Hooks: l.state, options: o, coll: l.coll, stop: make(chan struct{})}
	if err := t.start(l.hooks, types); err != nil {
		t.Close()
		return nil, err
	}
	t.options.cache = nil
	return t, nil
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
	t.dec = newDecoder(kernel.ClockOffset(), t.coll.Maps[bpfMapTwtraceProcs])
	countsBirths, _ := kernel.TimeWaitCountedAtBirth(types) // where the types do not tell, births are left out
	t.account.begin(countsBirths)
	if err := t.follow(t.options.Follow); err != nil {
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

// Read returns the next event in e. It returns ErrIdle whenever the ring is
// empty, and io.EOF when it is empty after Stop.
func (t *Tracer) Read(e *event.Event) error {
	if t.idle {
		t.wait()
		t.idle = false
	}
	for {
		sample := t.ring.next()
		if sample == nil {
			if now := time.Now(); t.ring.empty() {
				t.emptied = now
			} else if t.stopped { // a program is about to finish its last sample
				time.Sleep(time.Millisecond)
				continue
			}
			return t.empty()
		}
		t.read += len(sample)
		if err := t.dec.decode(sample, e); err != nil {
			t.account.undecoded++
			continue
		}
		return nil
	}
}

// Emptied returns a time at which the ring was empty: what was written before has been
// read. Idle alone does not say so much: whoever learns of it may have slept since.
func (t *Tracer) Emptied() time.Time { return t.emptied }

// empty is called when the ring has been read empty.
func (t *Tracer) empty() error {
	if t.stopped {
		return io.EOF
	}
	select {
	case <-t.stop:
		// One more round, for what was written before the hooks went.
		t.stopped = true
		t.detach()
		return ErrIdle
	default:
	}
	t.idle = true
	return ErrIdle
}

// wait sleeps until the ring is worth looking at. Before that it has the kernel
// decide what quiet CPUs have left pending.
func (t *Tracer) wait() {
	interval := pollInterval
	if t.read > t.ring.size()/8 {
		interval = busyInterval
	}
	t.read = 0
	t.settle()
	select {
	case <-time.After(interval):
	case <-t.stop:
	}
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
			program.Run(&ebpf.RunOptions{Context: [8]byte{}, CPU: uint32(i), Flags: runOnCPU})
		}
	}
}

// runOnCPU is BPF_F_TEST_RUN_ON_CPU.
const runOnCPU = 1

// Stop makes Read return what is left and then io.EOF. It may be called from any
// goroutine, and more than once.
func (t *Tracer) Stop() { t.stopOnce.Do(func() { close(t.stop) }) }

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
	if !t.stopped {
		t.stopped = true
		t.detach()
	}
	if t.ring != nil {
		t.ring.close()
	}
	t.coll.Close()
}
