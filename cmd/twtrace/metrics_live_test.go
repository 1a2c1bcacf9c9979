package main

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strconv"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/conn"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/metrics"
	"github.com/twtrace/twtrace/internal/monitor"
	"github.com/twtrace/twtrace/internal/tracer"
	"github.com/twtrace/twtrace/internal/workload"
)

// TestMetricsLive has a scrape count what a workload did on the running kernel, by owner.
func TestMetricsLive(t *testing.T) {
	const n = 211
	ns := kerneltest.NetNS(t)
	ns.Sysctl(t, "net.ipv4.tcp_rfc1337", "1")
	r := startReader(t, ns, tracer.Options{})
	m := metrics.New(metrics.Options{Session: r.session, Vitals: r.trace.Vitals})
	handler := m.Handler()
	if _, err := workload.ActiveClose(workload.IPv4, n).Run(t.Context(), ns.Path()); err != nil {
		t.Fatal(err)
	}
	var body string
	value := func(series string) float64 {
		sum := 0.0
		for _, line := range regexp.MustCompile(`(?m)^twtrace_`+series+` (\S+)$`).FindAllStringSubmatch(body, -1) {
			v, err := strconv.ParseFloat(line[1], 64)
			must(t, err)
			sum += v
		}
		return sum
	}
	var snapshot conn.Snapshot
	kerneltest.Eventually(t, patience, func() (bool, string) {
		r.do(func() {
			now := time.Now()
			r.session.Table().Snapshot(now.UnixNano(), &snapshot)
			m.Observe(&monitor.Sample{Now: now, Table: &snapshot})
		})
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
		body = w.Body.String()
		for series, want := range map[string]float64{
			`connections_opened_total\{comm="` + workload.ClientComm + `",.*role="client".*\}`:                   n,
			`connections_opened_total\{.*role="server".*\}`:                                                      n,
			`connections_closed_total\{closed_by="local",comm="` + workload.ClientComm + `",.*role="client".*\}`: n,
			`time_wait_entered_total\{reason="active_close"\}`:                                                   n,
			`owner_time_wait_sockets\{comm="` + workload.ClientComm + `",.*role="client".*\}`:                    n,
			fmt.Sprintf(`time_wait_sockets\{netns="%d"\}`, ns.Inum()):                                            n,
			`connection_lifetime_seconds_count\{role="client"\}`:                                                 n,
			`events_lost_total\{.*\}`: 0,
			`kernel_drift\{.*\}`:      0,
		} {
			if got := value(series); got != want {
				return false, fmt.Sprintf("%s is %v, want %v", series, got, want)
			}
		}
		return value("ring_size_bytes") > 0, "the ring has no size"
	})
	if len(regexp.MustCompile(`(?m)^twtrace_bpf_recursion_total\{program="\w+"\} `).FindAllString(body, -1)) < 5 {
		t.Errorf("no BPF programs in\n%s", body)
	}
}
