package main

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"testing"

	"github.com/twtrace/twtrace/internal/kerneltest"
)

// browser is a Chromium that is told what to do over a pipe: messages of the DevTools
// protocol, each with a NUL behind it. It shows one page at a time.
type browser struct {
	t      *testing.T // the test that looks at the page
	to     io.Writer
	from   *bufio.Reader
	dir    string
	target string // its page
	tab    string // the session of that
	id     int
	said   []string // by the page: errors, and violations of its policy
	netlog string   // what was asked for, once it is closed
	close  func()
}

// openBrowser starts a Chromium in a network namespace.
func openBrowser(t *testing.T, ns *kerneltest.NS) *browser {
	t.Helper()
	kerneltest.RequireTool(t, "chromium", "chromium")
	dir := t.TempDir()
	read, to, err := os.Pipe()
	must(t, err)
	from, write, err := os.Pipe()
	must(t, err)
	b := &browser{t: t, to: to, from: bufio.NewReader(from), dir: dir, netlog: filepath.Join(dir, "net.json")}
	cmd := exec.Command("chromium", "--headless", "--no-sandbox", "--disable-gpu", "--user-data-dir="+filepath.Join(dir, "profile"),
		"--log-net-log="+b.netlog, "--window-size=1200,900", "--remote-debugging-pipe")
	cmd.ExtraFiles = []*os.File{read, write} // 3 and 4
	cmd.Env = append(os.Environ(), "HOME="+dir)
	ns.Start(t, cmd)
	read.Close()
	write.Close()
	b.close = sync.OnceFunc(func() {
		to.Close() // it ends with the pipe
		cmd.Wait()
		from.Close()
	})
	t.Cleanup(b.close)
	return b
}

// open opens a page in place of the one before, for a test to look at.
func (b *browser) open(t *testing.T, page string) {
	t.Helper()
	b.t, b.said = t, nil
	path := filepath.Join(b.dir, "page.html")
	must(t, os.WriteFile(path, []byte(page), 0o600))
	before := b.target
	b.tab = ""
	var made struct{ TargetID string }
	b.call("Target.createTarget", map[string]any{"url": "about:blank"}, &made)
	b.target = made.TargetID
	if before != "" {
		b.call("Target.closeTarget", map[string]any{"targetId": before}, nil)
	}
	var attached struct{ SessionID string }
	b.call("Target.attachToTarget", map[string]any{"targetId": made.TargetID, "flatten": true}, &attached)
	b.tab = attached.SessionID
	for _, domain := range []string{"Page", "Log", "Runtime"} {
		b.call(domain+".enable", nil, nil)
	}
	b.call("Page.navigate", map[string]any{"url": "file://" + path}, nil)
	b.wait("Page.loadEventFired")
	b.window()
}

// message is what the browser says: an event, or an answer.
type message struct {
	ID            int
	SessionID     string
	Method        string
	Params        json.RawMessage
	Result, Error json.RawMessage
}

func (b *browser) next() message {
	b.t.Helper()
	text, err := b.from.ReadBytes(0)
	if err != nil {
		b.t.Fatalf("read from chromium: %v", err)
	}
	var m message
	must(b.t, json.Unmarshal(text[:len(text)-1], &m))
	switch m.Method {
	case "Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown":
		if m.SessionID == b.tab {
			b.said = append(b.said, string(m.Params))
		}
	}
	return m
}

func (b *browser) wait(event string) {
	b.t.Helper()
	for {
		if m := b.next(); m.Method == event && m.SessionID == b.tab {
			return
		}
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

// pictures are what the charts look like.
func (b *browser) pictures() (list []string) {
	b.t.Helper()
	b.eval(`[...document.querySelectorAll('canvas')].map(c => c.toDataURL())`, &list)
	return list
}
