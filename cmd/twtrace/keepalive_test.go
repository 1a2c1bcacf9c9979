package main

import (
	"io"
	"net"
	"os"
	"testing"

	"github.com/twtrace/twtrace/internal/kernel"
	"github.com/twtrace/twtrace/internal/tracer"
)

// TestKeepAlive counts how often programs run for requests on connections that stay. No
// other program is loaded in the VM. The trampolines are on what ends connections, so
// they do not run at all; the timers of every socket are among those of the other set.
func TestKeepAlive(t *testing.T) {
	requireVM(t)
	alone(t)
	t.Attr("row", "keep-alive traffic: programs that run for a request")
	const connections, requests = 8, 2500
	ns := churnNS(t)
	tr := startTrace(t, "-N", ns.Path())
	talk := make([]net.Conn, connections)
	ns.Do(t, func() {
		server, err := net.Listen("tcp4", "127.0.0.1:0")
		must(t, err)
		defer server.Close()
		for i := range talk {
			talk[i], err = net.Dial("tcp4", server.Addr().String())
			must(t, err)
			answer, err := server.Accept()
			must(t, err)
			go func() {
				defer answer.Close()
				_, _ = io.Copy(answer, answer) // until the other end closes
			}()
		}
	})
	stats, err := kernel.EnableBPFStats()
	must(t, err)
	defer stats.Close()
	before := programRuns(t)
	var b [100]byte
	for range requests {
		for _, c := range talk {
			_, err := c.Write(b[:])
			must(t, err)
			_, err = io.ReadFull(c, b[:])
			must(t, err)
		}
	}
	each := float64(programRuns(t)-before) / (connections * requests)
	for _, c := range talk {
		must(t, c.Close())
	}
	checkLost(t, tr.stop())
	t.Logf("%.4f runs a request", each)
	most := 0.01
	if tracer.HookSet(os.Getenv(hooksVariable)) != tracer.Fentry {
		most = 20
	}
	if each > most {
		t.Errorf("%.4f runs a request, want at most %v", each, most)
	}
}

func programRuns(t *testing.T) (n uint64) {
	t.Helper()
	all, err := kernel.BPFPrograms()
	must(t, err)
	for _, p := range all {
		n += p.Runs
	}
	return n
}
