package metrics

import (
	"bytes"
	"compress/gzip"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"
	"golang.org/x/sys/unix"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/monitor"
	"github.com/twtrace/twtrace/internal/pressure"
	"github.com/twtrace/twtrace/internal/session/sessiontest"
)

// What Prometheus asks for.
const (
	acceptText        = "text/plain;version=1.0.0;escaping=allow-utf-8"
	acceptOpenMetrics = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8"
	acceptProtobuf    = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"
)

func scrape(t testing.TB, h http.Handler, accept, encoding string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
	r.Header.Set("Accept", accept)
	r.Header.Set("Accept-Encoding", encoding)
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusOK {
		t.Fatalf("%d: %s", w.Code, w.Body)
	}
	return w
}

// TestFormats: the text format, OpenMetrics with exemplars, and protobuf with native
// histograms say the same.
func TestFormats(t *testing.T) {
	m := New(Options{})
	h := m.Handler()
	if body := scrape(t, h, acceptText, "").Body.String(); !strings.Contains(body, "\ntwtrace_trace_up 0\n") {
		t.Errorf("before the first sample:\n%s", body)
	}
	m.SetTrace(Trace{Up: true, Hooks: "fentry", Kernel: "6.12.1", Syscalls: true})
	play(t, m, &sessiontest.Source{Events: twentyThree().events}, nil)
	lines := []string{
		`twtrace_connections_opened_total{comm="checkout",container="",pod="",role="client",unit="shop.service"} 13`,
		`twtrace_trace_info{hooks="fentry",kernel="6.12.1",syscalls="on"} 1`,
		`twtrace_connection_lifetime_seconds_bucket{role="client",le="0.01"} 0`,
		`twtrace_connection_lifetime_seconds_bucket{role="client",le="0.025"} 9`,
		`twtrace_connection_lifetime_seconds_bucket{role="client",le="+Inf"} 11`,
		`twtrace_connection_lifetime_seconds_sum{role="server"} 10.5`,
		`twtrace_connection_lifetime_seconds_count{role="server"} 7`,
	}
	text := scrape(t, h, acceptText, "").Body.String()
	for _, l := range append(lines, "go_goroutines", "promhttp_metric_handler_requests_total") {
		if !strings.Contains(text, "\n"+l) {
			t.Errorf("the text has no %s", l)
		}
	}
	if strings.Contains(text, "cookie") {
		t.Error("the text has a cookie")
	}
	om := scrape(t, h, acceptOpenMetrics, "").Body.String()
	if !strings.HasSuffix(om, "# EOF\n") || !strings.Contains(om, `twtrace_connection_lifetime_seconds_bucket{role="client",le="0.025"} 9 # {cookie="d"} 0.02 `) {
		t.Errorf("OpenMetrics has no exemplar, or no end:\n%s", om)
	}
	d := expfmt.NewDecoder(scrape(t, h, acceptProtobuf, "").Body, expfmt.NewFormat(expfmt.TypeProtoDelim))
	for {
		var f dto.MetricFamily
		if err := d.Decode(&f); err == io.EOF {
			t.Fatal("no lifetimes in protobuf")
		} else if err != nil {
			t.Fatal(err)
		}
		if f.GetName() == lifetime.name {
			checkNative(t, &f)
			return
		}
	}
}

// TestCompressed: gzip for those who accept it.
func TestCompressed(t *testing.T) {
	m := New(Options{})
	m.Observe(large())
	h := m.Handler()
	for accept, want := range map[string]bool{"gzip": true, "zstd, gzip;q=0.5": true, "": false, "gzip;q=0": false, "gzip; q=0.0, br": false, "zstd": false} {
		w := scrape(t, h, acceptText, accept)
		if got := w.Header().Get("Content-Encoding") == "gzip"; got != want {
			t.Errorf("Accept-Encoding %q: compressed %v", accept, got)
			continue
		}
		var body io.Reader = w.Body
		if want {
			z, err := gzip.NewReader(body)
			if err != nil {
				t.Fatal(err)
			}
			body = z
		}
		b, err := io.ReadAll(body)
		if err != nil || !bytes.Contains(b, []byte("\ntwtrace_trace_up 0\n")) {
			t.Errorf("Accept-Encoding %q: %v, %d bytes", accept, err, len(b))
		}
	}
}

// TestScrapeKeepsNothing: what a scrape allocates is gone after it. One takes some 0.6 MB.
func TestScrapeKeepsNothing(t *testing.T) {
	m := New(Options{})
	s := large()
	h := m.Handler()
	heap := func() uint64 {
		for range 20 {
			m.Observe(s)
			scrape(t, h, acceptOpenMetrics, "gzip")
		}
		runtime.GC()
		runtime.GC() // of pools, which keep what they have for one
		var stats runtime.MemStats
		runtime.ReadMemStats(&stats)
		return stats.HeapAlloc
	}
	before := heap()
	for range 4 {
		heap()
	}
	if after := heap(); after > before+4<<20 {
		t.Errorf("%d bytes after 20 scrapes, %d after 120", before, after)
	}
}

