package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// taken is what a name from outside would run if the page let it.
const taken = `</script><img src="http://ADDR/img" onerror="document.title='taken'"><script>document.title='taken'</script>`

// wantCharts are the charts of a page, where calls failed and sockets have owners.
var wantCharts = []string{"chart-time-wait", "chart-failed", "chart-rates", "chart-ports", "chart-owners"}

// TestInteropReport looks at the page of a report in a browser that has no network but a
// server, which counts what it is asked for. All pages are shown in one browser, since that
// takes long to start.
func TestInteropReport(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	addr, hits := countingServer(t, ns)
	b := openBrowser(t, ns)
	t.Run("zoom", b.testZoom)
	t.Run("looks", b.testLooks)
	t.Run("hostile names", func(t *testing.T) { b.testHostileNames(t, addr, hits) })
}

// testHostileNames opens a page about processes with such names.
func (b *browser) testHostileNames(t *testing.T, addr string, hits *atomic.Int64) {
	name := strings.ReplaceAll(taken, "ADDR", addr)
	page := runReportOn(t, "-r", renamed(t, "checkout", name))
	if n := strings.Count(page, "onerror="); n < 3 {
		t.Fatalf("the name is in the page %d times only", n)
	}
	b.open(t, page)
	if len(b.said) > 0 || hits.Load() > 0 {
		t.Errorf("the page says %q; the server was asked %d times", b.said, hits.Load())
	}
	var charts []string
	b.eval(`[...document.querySelectorAll('canvas')].map(e => e.closest('figure').id)`, &charts)
	if !slices.Equal(charts, wantCharts) {
		t.Errorf("canvases in %q, want %q", charts, wantCharts)
	}
	if title := b.title(); !strings.HasPrefix(title, "TIME_WAIT report: ") {
		t.Errorf("the title is %q", title)
	}

	// The same with the name let in shows that the policy stops it, and without the
	// policy that the above would tell.
	open := strings.Replace(page, "<main>", "<main>"+name, 1)
	b.open(t, open)
	if title := b.title(); len(b.said) < 3 || title == "taken" || hits.Load() > 0 {
		t.Errorf("with the policy the page says %q, its title is %q, and the server was asked %d times", b.said, title, hits.Load())
	}
	bare := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAllString(open, "")
	b.open(t, strings.ReplaceAll(bare, "/img", "/bare"))
	if title := b.title(); hits.Load() == 0 || title != "taken" {
		t.Errorf("without the policy the title is %q, and the server was asked %d times: it would have gone unseen", title, hits.Load())
	}
	// Over all the time that the browser ran, only that page has asked for something.
	b.close()
	requests := requestsOf(t, b.netlog)
	if others := slices.DeleteFunc(slices.Clone(requests), func(r string) bool { return r == "http://"+addr+"/bare" }); len(requests) == 0 || len(others) > 0 {
		t.Errorf("the pages ask for %q, want what only the page without a policy asks for", requests)
	}
}

// title is the title of the page.
func (b *browser) title() (title string) {
	b.t.Helper()
	b.eval("document.title", &title)
	return title
}

// countingServer answers in the namespace, and counts how often.
func countingServer(t *testing.T, ns *kerneltest.NS) (addr string, hits *atomic.Int64) {
	t.Helper()
	var l net.Listener
	var err error
	ns.Do(t, func() { l, err = net.Listen("tcp4", "127.0.0.1:0") })
	must(t, err)
	hits = new(atomic.Int64)
	srv := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		hits.Add(1)
		io.WriteString(w, "ok")
	})}
	go srv.Serve(l)
	t.Cleanup(func() { srv.Close() })
	return l.Addr().String(), hits
}

// renamed is the recording as plain records, with every string that is from in them
// replaced, and that of the host too.
func renamed(t *testing.T, from, to string) string {
	t.Helper()
	var stdout, stderr bytes.Buffer
	if code := run([]string{"twtrace", "trace", "-r", recorded, "-o", "json"}, &stdout, &stderr); code != exitOK {
		t.Fatalf("exit code %d: %s", code, stderr.String())
	}
	name, err := json.Marshal(to)
	must(t, err)
	text := strings.ReplaceAll(stdout.String(), `"`+from+`"`, string(name))
	text = regexp.MustCompile(`"(host|exe|unit|filter)":"[^"]*"`).ReplaceAllStringFunc(text, func(field string) string {
		key, _, _ := strings.Cut(field, ":")
		return key + ":" + string(name)
	})
	path := filepath.Join(t.TempDir(), "renamed.ndjson")
	must(t, os.WriteFile(path, []byte(text), 0o600))
	return path
}

// requestsOf are the requests in a net log of Chromium that a file made, and not the
// browser itself.
func requestsOf(t *testing.T, path string) []string {
	t.Helper()
	raw, err := os.ReadFile(path)
	must(t, err)
	var log struct {
		Constants struct {
			LogEventTypes map[string]int
		}
		Events []struct {
			Type   int
			Params struct {
				URL string
				Key string `json:"network_isolation_key"`
			}
		}
	}
	must(t, json.Unmarshal(raw, &log))
	start, ok := log.Constants.LogEventTypes["URL_REQUEST_START_JOB"]
	if !ok {
		t.Fatal("the net log has no such events")
	}
	var out []string
	for _, e := range log.Events {
		if e.Type == start && strings.Contains(e.Params.Key, "file://") {
			out = append(out, e.Params.URL)
		}
	}
	return out
}
