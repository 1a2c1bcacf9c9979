package agent

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/twtrace/twtrace/internal/event"
	"github.com/twtrace/twtrace/internal/kerneltest"
	"github.com/twtrace/twtrace/internal/record"
)

// TestPast: a reader that comes late gets each record once, with what was there before, and
// the owner of each socket.
func TestPast(t *testing.T) {
	tr := newTracer(t, Options{Past: 80 * time.Second})
	for range 50 {
		tr.connect(20)
	}
	r := tr.follow(Ask{Past: time.Hour})
	if r.holds(t, 1000); r.opens != 1000 || r.enters != 1000 || r.shots != 0 {
		t.Errorf("all of the past: %+v", r)
	}
	if start, _ := r.s.Start(); start.Start.Host != "web-07" {
		t.Errorf("start %+v", start.Start)
	}
	// From the middle: a part is a snapshot.
	r = tr.follow(Ask{Past: 15 * time.Second})
	if r.holds(t, 1000); r.opens != r.enters || r.opens+r.shots != 1000 || r.opens < 13*20 || r.opens > 30*20 {
		t.Errorf("15 s: %d opened, %d in TIME_WAIT before", r.opens, r.shots)
	}
	stop := tr.pulsing()
	r = tr.follow(Ask{})
	if r.holds(t, 1000); r.shots != 1000 || r.opens != 0 {
		t.Errorf("nothing of the past: %d opened, %d in TIME_WAIT before", r.opens, r.shots)
	}
	if r = tr.follow(Ask{Filter: "comm nginx"}); r.err != nil || r.shots != 0 {
		t.Errorf("of another program: %+v", r)
	}
	stop()
	if r = tr.follow(Ask{Past: time.Hour, Filter: ":5432"}); r.opens != 1000 || r.err != nil {
		t.Errorf("filtered: %+v", r)
	}
	if r = tr.follow(Ask{Past: time.Hour, Filter: ":5433"}); r.opens != 0 || r.err != nil {
		t.Errorf("filtered out: %+v", r)
	}
	must(t, tr.end())
}

// TestAge: what is older than the past is dropped, and counted, and its sockets stay known.
func TestAge(t *testing.T) {
	tr := newTracer(t, Options{Past: 40 * time.Second})
	for range 100 {
		tr.connect(10)
	}
	s := tr.status().Past
	if s.LengthS < 40 || s.LengthS > 50 || s.Dropped.Records == 0 || s.Records+s.Dropped.Records != 2001 {
		t.Errorf("%+v", s)
	}
	stream, err := tr.Stream(t.Context(), Ask{Past: time.Hour})
	must(t, err)
	defer stream.Close()
	if stream.Dropped != s.Dropped.Records {
		t.Errorf("the answer says that %d are dropped, the status %d", stream.Dropped, s.Dropped.Records)
	}
	r := readAll(t, stream)
	if r.holds(t, 1000); 2*uint64(r.opens) != s.Records || r.opens+r.shots != 1000 {
		t.Errorf("%d opened, %d before, %+v", r.opens, r.shots, s)
	}
	must(t, tr.end())
}

// TestBytes: so is what is beyond the size.
func TestBytes(t *testing.T) {
	tr := newTracer(t, Options{PastBytes: 100 << 10})
	most := int64(0)
	for range 40 {
		tr.connect(200)
		most = max(most, tr.status().Past.Bytes)
	}
	s := tr.status().Past
	if most > 100<<10 || most < 50<<10 || s.Dropped.Records == 0 || s.Records+s.Dropped.Records != 16001 {
		t.Errorf("up to %d bytes, %+v", most, s)
	}
	r := tr.follow(Ask{Past: time.Hour})
	if r.holds(t, 8000); r.opens+r.shots != 8000 {
		t.Errorf("%d opened, %d before", r.opens, r.shots)
	}
	must(t, tr.end())
}

