package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"slices"
	"sync/atomic"
	"time"

	"github.com/twtrace/twtrace/internal/agent"
	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/metrics"
	"github.com/twtrace/twtrace/internal/monitor"
	"github.com/twtrace/twtrace/internal/sandbox"
	"github.com/twtrace/twtrace/internal/session"
)

// speakerCommand starts the part of the agent that listens. Only sandbox.Start can.
const speakerCommand = "serve-speaker"

// speakerMain is main where this process was started as a speaker; else it returns.
func speakerMain() {
	if !sandbox.Requested(speakerCommand) {
		return
	}
	if err := beSpeaker(); err != nil {
		complain(os.Stderr, err.Error())
		os.Exit(exitFailed)
	}
	os.Exit(exitOK)
}

// speech is what the tracer has its speaker do: the first line that it sends. The trace-file
// stream follows.
type speech struct {
	Version, Commit string
	Past            time.Duration
	PastBytes       int64
	MaxReaders      int
	Missing         []string // what the kernel does not confine
	WebConfig       string   // the path of the file, "" for none
}

// What the speaker sends to the tracer, a byte each time.
const (
	speakerReady = 'r' // it answers requests
	speakerBeat  = 'b' // it has made another sample
	speakerTook  = 't' // it has taken new bounds
)

// Files that a speaker inherits.
const (
	speakerSocket = iota // its Unix listener
	speakerWeb           // its TCP listener, if there is one
)

// beSpeaker is the speaker: it has no right but to what it inherits.
func beSpeaker() error {
	ctx, s, err := sandbox.Enter(context.Background())
	if err != nil {
		return err
	}
	in := bufio.NewReader(s.Conn)
	line, err := in.ReadBytes('\n')
	if err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	var to speech
	if err := json.Unmarshal(line, &to); err != nil {
		return fmt.Errorf("read what to do: %w", err)
	}
	var listeners [speakerWeb + 1]net.Listener
	for i, f := range s.Files {
		if listeners[i], err = net.FileListener(f); err != nil {
			return fmt.Errorf("use an inherited listener: %w", err)
		}
		f.Close()
	}
	tell := func(word byte) { _, _ = s.Conn.Write([]byte{word}) } // the end of the tracer is noticed elsewhere
	page := &metricsPage{version: to.Version, commit: to.Commit}
	o := agent.Options{Version: to.Version, Past: to.Past, PastBytes: to.PastBytes, MaxReaders: to.MaxReaders, Missing: to.Missing,
		ParseFilter: parseAgentFilter, Findings: agentFindings, Ports: agentPorts,
		Web: listeners[speakerWeb], WebConfig: to.WebConfig, Metrics: page, Watch: page.watch,
		Ready: func() { tell(speakerReady) }, Beat: func() { tell(speakerBeat) },
		Change: bounds(s.Orders), Changed: func() { tell(speakerTook) },
		Talk: func(format string, a ...any) { fmt.Fprintf(os.Stderr, "twtrace: "+format+"\n", a...) }}
	err = agent.Run(ctx, in, listeners[speakerSocket], o)
	if gone := context.Cause(ctx); errors.Is(gone, sandbox.ErrTracerGone) {
		return gone
	}
	return err
}

// bounds are the orders of the tracer: each is new bounds.
func bounds(orders <-chan json.RawMessage) <-chan agent.Bounds {
	all := make(chan agent.Bounds)
	go func() {
		for order := range orders {
			var b agent.Bounds
			if err := json.Unmarshal(order, &b); err == nil { // of the same program
				all <- b
			}
		}
	}()
	return all
}

// metricsPage answers /metrics, once there is a session.
type metricsPage struct {
	version, commit string
	handler         atomic.Pointer[http.Handler]
}

// watch has the metrics follow a session.
func (p *metricsPage) watch(s *session.Session) (each func(*event.Event), observe func(*monitor.Sample)) {
	o := metrics.Options{Detail: metrics.Full, Version: p.version, Revision: p.commit, Session: s}
	if tracer, ok := s.Source.(interface{ Vitals() event.Vitals }); ok {
		o.Vitals = tracer.Vitals
	}
	m := metrics.New(o)
	if start, err := s.Start(); err == nil && start.Start != nil {
		i := start.Start
		m.SetTrace(metrics.Trace{Kernel: i.Kernel, Hooks: i.HookSet, Syscalls: slices.Contains(i.Hooks, "exit_connect"), Up: true})
	}
	h := m.Handler()
	p.handler.Store(&h)
	return m.Event, m.Observe
}

func (p *metricsPage) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	h := p.handler.Load()
	if h == nil {
		http.Error(w, "the hooks are being attached", http.StatusServiceUnavailable)
		return
	}
	(*h).ServeHTTP(w, q)
}

// hear calls back for what the speaker sends, until its end.
func hear(conn io.Reader, ready, beat, took func()) {
	in := bufio.NewReader(conn)
	for {
		word, err := in.ReadByte()
		switch {
		case err != nil:
			return
		case word == speakerReady:
			ready()
		case word == speakerBeat:
			beat()
		case word == speakerTook:
			took()
		}
	}
}
