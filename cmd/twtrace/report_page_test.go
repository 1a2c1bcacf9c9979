package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// taken is what a name from outside would run if the page let it.
const taken = `</script><img src="http://ADDR/img" onerror="document.title='taken'"><script>document.title='taken'</script>`

// TestReportInBrowser opens a page about processes with such names in a browser that
// has no network but a server that counts what it is asked for.
func TestReportInBrowser(t *testing.T) {
	t.Parallel()
	ns := kerneltest.NetNS(t)
	addr, hits := countingServer(t, ns)
	name := strings.ReplaceAll(taken, "ADDR", addr)
	page := runReportOn(t, "-r", renamed(t, "checkout", name))
	if n := strings.Count(page, "onerror="); n < 3 {
		t.Fatalf("the name is in the page %d times only", n)
	}
	got := browse(t, ns, page)
	if len(got.console) > 0 || len(got.requests) > 0 || hits.Load() > 0 {
		t.Errorf("the page says %q, and asks for %q; the server was asked %d times", got.console, got.requests, hits.Load())
	}
	if n := strings.Count(got.dom, "<canvas"); n != 3 {
		t.Errorf("%d canvases, want 3", n)
	}
	if !strings.Contains(got.dom, "<title>TIME_WAIT report: ") || strings.Contains(got.dom, "<title>taken") {
		t.Error("the title is another")
	}

	// The same with the name let in shows that the policy stops it, and without the
	// policy that the above would tell.
	open := strings.Replace(page, "<main>", "<main>"+name, 1)
	if got = browse(t, ns, open); len(got.console) < 3 || len(got.requests) > 0 || strings.Contains(got.dom, "<title>taken") {
		t.Errorf("with the policy the page says %q, and asks for %q", got.console, got.requests)
	}
	bare := regexp.MustCompile(`<meta http-equiv="Content-Security-Policy"[^>]*>`).ReplaceAllString(open, "")
	if got = browse(t, ns, bare); len(got.requests) == 0 || hits.Load() == 0 || !strings.Contains(got.dom, "<title>taken") {
		t.Errorf("without the policy the page asks for %q, and the server was asked %d times: it would have gone unseen", got.requests, hits.Load())
	}
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

// browsed is what became of a page.
type browsed struct {
	dom      string
	console  []string // what it said, errors and violations of its policy among it
	requests []string // what it asked for
}

// browse opens a page in Chromium.
func browse(t *testing.T, ns *kerneltest.NS, page string) browsed {
	t.Helper()
	dir := t.TempDir()
	path, netlog := filepath.Join(dir, "page.html"), filepath.Join(dir, "net.json")
	must(t, os.WriteFile(path, []byte(page), 0o600))
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+filepath.Join(dir, "profile"),
		"--log-net-log="+netlog, "--enable-logging=stderr", "--virtual-time-budget=2000", "--dump-dom", "file://"+path)
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	cmd.Env = append(os.Environ(), "HOME="+dir)
	if code := inNS(t, ns, cmd); code != 0 {
		t.Fatalf("chromium: exit code %d: %s", code, stderr.String())
	}
	b := browsed{dom: stdout.String(), requests: requestsOf(t, netlog)}
	for _, line := range strings.Split(stderr.String(), "\n") {
		if strings.Contains(line, ":CONSOLE:") {
			b.console = append(b.console, line)
		}
	}
	return b
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