// TestSlow: a reader that takes nothing is cut off; the others get each record.
func TestSlow(t *testing.T) {
	tr := newTracer(t, Options{Queue: 64 << 10})
	stop := tr.pulsing()
	slow, err := tr.Stream(t.Context(), Ask{Live: true})
	must(t, err)
	defer slow.Close()
	quick, err := tr.Stream(t.Context(), Ask{Live: true})
	must(t, err)
	defer quick.Close()
	stop()
	got := make(chan *read, 1)
	go func() { got <- readAll(t, quick) }()
	for range 50 {
		if tr.connect(1000); tr.status().Readers.CutOff > 0 {
			break
		}
	}
	kerneltest.Eventually(t, patience, func() (bool, string) {
		s := tr.status().Readers
		return s.CutOff == 1 && s.Now == 1 && s.Missed > 0, fmt.Sprintf("%+v", s)
	})
	opened := int(tr.n)
	must(t, tr.end())
	r := <-got
	if r.holds(t, uint64(opened)); r.opens != opened || r.lost != 0 {
		t.Errorf("the other reader has %d, want %d", r.opens, opened)
	}
	r = readAll(t, slow)
	if r.err == nil && r.lost == 0 || r.err != nil && !strings.Contains(r.err.Error(), "too slow") {
		t.Errorf("the slow one has %d, lost %d, and %v", r.opens, r.lost, r.err)
	}
}

// TestCutOff: one that wakes up in time is told what it does not get.
func TestCutOff(t *testing.T) {
	var sent strings.Builder
	relay := record.NewRelay(&sent, &record.Known{Trace: "0123456789abcdef", Start: json.RawMessage(`{"time":"2026-11-27T20:00:00Z","event":"start","version":"1","schema":2}`)}, nil, 7)
	must(t, relay.Pulse(time.Unix(1_800_000_000, 0)))
	must(t, relay.End(record.CutOff, time.Unix(1_800_000_001, 0), 11, nil))
	r := readAll(t, &Stream{Reader: strings.NewReader(sent.String())})
	if r.err != nil || r.lost != 11 || r.s.Lost()[event.StageQueue] != 11 || r.files.Damage() == nil || !strings.Contains(r.files.Damage().Error(), "too slow") {
		t.Errorf("lost %d, %v, damage %v", r.lost, r.err, r.files.Damage())
	}
}

// TestMaxReaders: one more is refused, with the reason.
func TestMaxReaders(t *testing.T) {
	tr := newTracer(t, Options{MaxReaders: 2})
	tr.connect(1)
	for range 2 {
		s, err := tr.Stream(t.Context(), Ask{Past: time.Hour, Live: true})
		must(t, err)
		defer s.Close()
	}
	if _, err := tr.Stream(t.Context(), Ask{Past: time.Hour}); err == nil || !strings.Contains(err.Error(), "2 readers already") {
		t.Errorf("the third: %v", err)
	}
	if s := tr.status().Readers; s.Now != 2 || s.Refused != 1 {
		t.Errorf("%+v", s)
	}
	must(t, tr.end())
}

