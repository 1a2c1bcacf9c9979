package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/twtrace/twtrace/internal/event"
)

// Bounds of what strangers may ask of the server.
const (
	maxHeaderBytes  = 16 << 10
	requestPatience = 5 * time.Second  // with the body that it may have, to be refused
	idlePatience    = 10 * time.Second // an idle connection takes the place of another client's
	spareConns      = 48               // connections beside those of the readers
)

// serve answers those who connect to the Unix socket, which only the group may.
func (a *agent) serve(ln net.Listener) *http.Server {
	server := a.server(a.stream)
	go server.Serve(a.bounded(ln))
	return server
}

// server answers all that an agent is asked, and /v1/stream as given.
func (a *agent) server(stream http.HandlerFunc) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", a.index)
	mux.HandleFunc("GET /v1/stream", stream)
	if a.opt.Metrics != nil {
		mux.Handle("GET /metrics", a.opt.Metrics)
	}
	mux.HandleFunc("GET /v1/status", a.status)
	mux.HandleFunc("GET /v1/findings", a.sampled(a.opt.Findings != nil, func(s *sampled) []byte { return s.findings }))
	mux.HandleFunc("GET /v1/ports", a.sampled(a.opt.Ports != nil, func(s *sampled) []byte { return s.ports }))
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok\n") })
	mux.HandleFunc("GET /readyz", a.ready)
	// HTTP/1 alone: one connection is one request at a time, so that connections bound all else.
	protocols := new(http.Protocols)
	protocols.SetHTTP1(true)
	return &http.Server{Handler: withoutBody(mux), Protocols: protocols, ReadTimeout: requestPatience, IdleTimeout: idlePatience,
		WriteTimeout: writePatience, MaxHeaderBytes: maxHeaderBytes, ErrorLog: log.New(io.Discard, "", 0)}
}

// withoutBody refuses requests that have a body: none here needs one. No answer makes a
// browser load or run anything, unless the web configuration has another policy.
func withoutBody(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		w.Header().Set("X-Content-Type-Options", "nosniff")
		if w.Header().Get("Content-Security-Policy") == "" {
			w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
		}
		if q.ContentLength != 0 {
			w.Header().Set("Connection", "close")
			http.Error(w, "no request here has a body", http.StatusBadRequest)
			return
		}
		h.ServeHTTP(w, q)
	})
}

// drainPatience is how long readers have to take the last blocks.
const drainPatience = 5 * time.Second

// drain waits until the readers of all servers have the end of the stream, and closes them.
func drain(servers []*http.Server) error {
	ctx, cancel := context.WithTimeout(context.Background(), drainPatience)
	defer cancel()
	errs := make([]error, len(servers))
	var all sync.WaitGroup
	for i, s := range servers {
		all.Go(func() { errs[i] = shut(ctx, s) })
	}
	all.Wait()
	return errors.Join(errs...)
}

func shut(ctx context.Context, s *http.Server) error {
	err := s.Shutdown(ctx)
	if errors.Is(err, context.DeadlineExceeded) {
		err = s.Close()
	}
	if errors.Is(err, net.ErrClosed) {
		return nil
	}
	return err
}

// ready answers whether the hooks are attached and the first sockets known, and why not.
func (a *agent) ready(w http.ResponseWriter, _ *http.Request) {
	if a.samples.Load() == nil {
		http.Error(w, "the hooks are being attached", http.StatusServiceUnavailable)
		return
	}
	io.WriteString(w, "ready\n")
}

// sampled answers with something that was made of the last sample.
func (a *agent) sampled(answers bool, of func(*sampled) []byte) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		s := a.samples.Load()
		switch {
		case s == nil:
			http.Error(w, "the hooks are being attached", http.StatusServiceUnavailable)
		case !answers:
			http.Error(w, "this agent does not answer that", http.StatusNotFound)
		default:
			w.Header().Set("Content-Type", "application/json")
			w.Write(of(s))
		}
	}
}

// StatusSchema names the form of /v1/status. Fields are added within a version, never
// changed.
const StatusSchema = "twtrace.agent-status/v1"

type status struct {
	Schema  string            `json:"schema"`
	Version string            `json:"version"`
	Began   string            `json:"began"`
	Host    string            `json:"host,omitempty"`
	Kernel  string            `json:"kernel,omitempty"`
	Filter  string            `json:"filter,omitempty"`
	Hooks   []string          `json:"hooks"`
	Missing []string          `json:"missing"`
	Loose   []string          `json:"not_confined"`
	Sampled string            `json:"sampled,omitempty"`
	Table   tableStatus       `json:"table"`
	Past    pastStatus        `json:"past"`
	Readers readersStatus     `json:"readers"`
	Lost    map[string]uint64 `json:"lost_by_stage"`
	Drift   []event.Drift     `json:"drift"`
	Remarks []string          `json:"remarks"`
}

type tableStatus struct {
	TimeWait  uint64 `json:"time_wait"`
	Parked    uint64 `json:"parked"`
	Open      uint64 `json:"open"`
	Opened    uint64 `json:"opened_total"`
	Entered   uint64 `json:"time_wait_enters_total"`
	Untracked uint64 `json:"untracked_total"`
}

type pastStatus struct {
	From     string        `json:"from,omitempty"`
	To       string        `json:"to,omitempty"`
	LengthS  float64       `json:"length_s"`
	MaxS     float64       `json:"max_s"`
	Bytes    int64         `json:"bytes"`
	MaxBytes int64         `json:"max_bytes"`
	Records  uint64        `json:"records"`
	Segments int           `json:"segments"`
	Dropped  droppedStatus `json:"dropped"`
}

type droppedStatus struct {
	Records  uint64 `json:"records_total"`
	Bytes    int64  `json:"bytes_total"`
	Segments uint64 `json:"segments_total"`
}

type readersStatus struct {
	Now     int    `json:"now"`
	Max     int    `json:"max"`
	Refused uint64 `json:"refused_total"`
	CutOff  uint64 `json:"cut_off_total"`
	Missed  uint64 `json:"missed_records_total"`
}

// status answers /v1/status.
func (a *agent) status(w http.ResponseWriter, _ *http.Request) {
	s := status{Schema: StatusSchema, Version: a.opt.Version, Began: jsonTime(a.began), Past: a.past.status(),
		Hooks: []string{}, Missing: []string{}, Loose: append([]string{}, a.opt.Missing...), Lost: map[string]uint64{}, Drift: []event.Drift{}, Remarks: []string{}}
	if i := a.started.Load(); i != nil {
		s.Host, s.Kernel, s.Filter = i.Host, i.Kernel, i.Filter
		s.Hooks, s.Missing = append(s.Hooks, i.Hooks...), append(s.Missing, i.Missing...)
	}
	if m := a.samples.Load(); m != nil {
		s.Sampled, s.Table, s.Lost = jsonTime(m.at), m.table, m.lost
		s.Drift, s.Remarks = append(s.Drift, m.drift...), append(s.Remarks, m.remarks...)
	}
	a.mu.Lock()
	s.Readers = readersStatus{Now: len(a.readers), Max: int(a.maxReaders.Load()), Refused: a.refused, CutOff: a.cutOff, Missed: a.missed}
	a.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(s) // an error is that of the connection
}
