package main

import (
	"context"
	"io"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/workload"
)

// burstSize is how many requests a client has at once.
const burstSize = 10

// pooled has this process request something in bursts, with a pool that keeps so many idle
// connections.
func pooled(idle int) func(*testing.T, *act) {
	return func(t *testing.T, a *act) {
		var server net.Listener
		a.ns.Do(t, func() {
			var err error
			server, err = net.Listen("tcp4", "127.0.0.7:8080")
			must(t, err)
		})
		answer := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(5 * time.Millisecond) // so that the requests of a burst are there at once
			_, _ = io.WriteString(w, "hello")
		})}
		go func() { _ = answer.Serve(server) }()
		pool := http.Transport{MaxIdleConnsPerHost: idle, DialContext: func(ctx context.Context, network, address string) (c net.Conn, err error) {
			var d net.Dialer
			if in := a.ns.NetNS().Do(func() error { c, err = d.DialContext(ctx, network, address); return nil }); in != nil {
				return nil, in
			}
			return c, err
		}}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() {
			defer close(done)
			client, tick := http.Client{Transport: &pool}, time.NewTicker(50*time.Millisecond)
			defer tick.Stop()
			for ctx.Err() == nil {
				var all sync.WaitGroup
				for range burstSize {
					all.Go(func() { request(ctx, &client) })
				}
				all.Wait()
				<-tick.C
			}
		}()
		t.Cleanup(func() {
			stop()
			<-done
			pool.CloseIdleConnections()
			_ = answer.Close()
		})
	}
}

func request(ctx context.Context, client *http.Client) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://127.0.0.7:8080/", nil)
	if err != nil {
		return
	}
	if answer, err := client.Do(r); err == nil {
		_, _ = io.Copy(io.Discard, answer.Body)
		_ = answer.Body.Close()
	}
}

// leaksBehindProxy has a client that closes, a proxy that passes that on, and a server that
// does nothing about it.
func leaksBehindProxy(t *testing.T, a *act) {
	goesOn(caller("idle", 0.001, workload.Close, one), hoarder)(t, a)
	a.start(t, "perl", "-e", `use IO::Socket::INET; $0 = "proxy"; my $s = IO::Socket::INET->new(Listen => 50, LocalAddr => "127.0.0.8", LocalPort => 7070) or die; `+
		`while (my $c = $s->accept) { my $u = IO::Socket::INET->new("127.0.0.7:3306") or die; 1 while sysread $c, my $b, 99; shutdown $u, 1; push @held, $c, $u }`)
	a.serves(t, 7070)
	start := caller("caller", 8, workload.Close, []netip.AddrPort{netip.MustParseAddrPort("127.0.0.8:7070")})
	p, err := workload.Start(context.Background(), a.ns.Path(), start)
	must(t, err)
	t.Cleanup(func() { _ = p.Kill(); _, _ = p.Wait() })
	_, err = p.Ready()
	must(t, err)
	must(t, p.Go())
}