// TestHostile: what nobody should ask is refused, and the agent goes on.
func TestHostile(t *testing.T) {
	tr := newTracer(t, Options{})
	tr.connect(10)
	for name, tt := range map[string]struct {
		request string
		want    string
	}{
		"huge header":   {"GET /v1/status HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 100<<10) + "\r\n\r\n", "431"},
		"no past":       {"GET /v1/stream?past=bla HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"negative past": {"GET /v1/stream?past=-1s HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"two pasts":     {"GET /v1/stream?past=1s&past=2s HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"bad filter":    {"GET /v1/stream?filter=rport%20x HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"unknown":       {"GET /v1/stream?foo=1 HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"bad live":      {"GET /v1/stream?live=maybe HTTP/1.1\r\nHost: x\r\n\r\n", "400"},
		"a body":        {"GET /v1/status HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n", "400"},
		"post":          {"POST /v1/stream HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n", "405"},
		"elsewhere":     {"GET /etc/shadow HTTP/1.1\r\nHost: x\r\n\r\n", "404"},
		"no HTTP":       {"\x00\xff\x00\xff\r\n\r\n", "400"},
	} {
		c, err := net.Dial("unix", tr.Where)
		must(t, err)
		go io.WriteString(c, tt.request)
		must(t, c.SetReadDeadline(time.Now().Add(patience)))
		answer := make([]byte, 64)
		n, _ := io.ReadAtLeast(c, answer, len("HTTP/1.1 400"))
		if !strings.HasPrefix(string(answer[:n]), "HTTP/1.1 "+tt.want) {
			t.Errorf("%s: %q, want %s", name, answer[:n], tt.want)
		}
		c.Close()
	}
	for path, want := range map[string]int{"/healthz": 200, "/readyz": 200, "/v1/status": 200, "/v1/findings": 404} {
		answer, err := tr.http.Get(tr.base + path)
		must(t, err)
		answer.Body.Close()
		if answer.StatusCode != want {
			t.Errorf("%s: %s", path, answer.Status)
		}
	}
	if r := tr.follow(Ask{Past: time.Hour}); r.opens != 10 {
		t.Errorf("%d opened", r.opens)
	}
	must(t, tr.end())
}

// TestIndex: / says what there is, with nothing of the trace taken for HTML.
func TestIndex(t *testing.T) {
	tr := newTracer(t, Options{Version: "<script>1</script>"})
	tr.connect(1)
	answer, err := tr.http.Get(tr.base + "/")
	must(t, err)
	defer answer.Body.Close()
	page, err := io.ReadAll(answer.Body)
	must(t, err)
	for _, want := range []string{"twtrace agent of web-07", "&lt;script&gt;1&lt;/script&gt;", "/v1/stream", "/metrics"} {
		if !strings.Contains(string(page), want) || strings.Contains(string(page), "<script") {
			t.Errorf("no %s in %s", want, page)
		}
	}
	if policy := answer.Header.Get("Content-Security-Policy"); !strings.HasPrefix(policy, "default-src 'none'") {
		t.Errorf("policy %q", policy)
	}
	must(t, tr.end())
}

// TestEnd: at the end of the trace each reader gets the rest of it, and the agent ends. One
// whose tracer is killed ends too, and says so to its readers.
func TestEnd(t *testing.T) {
	for name, whole := range map[string]bool{"drained": true, "killed": false} {
		t.Run(name, func(t *testing.T) {
			tr := newTracer(t, Options{})
			tr.connect(10)
			stream, err := tr.Stream(t.Context(), Ask{Past: time.Hour, Live: true})
			must(t, err)
			defer stream.Close()
			got := make(chan *read, 1)
			go func() { got <- readAll(t, stream) }()
			tr.connect(10)
			if whole {
				must(t, tr.end())
			} else {
				tr.pipe.Close()
				must(t, <-tr.done)
			}
			r := <-got
			r.holds(t, 20)
			end, err := r.s.EndRecord()
			if must(t, err); whole && (end.Kind != event.End || end.End.Births != 20) {
				t.Errorf("end %+v", end.End)
			}
			if _, err := os.Stat(tr.Where); !errors.Is(err, os.ErrNotExist) {
				t.Errorf("the socket is still there: %v", err)
			}
			if _, err := tr.Get(t.Context(), "/healthz"); !errors.Is(err, ErrNone) {
				t.Errorf("who asks then: %v", err)
			}
		})
	}
}

// TestListen: a socket that nobody listens at is replaced, and no other file, nor that of
// another agent.
func TestListen(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "agent.sock")
	ln, err := Listen(path)
	must(t, err)
	if st, err := os.Stat(path); err != nil || st.Mode().Perm() != 0o660 {
		t.Errorf("%v, %v", st.Mode(), err)
	}
	if _, err := Listen(path); err == nil || !strings.Contains(err.Error(), "another agent") {
		t.Errorf("a second one: %v", err)
	}
	ln.(*net.UnixListener).SetUnlinkOnClose(false)
	ln.Close()
	ln, err = Listen(path)
	must(t, err)
	ln.Close()
	file := filepath.Join(dir, "file")
	must(t, os.WriteFile(file, []byte("x"), 0o600))
	if _, err := Listen(file); err == nil {
		t.Error("it listens at a file")
	}
	if data, err := os.ReadFile(file); string(data) != "x" {
		t.Errorf("the file is %q, %v", data, err)
	}
}
