package main

import (
	"context"
	"encoding/binary"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"runtime"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/monitor"
	"github.com/twtrace/twtrace/internal/recorder"
	"github.com/twtrace/twtrace/internal/session"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
	"github.com/twtrace/twtrace/internal/storm"
	"github.com/twtrace/twtrace/internal/view"
)

// busyHost is a session.Source without an end: a host on which processes, destinations,
// listeners and network namespaces come and go, and a service that runs out of ports now
// and then. Its clock goes on by a second whenever its events are read. The state of what is
// over is not kept, so that what grows is not the test.
type busyHost struct {
	*sessiontest.Source
	rand    *rand.Rand
	now     time.Time
	queue   []event.Event
	later   [2 * 64][]event.Event // by the second of busyHost in which they come
	second  int64
	cookie  uint64
	pid     uint32
	spaces  []uint32 // network namespaces there are
	made    uint32   // how many there were
	serving map[uint32][]event.Event
	events  int
}

const (
	busySpaces   = 8  // network namespaces at a time
	busyNewSpace = 20 // seconds between two new ones
	busyOpens    = 40 // connections per second, each with three events
	busyEach     = 8  // of these, by each process
	busyPorts    = 500
)

func newBusyHost() *busyHost {
	start := time.Date(2026, 11, 22, 22, 14, 7, 0, time.UTC)
	return &busyHost{Source: &sessiontest.Source{From: start, ByNetNS: make(map[uint32]kernel.Limits), Names: make(map[uint32]string)},
		rand: rand.New(rand.NewPCG(1, 2)), now: start, pid: 1000, serving: make(map[uint32][]event.Event)}
}

func (h *busyHost) Now() time.Time                            { return h.now }
func (h *busyHost) Early() bool                               { return false }
func (h *busyHost) Tend(bool, func(*event.Event) error) error { return nil }

func (h *busyHost) Next(_ context.Context, e *event.Event) error {
	if len(h.queue) == 0 {
		h.now = h.now.Add(time.Second)
		h.second++
		h.live()
		return session.ErrIdle
	}
	*e, h.queue = h.queue[0], h.queue[1:]
	h.events++
	return nil
}

// live is one second.
func (h *busyHost) live() {
	at := &h.later[h.second%int64(len(h.later))]
	h.queue = append(h.queue[:0:0], *at...)
	*at = nil
	if h.second%busyNewSpace == 1 || len(h.spaces) < busySpaces {
		h.newSpace()
	}
	for range busyOpens / busyEach {
		h.connect()
	}
	if h.second%600 < 60 {
		h.runOut()
	}
	for i := range h.queue {
		h.queue[i].Time = h.now.UnixNano() - int64(time.Second) + int64(i)*int64(time.Second)/int64(len(h.queue))
	}
}

// emit has an event come in so many seconds.
func (h *busyHost) emit(in int64, e event.Event) {
	if in == 0 {
		h.queue = append(h.queue, e)
		return
	}
	at := &h.later[(h.second+in)%int64(len(h.later))]
	*at = append(*at, e)
}

func (h *busyHost) address() netip.Addr {
	var b [4]byte
	binary.BigEndian.PutUint32(b[:], 10<<24|h.rand.Uint32()>>8)
	return netip.AddrFrom4(b)
}

// process is one that was never there before.
func (h *busyHost) process() event.Proc {
	h.pid++
	return event.Proc{PID: h.pid, Comm: fmt.Sprintf("job-%d", h.rand.IntN(5000)), Who: &event.Who{Start: uint64(h.pid), PPID: h.pid / 10, PComm: "cron",
		CgroupID: uint64(h.pid / 4), Exe: "/usr/bin/job", Cgroup: fmt.Sprintf("/system.slice/job-%d.service", h.pid/4), Unit: fmt.Sprintf("job-%d.service", h.pid/4)}}
}

// newSpace makes a network namespace with listeners, and ends the oldest one with its own.
func (h *busyHost) newSpace() {
	h.made++
	inum := 4026532000 + h.made
	h.spaces = append(h.spaces, inum)
	h.ByNetNS[inum], h.Names[inum] = sessiontest.Limits(busyPorts), fmt.Sprintf("pod-%d", h.made)
	for range 4 {
		h.cookie++
		e := event.Event{Kind: event.Listen, New: event.Listening, NetNS: inum, Cookie: h.cookie, Process: h.process(), Owner: event.ByCall,
			Local: netip.AddrPortFrom(h.address(), 8080)}
		h.emit(0, e)
		h.serving[inum] = append(h.serving[inum], e)
	}
	if len(h.spaces) <= busySpaces {
		return
	}
	gone := h.spaces[0]
	h.spaces = h.spaces[1:]
	for _, e := range h.serving[gone] {
		e.New = event.Closed
		h.emit(0, e)
	}
	delete(h.serving, gone)
	delete(h.ByNetNS, gone)
	delete(h.Names, gone)
}

