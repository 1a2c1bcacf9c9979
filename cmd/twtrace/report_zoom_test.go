package main

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// browser is a Chromium that is told what to do over a pipe: messages of the DevTools
// protocol, each with a NUL behind it.
type browser struct {
	t    *testing.T
	to   io.Writer
	from *bufio.Reader
	tab  string // the session of its page
	id   int
}

// openPage opens a page in a Chromium that has no network.
func openPage(t *testing.T, page string) *browser {
	t.Helper()
	dir := t.TempDir()
	path := filepath.Join(dir, "page.html")
	must(t, os.WriteFile(path, []byte(page), 0o600))
	read, to, err := os.Pipe()
	must(t, err)
	from, write, err := os.Pipe()
	must(t, err)
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+filepath.Join(dir, "profile"),
		"--window-size=1200,900", "--remote-debugging-pipe")
	cmd.ExtraFiles = []*os.File{read, write} // 3 and 4
	cmd.Env = append(os.Environ(), "HOME="+dir)
	kerneltest.NetNS(t).Start(t, cmd)
	read.Close()
	write.Close()
	b := &browser{t: t, to: to, from: bufio.NewReader(from)}
	t.Cleanup(func() {
		to.Close() // it ends with the pipe
		cmd.Wait()
		from.Close()
	})
	var made struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &made)
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &attached)
	b.tab = attached.SessionID
	b.call("Page.enable", nil, nil)
	b.call("Page.navigate", map[string]any{"url": "file://" + path}, nil)
	b.wait("Page.loadEventFired")
	return b
}

// message is what the browser says: an event, or an answer.
type message struct {
	ID     int
	Method string
	Result json.RawMessage
	Error  json.RawMessage
}

func (b *browser) next() message {
	b.t.Helper()
	text, err := b.from.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("read from chromium: %v", err)
	}
	var m message
	must(b.t, json.Unmarshal(text[:len(text)-1], &m))
	return m
}

func (b *browser) wait(event string) {
	b.t.Helper()
	for b.next().Method != event {
	}
}

// call waits for the answer, which it puts into result.
func (b *browser) call(method string, params, result any) {
	b.t.Helper()
	b.id++
	ask := map[string]any{"id": b.id, "method": method}
	if params != nil {
		ask["params"] = params
	}
	if b.tab != "" {
		ask["sessionId"] = b.tab
	}
	text, err := json.Marshal(ask)
	must(b.t, err)
	_, err = b.to.Write(append(text, 0))
	must(b.t, err)
	for {
		m := b.next()
		if m.ID != b.id {
			continue
		}
		if m.Error != nil {
			b.t.Fatalf("%s: %s", method, m.Error)
		}
		if result != nil {
			must(b.t, json.Unmarshal(m.Result, result))
		}
		return
	}
}

// eval returns what a script in the page says.
func (b *browser) eval(script string, result any) {
	b.t.Helper()
	var answer struct {
		Result           struct{ Value json.RawMessage }
		ExceptionDetails json.RawMessage
	}
	b.call("Runtime.evaluate", map[string]any{"expression": script, "returnByValue": true, "awaitPromise": true}, &answer)
	if answer.ExceptionDetails != nil {
		b.t.Fatalf("%s: %s", script, answer.ExceptionDetails)
	}
	if err := json.Unmarshal(answer.Result.Value, result); err != nil {
		b.t.Fatalf("%s: %s: %v", script, answer.Result.Value, err)
	}
}

// mouse does one thing with the left button of the mouse.
func (b *browser) mouse(what string, x, y float64, clicks int) {
	b.t.Helper()
	b.call("Input.dispatchMouseEvent", map[string]any{"type": what, "x": x, "y": y, "button": "left", "buttons": 1, "clickCount": clicks}, nil)
}

func (b *browser) click(x, y float64, clicks int) {
	b.mouse("mousePressed", x, y, clicks)
	b.mouse("mouseReleased", x, y, clicks)
}

// box is where an element is, once it is in sight.
type box struct{ X, Y, Width, Height float64 }

func (b *browser) box(selector string) (r box) {
	b.t.Helper()
	b.eval(fmt.Sprintf(`(() => { const e = document.querySelector(%q); e.scrollIntoView({block: 'center'});
		const r = e.getBoundingClientRect(); return {X: r.x, Y: r.y, Width: r.width, Height: r.height}; })()`, selector), &r)
	return r
}

// window is what the page says of what its charts show, when it has drawn it.
func (b *browser) window() (words string) {
	b.t.Helper()
	b.eval(`new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(document.getElementById('window').textContent))))`, &words)
	return words
}