// checkNative compares the native buckets with the number of lifetimes, and with where
// they lie: 9 of 20 ms and 2 of 1 s.
func checkNative(t *testing.T, f *dto.MetricFamily) {
	for _, v := range f.Metric {
		h := v.Histogram
		total, at, next := int64(h.GetZeroCount()), int64(0), int32(0)
		counts, deltas := make(map[int32]int64), h.PositiveDelta
		for _, s := range h.PositiveSpan {
			next += s.GetOffset()
			for range s.GetLength() {
				at += deltas[0]
				deltas = deltas[1:]
				counts[next] = at
				total += at
				next++
			}
		}
		if uint64(total) != h.GetSampleCount() || h.GetSchema() != 3 {
			t.Errorf("%v: %d in native buckets of schema %d", v.Label, total, h.GetSchema())
		}
		// 0.02 s is 2^(-45.15/8), 1 s 2^0.
		if v.Label[0].GetValue() == "client" && (len(counts) != 2 || counts[-45] != 9 || counts[0] != 2) {
			t.Errorf("native buckets %v", counts)
		}
	}
}

// TestLoop: a loop of 100 samples, and scrapes at any time.
func TestLoop(t *testing.T) {
	m := New(Options{TopOwners: 20})
	server := httptest.NewServer(m.Handler())
	defer server.Close()
	done := make(chan struct{})
	var wait sync.WaitGroup
	for range 2 {
		wait.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				resp, err := http.Get(server.URL)
				if err != nil {
					t.Error(err)
					return
				}
				body, err := io.ReadAll(resp.Body)
				if resp.Body.Close(); err != nil || resp.StatusCode != http.StatusOK {
					t.Errorf("%d, %v: %s", resp.StatusCode, err, body)
					return
				}
			}
		})
	}
	c := newCrowd()
	for i := range 100 {
		for range 50 {
			c.connect(i + c.random.IntN(10))
		}
		c.close(45)
		m.Event(&event.Event{Kind: event.Open})
		m.Observe(c.sample())
		c.now = c.now.Add(time.Minute)
	}
	close(done)
	wait.Wait()
	if got := series(t, m)["twtrace_events_total{kind=open}"]; got != 100 {
		t.Errorf("%v events", got)
	}
}

// large is what the issue asks for: 200 owners and 50 destinations.
func large() *monitor.Sample {
	c := newCrowd()
	for i := range 20000 {
		c.connect(i % 200)
	}
	c.close(15000)
	s := c.sample()
	for i := range 50 {
		s.Pressure.Gauges = append(s.Pressure.Gauges, pressure.Gauge{Key: pressure.Key{What: pressure.Ports, NetNS: testNetNS,
			Local: netip.MustParseAddr("10.0.0.7"), Remote: netip.AddrPortFrom(netip.MustParseAddr("10.2.0.9"), uint16(1000+i))},
			TimeWait: 900, Limit: 1000, Limited: true, Outlook: pressure.Outlook{Used: 900}, Severity: event.Crit})
	}
	return s
}

// BenchmarkScrape is the cost of a scrape of 50 destinations and 200 owners. The issue
// allows 5 ms.
func BenchmarkScrape(b *testing.B) {
	m := New(Options{})
	m.Observe(large())
	h := m.Handler()
	for _, by := range []struct{ name, accept, encoding string }{
		{"text", acceptText, ""}, {"text-gzip", acceptText, "gzip"},
		{"openmetrics", acceptOpenMetrics, ""}, {"openmetrics-gzip", acceptOpenMetrics, "gzip"}, {"protobuf", acceptProtobuf, ""},
	} {
		b.Run(by.name, func(b *testing.B) {
			r := httptest.NewRequest(http.MethodGet, "/metrics", nil)
			r.Header.Set("Accept", by.accept)
			r.Header.Set("Accept-Encoding", by.encoding)
			b.ReportAllocs()
			before := cpuTime()
			for b.Loop() {
				h.ServeHTTP(nowhere{make(http.Header)}, r)
			}
			b.ReportMetric(float64(cpuTime()-before)/float64(b.N)/1e6, "cpu-ms/op")
			b.ReportMetric(float64(scrape(b, h, by.accept, by.encoding).Body.Len()), "bytes")
		})
	}
}

// nowhere is a response that nobody reads.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(b []byte) (int, error) { return len(b), nil }
func (n nowhere) WriteHeader(int)             {}

// cpuTime is the processor time of this process: beside other load it says more than the
// time of a benchmark.
func cpuTime() time.Duration {
	var ru unix.Rusage
	if unix.Getrusage(unix.RUSAGE_SELF, &ru) != nil {
		return 0
	}
	return time.Duration(ru.Utime.Nano() + ru.Stime.Nano())
}

// BenchmarkObserve is the cost of a sample of 200 owners, and of 10,000.
func BenchmarkObserve(b *testing.B) {
	for _, owners := range []int{200, 10000} {
		c := newCrowd()
		for i := range 30000 {
			c.connect(i % owners)
		}
		s := c.sample()
		m := New(Options{})
		b.Run(fmt.Sprint(owners), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				m.Observe(s)
			}
		})
	}
}

func BenchmarkEvent(b *testing.B) {
	m := New(Options{})
	e := event.Event{Kind: event.Open}
	b.ReportAllocs()
	for b.Loop() {
		m.Event(&e)
	}
}
