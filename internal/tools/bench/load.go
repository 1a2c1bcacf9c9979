package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/netns"
	"github.com/twtrace/twtrace/internal/workload"
)

// The loads.
const (
	loadChurn = "churn"
	loadWrk   = "wrk"
	loadCalls = "calls"
	loadIdle  = "idle"
)

// window is how long the loads last that are no number of connections.
const window = 5 * time.Second

// keptAlive is how many connections wrk has, which it keeps.
const keptAlive = 16

var loads = map[string]func(*bench, context.Context, *netns.NS, *sample) error{
	loadChurn: (*bench).churn, loadWrk: (*bench).wrk, loadCalls: (*bench).calls, loadIdle: (*bench).idle,
}

// run makes the load.
func (b *bench) run(ctx context.Context, ns *netns.NS, s *sample) error {
	return loads[b.load](b, ctx, ns, s)
}

// churn makes the connections.
func (b *bench) churn(ctx context.Context, ns *netns.NS, s *sample) error {
	churn := workload.Churn{
		Connections: b.connections, Workers: b.workers, ServerWorkers: 2,
		To: workload.Destinations(20, 4), CountOnly: true, Rate: b.rate,
	}
	r, err := churn.Scenario().Run(ctx, ns.Path())
	if err != nil {
		return err
	}
	if s.Connections = r.Opened(); s.Connections != uint64(b.connections) {
		return fmt.Errorf("%d of %d connections failed: %v", uint64(b.connections)-s.Connections, b.connections, r.Failed())
	}
	s.PerSecond = float64(s.Connections) / r.Clients[0].Elapsed.Seconds()
	return nil
}

// calls has a process on each CPU make system calls, as fast as it can. What it counts
// are thousands.
func (b *bench) calls(ctx context.Context, _ *netns.NS, s *sample) error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	callers := make([]*exec.Cmd, runtime.NumCPU())
	counts := make([]bytes.Buffer, len(callers))
	for i := range callers {
		callers[i] = exec.CommandContext(ctx, self, caller)
		callers[i].Stdout, callers[i].Stderr = &counts[i], os.Stderr
		if err := callers[i].Start(); err != nil {
			return errors.Join(err, ctx.Err())
		}
	}
	for i, c := range callers {
		err = errors.Join(err, c.Wait())
		n, parseErr := strconv.ParseUint(strings.TrimSpace(counts[i].String()), 10, 64)
		err = errors.Join(err, parseErr)
		s.Connections += n / 1000
	}
	s.PerSecond = float64(s.Connections) / window.Seconds()
	return err
}

// idle does nothing.
func (b *bench) idle(ctx context.Context, _ *netns.NS, s *sample) error {
	select {
	case <-time.After(window):
	case <-ctx.Done():
		return ctx.Err()
	}
	s.Connections = uint64(window / time.Millisecond)
	s.PerSecond = 1000
	return nil
}

// nginxConf is a server in the foreground, of one worker and an empty page.
const nginxConf = `daemon off; master_process off; pid %[1]s/pid; error_log %[1]s/log;
events { worker_connections 256; }
http { access_log off; keepalive_requests 100000000; client_body_temp_path %[1]s/body; proxy_temp_path %[1]s/proxy;
fastcgi_temp_path %[1]s/fastcgi; uwsgi_temp_path %[1]s/uwsgi; scgi_temp_path %[1]s/scgi;
server { listen 127.0.0.1:8080; location / { return 200; } } }`

// requests is the number of them that wrk says it made.
var requests = regexp.MustCompile(`(\d+) requests in`)

// wrk makes requests on connections that stay.
func (b *bench) wrk(ctx context.Context, ns *netns.NS, s *sample) (err error) {
	dir, err := os.MkdirTemp("", "twtrace-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	conf := filepath.Join(dir, "conf")
	if err := os.WriteFile(conf, fmt.Appendf(nil, nginxConf, dir), 0o644); err != nil {
		return err
	}
	in := "--net=" + ns.Path()
	server := exec.CommandContext(ctx, "nsenter", in, "nginx", "-p", dir, "-c", conf)
	server.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	if err := server.Start(); err != nil {
		return fmt.Errorf("start nginx: %w", err)
	}
	defer func() {
		server.Process.Kill()
		server.Wait()
	}()
	for begun := time.Now(); ; time.Sleep(20 * time.Millisecond) {
		err := exec.CommandContext(ctx, "nsenter", in, "bash", "-c", ": </dev/tcp/127.0.0.1/8080").Run()
		if err == nil {
			break
		}
		if time.Since(begun) > 10*time.Second || ctx.Err() != nil {
			return errors.Join(errors.New("nginx does not answer"), ctx.Err())
		}
	}
	out, err := exec.CommandContext(ctx, "nsenter", in, "wrk", "-t1", fmt.Sprintf("-c%d", keptAlive),
		fmt.Sprintf("-d%.0fs", window.Seconds()), "http://127.0.0.1:8080/").CombinedOutput()
	if err != nil {
		return fmt.Errorf("wrk: %w: %s", err, bytes.TrimSpace(out))
	}
	m := requests.FindSubmatch(out)
	if m == nil {
		return fmt.Errorf("wrk does not say how many requests it made: %s", out)
	}
	if s.Connections, err = strconv.ParseUint(string(m[1]), 10, 64); err != nil {
		return err
	}
	s.PerSecond = float64(s.Connections) / window.Seconds()
	return nil
}