// connect opens connections of a new process to a new destination, or to a listener.
func (h *busyHost) connect() {
	inum := h.spaces[h.rand.IntN(len(h.spaces))]
	e := event.Event{NetNS: inum, Role: event.Client, Opener: h.process(),
		Local: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 1, 1}), 0), Remote: netip.AddrPortFrom(h.address(), uint16(1+h.rand.IntN(65535)))}
	if h.rand.IntN(4) == 0 {
		serving := h.serving[inum]
		by := serving[h.rand.IntN(len(serving))]
		e.Role, e.Opener, e.Local, e.Listener = event.Server, event.Proc{}, by.Local, by.Local
	}
	for range busyEach {
		if h.cookie++; e.Role == event.Client {
			e.Local = netip.AddrPortFrom(e.Local.Addr(), uint16(40000+h.cookie%busyPorts))
		}
		e.Cookie = h.cookie
		h.lifetime(e)
	}
}

// lifetime is the events of one connection.
func (h *busyHost) lifetime(e event.Event) {
	e.Kind = event.Open
	h.emit(0, e)
	e.Kind, e.Old, e.New, e.Reason, e.Closer, e.Life = event.TimeWaitEnter, event.FinWait2, event.TimeWait, event.ActiveClose, event.LocalSide, int64(5*time.Millisecond)
	e.CloseProc = e.Opener
	h.emit(1, e)
	e.Kind, e.Old, e.New, e.Reason, e.Life = event.TimeWaitExit, event.TimeWait, event.Closed, event.Expired, 0
	if h.rand.IntN(50) == 0 {
		e.Reason = event.Reset // one for the journal
	}
	h.emit(61, e)
}

// runOut is a service whose connects find no port, and another with a peer that is not there.
func (h *busyHost) runOut() {
	for range 4 {
		h.emit(0, event.Event{Kind: event.Fail, NetNS: h.spaces[0], Role: event.Client, Call: event.Connect, Errno: event.EADDRNOTAVAIL, Cause: event.NoPort, Old: event.SynSent,
			Opener: h.process(), Local: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 1, 1, 1}), 0), Remote: netip.AddrPortFrom(netip.AddrFrom4([4]byte{10, 9, 9, byte(h.second / 600)}), 443)})
		h.emit(0, event.Event{Kind: event.Fail, NetNS: h.spaces[0], Role: event.Client, Call: event.Connect, Errno: 111, Opener: h.process(), Remote: netip.AddrPortFrom(h.address(), 443)})
	}
}

// TestMemory leaves a view open on a busy host, for ten minutes of a fake clock.
func TestMemory(t *testing.T) { leaveOpen(t, 600) }

// TestSlowMemory does so for ten thousand intervals and a million events.
func TestSlowMemory(t *testing.T) {
	if events := leaveOpen(t, 10_000); events < 1_000_000 {
		t.Errorf("there were %d events", events)
	}
}

const (
	// viewHolds is how much memory a view may hold on a host with some hundred rows.
	viewHolds = 24 << 20
	// viewGrows is by how much that may differ.
	viewGrows = 2 << 20
)

// leaveOpen has a view show so many intervals, and measures what it holds. It returns how
// many events there were.
func leaveOpen(t *testing.T, intervals int) (events int) {
	before := heldMemory()
	host := newBusyHost()
	src := openBusy(t, host)
	var past view.Past
	var early, late uint64 // the most that was held in the second and in the last quarter
	for i := 1; i <= intervals; i++ {
		st, err := src.Next(t.Context())
		must(t, err)
		past.Add(st, -1)
		if i%(intervals/20) != 0 {
			continue
		}
		held := heldMemory() - before
		t.Logf("after %d intervals and %d events it holds %d KiB; there are %d rows, and %d states of the past", i, host.events, held>>10, len(st.Rows), past.Len())
		switch quarter := 4 * (i - 1) / intervals; quarter {
		case 1:
			early = max(early, held)
		case 3:
			late = max(late, held)
		}
	}
	runtime.KeepAlive(past)
	if late > viewHolds || late > early+viewGrows {
		t.Errorf("it holds %d KiB late, and %d early; at most %d, and no more than early", late>>10, early>>10, viewHolds>>10)
	}
	return host.events
}

// openBusy is the source of a view of a busy host.
func openBusy(t *testing.T, host *busyHost) *topSource {
	t.Helper()
	src := &topSource{recording: recorder.NewOnDemand()}
	s, err := session.New(host, session.Options{Narrow: true, Storms: &storm.Options{}, Witness: src.recording.Witness})
	must(t, err)
	src.session = &opened{Session: s, host: host}
	src.recording.Attach(s)
	src.opt = monitor.Options{Interval: time.Second, Each: src.each, Idle: src.recording.Answer}
	src.builder = view.Builder{Host: "busy", Begin: s.Now(), Limits: s.ConnLimits, Name: s.NetNSName}
	must(t, src.prime(t.Context()))
	return src
}

// heldMemory is what is reachable.
func heldMemory() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