// seconds is how long that is, and when it begins, in seconds of the day.
func seconds(t *testing.T, window string) (from, long int) {
	t.Helper()
	var h, m, s, h2, m2, s2 int
	if _, err := fmt.Sscanf(window, "%d:%d:%d to %d:%d:%d UTC", &h, &m, &s, &h2, &m2, &s2); err != nil {
		t.Fatal(errors.Join(err, errors.New(window)))
	}
	from = h*3600 + m*60 + s
	return from, h2*3600 + m2*60 + s2 - from
}

// TestReportZoom: what is drawn over with the mouse is shown larger, in all charts; a
// double click and the buttons show the rest again.
func TestReportZoom(t *testing.T) {
	t.Parallel()
	b := openPage(t, runReportOn(t, "-r", recorded))
	whole := b.window()
	begin, length := seconds(t, whole)
	if length < 12 {
		t.Fatalf("the recording is of %s: too short to zoom", whole)
	}

	// From a quarter of the chart to its half.
	drag := func(selector string) {
		c := b.box(selector)
		y := c.Y + c.Height/2
		b.mouse("mouseMoved", c.X+c.Width/4, y, 0)
		b.mouse("mousePressed", c.X+c.Width/4, y, 1)
		for i := 1; i <= 5; i++ {
			b.mouse("mouseMoved", c.X+c.Width/4+c.Width/4*float64(i)/5, y, 0)
		}
		b.mouse("mouseReleased", c.X+c.Width/2, y, 1)
	}
	var charts []string
	b.eval(`[...document.querySelectorAll('[id^=chart-]')].filter(e => e.querySelector('.u-over')).map(e => '#' + e.id + ' .u-over')`, &charts)
	if len(charts) != 3 {
		t.Fatalf("charts %q, want 3", charts)
	}
	for _, chart := range charts {
		before := b.pictures()
		drag(chart)
		words := b.window()
		from, long := seconds(t, words)
		if off := from - begin - length/4; off < -1 || off > 1 || long < length/4-1 || long > length/4+1 {
			t.Errorf("%s: of %s its second quarter is shown as %s", chart, whole, words)
		}
		for i, picture := range b.pictures() {
			if picture == before[i] {
				t.Errorf("%s: chart %d is as it was", chart, i)
			}
		}
		c := b.box(chart)
		b.click(c.X+c.Width/2, c.Y+c.Height/2, 1)
		b.click(c.X+c.Width/2, c.Y+c.Height/2, 2)
		if words = b.window(); words != whole {
			t.Errorf("%s: after a double click it shows %s, and not %s", chart, words, whole)
		}
	}

	// Buttons: half of it, half of that further on, back, and all.
	press := func(zoom string) (from, long int) {
		c := b.box("[data-zoom=" + zoom + "]")
		b.click(c.X+c.Width/2, c.Y+c.Height/2, 1)
		return seconds(t, b.window())
	}
	near := func(what string, got, want int) {
		if got < want-1 || got > want+1 {
			t.Errorf("%s: %d s, want %d", what, got, want)
		}
	}
	from, long := press("in")
	near("in", long, length/2)
	near("in, its begin", from, begin+length/4)
	from, long = press("on")
	near("on", long, length/2)
	near("on, its begin", from, begin+length/2)
	from, _ = press("back")
	near("back, its begin", from, begin+length/4)
	_, long = press("out")
	near("out", long, length)
	press("in")
	press("all")
	if words := b.window(); words != whole {
		t.Errorf("all is %s, and not %s", words, whole)
	}

	// A storm or a finding that has a time shows that.
	var times []struct{ From, To float64 }
	b.eval(`[...document.querySelectorAll('[data-from]')].map(e => ({From: Number(e.dataset.from), To: Number(e.dataset.to)}))`, &times)
	if len(times) == 0 {
		t.Fatal("nothing in the page has a time to click")
	}
	c := b.box("[data-from]")
	b.click(c.X+c.Width/2, c.Y+c.Height/2, 1)
	if words := b.window(); words == whole && times[0].To-times[0].From < float64(length-1) {
		t.Errorf("a click on what was from %v to %v shows %s", times[0].From, times[0].To, strings.TrimSpace(words))
	}
}

// pictures are what the charts look like.
func (b *browser) pictures() (list []string) {
	b.t.Helper()
	b.eval(`[...document.querySelectorAll('canvas')].map(c => c.toDataURL())`, &list)
	return list
}
