// Package conntest simulates clients that open and close connections, so that tests
// can compare a conn.Table, and what reads it, with the truth, without a kernel.
package conntest

import (
	"container/heap"
	"net/netip"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/event"
)

// Start is when a World starts.
var Start = time.Date(2026, 11, 22, 22, 14, 7, 0, time.UTC)

// timeWait is how long TIME_WAIT lasts there.
const timeWait = 61 * time.Second

// Client opens connections to one destination.
type Client struct {
	Process      event.Proc
	Swarm        bool // each connection has a process of its own
	Local        netip.Addr
	Remote       netip.AddrPort
	Rate         func(t time.Duration) float64 // connections a second, t after Start
	Life         time.Duration                 // of a connection; 0: it never closes
	RemoteCloses bool                          // the server closes first: no TIME_WAIT here
	Stamps       event.Tri                     // the server uses timestamps
	Reuse        bool                          // connect() takes over ports in TIME_WAIT

	due float64
}

// Steadily is a constant rate.
func Steadily(rate float64) func(time.Duration) float64 {
	return func(time.Duration) float64 { return rate }
}

// World is a network namespace with clients in it. Each port serves one connection
// at a time towards a destination; a connect that finds no free port fails.
type World struct {
	Table   *conn.Table
	Clients []*Client
	Ports   int // usable towards each destination
	Buckets int // TIME_WAIT sockets; 0: no limit
	NetNS   uint32

	Failed  map[netip.AddrPort]int           // connects, by destination
	FirstAt map[netip.AddrPort]time.Duration // the first of them
	Refused int                              // TIME_WAIT sockets

	now    time.Duration
	used   map[netip.AddrPort]int
	tw     int
	cookie uint64
	plan   plan
	// OnEvent sees each event after the table has.
	OnEvent func(e *event.Event)
}

// Used is how many ports are in use towards a destination.
func (w *World) Used(to netip.AddrPort) int { return w.used[to] }

// step is the resolution of the time.
const step = 5 * time.Millisecond

// Run lets the clients work for length, and calls every after each second.
func (w *World) Run(length time.Duration, every func(now int64, t time.Duration)) {
	if w.used == nil {
		w.used = make(map[netip.AddrPort]int)
		w.Failed = make(map[netip.AddrPort]int)
		w.FirstAt = make(map[netip.AddrPort]time.Duration)
	}
	for end := w.now + length; w.now < end; {
		w.now += step
		for len(w.plan) > 0 && w.plan[0].at <= w.now {
			heap.Pop(&w.plan).(planned).do()
		}
		for _, c := range w.Clients {
			for c.due += c.Rate(w.now) * step.Seconds(); c.due >= 1; c.due-- {
				w.open(c)
			}
		}
		if w.now%time.Second == 0 && every != nil {
			every(Start.Add(w.now).UnixNano(), w.now)
		}
	}
}

func (w *World) event(c *Client, cookie uint64, k event.Kind) event.Event {
	e := event.Event{
		Time: Start.Add(w.now).UnixNano(), Kind: k, Cookie: cookie, NetNS: w.NetNS, Role: event.Client,
		Local: netip.AddrPortFrom(c.Local, uint16(32768+cookie%28000)), Remote: c.Remote, Opener: c.Process,
	}
	if c.Swarm {
		e.Opener.PID += uint32(cookie)
	}
	return e
}

func (w *World) apply(e event.Event) {
	w.Table.Apply(&e)
	if w.OnEvent != nil {
		w.OnEvent(&e)
	}
}

func (w *World) open(c *Client) {
	w.cookie++
	cookie := w.cookie
	if w.used[c.Remote] >= w.Ports && !c.Reuse {
		e := w.event(c, cookie, event.Fail)
		e.Local = netip.AddrPortFrom(c.Local, 0)
		e.Call, e.Errno = event.Connect, event.EADDRNOTAVAIL
		if w.Failed[c.Remote]++; w.Failed[c.Remote] == 1 {
			w.FirstAt[c.Remote] = w.now
		}
		w.apply(e)
		return
	}
	w.used[c.Remote]++
	w.apply(w.event(c, cookie, event.Open))
	if c.Life > 0 {
		w.after(c.Life, func() { w.close(c, cookie) })
	}
}

func (w *World) close(c *Client, cookie uint64) {
	kind := event.TimeWaitEnter
	switch {
	case c.RemoteCloses:
		kind = event.Close
	case w.Buckets > 0 && w.tw >= w.Buckets:
		kind = event.TimeWaitRefused
		w.Refused++
	}
	e := w.event(c, cookie, kind)
	e.Life, e.Stamps, e.Closer = int64(c.Life), c.Stamps, event.LocalSide
	w.apply(e)
	if kind != event.TimeWaitEnter {
		w.used[c.Remote]--
		return
	}
	w.tw++
	w.after(timeWait, func() {
		w.tw--
		w.used[c.Remote]--
		e := w.event(c, cookie, event.TimeWaitExit)
		e.Reason = event.Expired
		w.apply(e)
	})
}

func (w *World) after(d time.Duration, do func()) {
	heap.Push(&w.plan, planned{w.now + d, do})
}

type planned struct {
	at time.Duration
	do func()
}

// plan is what will happen, soonest first.
type plan []planned

func (p plan) Len() int           { return len(p) }
func (p plan) Less(i, j int) bool { return p[i].at < p[j].at }
func (p plan) Swap(i, j int)      { p[i], p[j] = p[j], p[i] }
func (p *plan) Push(x any)        { *p = append(*p, x.(planned)) }
func (p *plan) Pop() any {
	last := len(*p) - 1
	x := (*p)[last]
	*p = (*p)[:last]
	return x
}
